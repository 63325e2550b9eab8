#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn store<T>(value: T) {}

fn main() {}
