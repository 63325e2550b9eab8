#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn paint(#[serde(default)] colour: u8) {}

fn main() {}
