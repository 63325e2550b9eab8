#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn add((a, b): (u8, u8)) -> u8 {
    a + b
}

fn main() {}
