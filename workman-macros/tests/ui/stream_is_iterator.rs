#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn paint() -> impl Iterator<Item = u8> {
    0..8
}

fn main() {}
