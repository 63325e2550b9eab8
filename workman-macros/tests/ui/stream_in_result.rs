#![allow(unused_variables)]

use futures::stream::BoxStream;
use workman_core::worker;

#[worker]
async fn paint() -> Result<BoxStream<'static, u8>, String> {
    Err("no".into())
}

fn main() {}
