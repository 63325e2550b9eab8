#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn store<'a>(value: &'a str) {}

fn main() {}
