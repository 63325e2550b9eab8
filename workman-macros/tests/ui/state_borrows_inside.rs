#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn store(#[state] db: Option<&'static str>, row: String) {}

fn main() {}
