#![allow(unused_variables)]

use std::rc::Rc;

use futures::{Stream, StreamExt};
use workman_core::worker;

#[worker]
fn paint() -> impl Stream<Item = u8> {
    let shared = Rc::new(8);
    futures::stream::iter(0..8).map(move |n| n + *shared)
}

fn main() {}
