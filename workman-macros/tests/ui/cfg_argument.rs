#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn resize(#[cfg(all())] width: u8) {}

fn main() {}
