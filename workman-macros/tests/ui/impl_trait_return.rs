#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn name() -> impl std::fmt::Display {
    8
}

fn main() {}
