#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn ask(#[default] #[state] db: u8) {}

fn main() {}
