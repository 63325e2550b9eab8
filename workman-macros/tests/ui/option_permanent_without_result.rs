#![allow(unused_variables)]

use workman_core::worker;

#[worker(permanent = is_permanent)]
fn paint() {}

fn main() {}
