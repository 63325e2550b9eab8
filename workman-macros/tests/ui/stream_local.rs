#![allow(unused_variables)]

use futures::stream::LocalBoxStream;
use workman_core::worker;

#[worker]
fn paint() -> LocalBoxStream<'static, u8> {
    Box::pin(futures::stream::empty())
}

fn main() {}
