//! The embedded store of workman.
