#![allow(unused_variables)]

use futures::Stream;
use workman_core::worker;

struct Odd;

#[worker]
fn paint() -> impl Stream<Item = Result<u8, Odd>> {
    futures::stream::empty()
}

fn main() {}
