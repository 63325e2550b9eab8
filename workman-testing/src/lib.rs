//! Deterministic tests for workman.

pub mod conformance;
