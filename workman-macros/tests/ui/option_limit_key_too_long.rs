#![allow(unused_variables)]

use workman_core::worker;

#[worker(limit_key = "a key that goes on, and on, and on, and on, and on, and on, and on, and on, and on, and on, and on, and on, and on, and on, and on, and on/{colour}")]
fn paint(colour: u64) {}

fn main() {}
