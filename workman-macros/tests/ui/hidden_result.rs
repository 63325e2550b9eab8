#![allow(unused_variables)]

use workman_core::worker;

type Answer = Result<u8, String>;

#[worker]
fn ask() -> Answer {
    Ok(1)
}

fn main() {}
