//! The `#[worker]` attribute.
