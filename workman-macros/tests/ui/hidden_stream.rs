#![allow(unused_variables)]

use futures::stream::{self, BoxStream, StreamExt};
use workman_core::worker;

type Numbers = BoxStream<'static, u32>;

#[worker]
fn count() -> Numbers {
    stream::iter(0..3).boxed()
}

fn main() {}
