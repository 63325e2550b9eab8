#![allow(unused_variables)]

use workman_core::{Completer, worker};

#[worker]
fn paint(done: Completer<&'static str>) {}

fn main() {}
