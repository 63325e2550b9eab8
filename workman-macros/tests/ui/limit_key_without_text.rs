#![allow(unused_variables)]

use std::path::PathBuf;

use workman_core::worker;

#[worker(limit_key = "{canvas}/{brush}")]
fn paint(canvas: PathBuf, brush: u8) {}

fn ask() {
    let request = paint::request("a".into(), 1);
    let again = paint::periodic("a".into(), 1, std::time::Duration::from_secs(3600));
}

fn main() {}
