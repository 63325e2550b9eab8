#![allow(unused_variables)]

use workman_core::worker;

#[worker(limit_key = "")]
fn paint() {}

fn main() {}
