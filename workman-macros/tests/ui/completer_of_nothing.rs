#![allow(unused_variables)]

use workman_core::{Completer, worker};

#[worker]
fn paint(done: Completer) {}

fn main() {}
