#![allow(unused_variables)]

use workman_core::worker;

#[worker(limit_key = "customer/{client}")]
fn paint(customer: u64, colour: String) {}

fn main() {}
