#![allow(unused_variables)]

use workman_core::worker;

#[worker(retry = sometimes)]
fn paint() {}

fn main() {}
