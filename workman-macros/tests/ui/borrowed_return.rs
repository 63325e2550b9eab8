#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn greet() -> &'static str {
    "hello"
}

fn main() {}
