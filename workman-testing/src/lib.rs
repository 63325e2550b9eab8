//! Deterministic tests for workman.
