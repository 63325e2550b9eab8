#![allow(unused_variables)]

use workman_core::worker;

type Answer = workman_core::Outcome<u8>;

#[worker]
fn ask() -> Answer {
    workman_core::Outcome::Success(1)
}

fn main() {}
