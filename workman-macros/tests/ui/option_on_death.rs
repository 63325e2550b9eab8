#![allow(unused_variables)]

use workman_core::worker;

#[worker(on_death = panic)]
fn paint() {}

fn main() {}
