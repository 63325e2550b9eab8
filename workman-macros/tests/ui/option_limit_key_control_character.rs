#![allow(unused_variables)]

use workman_core::worker;

#[worker(limit_key = "colours\n{colour}")]
fn paint(colour: u64) {}

fn main() {}
