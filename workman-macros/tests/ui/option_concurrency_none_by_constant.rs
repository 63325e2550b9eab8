#![allow(unused_variables)]

use workman_core::worker;

const BRUSHES: u32 = 0;

#[worker(concurrency = BRUSHES)]
fn paint() {}

fn main() {}
