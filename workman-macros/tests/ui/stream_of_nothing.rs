#![allow(unused_variables)]

use futures::Stream;
use workman_core::worker;

#[worker]
fn paint() -> impl Stream {
    futures::stream::empty::<u8>()
}

fn main() {}
