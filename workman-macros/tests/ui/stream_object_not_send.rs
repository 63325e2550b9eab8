#![allow(unused_variables)]

use std::pin::Pin;

use futures::Stream;
use workman_core::worker;

#[worker]
fn paint() -> Pin<Box<dyn Stream<Item = u8>>> {
    Box::pin(futures::stream::empty())
}

fn main() {}
