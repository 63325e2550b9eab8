#![allow(unused_variables)]

use workman_core::worker;

#[worker(limit_key = "{layers}")]
fn paint(#[prerequisites] layers: Vec<u8>, colour: String) {}

fn main() {}
