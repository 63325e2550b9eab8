#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn greet(name: &str) {}

fn use_it() {
    let _ = greet::request("x");
}

fn main() {}
