#![allow(unused_variables)]

use workman_core::worker;

#[worker(limit_key = "canvas/{canvas}")]
fn paint(#[prerequisite] canvas: String, colour: String) {}

fn main() {}
