#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn paint(#[state(db)] db: u8) {}

fn main() {}
