#![allow(unused_variables)]

use workman_core::{WorkContext, worker};

#[worker(limit_key = "{cx}")]
fn paint(cx: &WorkContext, colour: String) {}

fn main() {}
