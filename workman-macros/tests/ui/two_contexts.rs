#![allow(unused_variables)]

use workman_core::{WorkContext, worker};

#[worker]
fn twice(a: &WorkContext, b: &WorkContext) {}

fn main() {}
