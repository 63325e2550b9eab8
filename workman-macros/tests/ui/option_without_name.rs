#![allow(unused_variables)]

use workman_core::worker;

#[worker("paint")]
fn paint() {}

fn main() {}
