#![allow(unused_variables)]

use futures::Stream;
use workman_core::{Completer, worker};

#[worker]
fn paint(done: Completer<u8>) -> impl Stream<Item = u8> {
    drop(done);
    futures::stream::empty()
}

fn main() {}
