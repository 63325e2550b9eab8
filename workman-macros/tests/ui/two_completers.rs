#![allow(unused_variables)]

use workman_core::{Completer, worker};

#[worker]
fn paint(one: Completer<u8>, other: Completer<u8>) {}

fn main() {}
