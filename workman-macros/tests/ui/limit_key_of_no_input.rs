#![allow(unused_variables)]

use workman_core::worker;

#[worker(limit_key = "painter/{painter}")]
fn paint(#[state] painter: String) {}

fn main() {}
