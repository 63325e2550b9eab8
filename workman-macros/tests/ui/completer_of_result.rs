#![allow(unused_variables)]

use workman_core::{Completer, worker};

#[worker]
fn paint(done: Completer<Result<u8, String>>) {}

fn main() {}
