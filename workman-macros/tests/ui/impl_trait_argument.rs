#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn store(value: impl ToString) {}

fn main() {}
