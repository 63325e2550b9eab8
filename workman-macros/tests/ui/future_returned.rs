#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn paint() -> impl Future<Output = u8> {
    async { 1 }
}

fn main() {}
