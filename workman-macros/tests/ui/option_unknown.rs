#![allow(unused_variables)]

use workman_core::worker;

#[worker(colour = "red")]
fn paint() {}

fn use_it() {
    let _ = paint::request();
}

fn main() {}
