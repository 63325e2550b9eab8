#![allow(unused_variables)]

use workman_core::{Completer, worker};

struct Odd;

#[worker]
fn paint(done: Completer<u8>) -> Result<(), Odd> {
    drop(done);
    Err(Odd)
}

fn main() {}
