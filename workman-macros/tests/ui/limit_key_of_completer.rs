#![allow(unused_variables)]

use workman_core::{Completer, worker};

#[worker(limit_key = "{done}")]
fn paint(done: Completer<u8>, colour: String) {}

fn main() {}
