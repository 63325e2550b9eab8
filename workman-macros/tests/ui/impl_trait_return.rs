#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn numbers() -> impl Iterator<Item = u8> {
    [1].into_iter()
}

fn main() {}
