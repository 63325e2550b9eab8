#![allow(unused_variables)]

use workman_core::{Completer, worker};

#[worker]
fn paint(done: Completer<u8>) -> Result<u8, String> {
    drop(done);
    Ok(8)
}

fn main() {}
