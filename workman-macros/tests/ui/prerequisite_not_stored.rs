#![allow(unused_variables)]

use workman_core::worker;

struct Image(u8);

#[worker]
fn resize(#[prerequisite] image: Image) {}

fn main() {}
