#![allow(unused_variables)]

use futures::Stream;
use workman_core::{WorkContext, worker};

#[worker]
fn paint(cx: &WorkContext) -> impl Stream<Item = u8> {
    futures::stream::empty()
}

fn main() {}
