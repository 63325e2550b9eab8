#![allow(unused_variables)]

use workman_core::worker;

struct Oops;

#[worker]
async fn fail() -> Result<u8, Oops> {
    Err(Oops)
}

fn main() {}
