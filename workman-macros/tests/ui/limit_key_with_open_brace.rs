#![allow(unused_variables)]

use workman_core::worker;

#[worker(limit_key = "customer/{customer")]
fn paint(customer: u64) {}

fn main() {}
