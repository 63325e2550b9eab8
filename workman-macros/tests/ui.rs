//! Each mistake gives one error, at the right token: `ui/<mistake>.rs` with the expected text beside it.
//!
//! The text around our messages is rustc's and differs from release to release, so it is compared on one release only.

use std::process::Command;

/// The release that wrote the `.stderr` files. To follow a newer one: change this, and run with `TRYBUILD=overwrite`.
const RELEASE: &str = "rustc 1.95.";

#[test]
fn each_mistake_is_one_clear_error() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().expect("rustc says its version").stdout;
    let version = String::from_utf8_lossy(&version);
    if version.starts_with(RELEASE) {
        trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
    } else {
        eprintln!("skipped: the expected errors are those of {RELEASE}x, this is {}", version.trim());
    }
}
