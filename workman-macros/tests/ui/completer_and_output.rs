#![allow(unused_variables)]

use workman_core::{Completer, worker};

#[worker(output = u8)]
fn paint(done: Completer<u8>) {}

fn main() {}
