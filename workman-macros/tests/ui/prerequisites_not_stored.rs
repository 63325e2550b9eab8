#![allow(unused_variables)]

use workman_core::worker;

struct Image(u8);

#[worker]
fn join(#[prerequisites] parts: Vec<Image>) {}

fn main() {}
