#![allow(unused_variables)]

use workman_core::worker;

#[worker(retry = false)]
fn paint() {}

fn main() {}
