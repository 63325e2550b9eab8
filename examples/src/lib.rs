//! Shared rooms of the example programs.
