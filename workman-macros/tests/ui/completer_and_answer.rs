#![allow(unused_variables)]

use workman_core::{Completer, worker};

#[worker]
fn paint(done: Completer<u8>) -> u8 {
    drop(done);
    8
}

fn main() {}
