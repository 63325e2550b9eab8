#![allow(unused_variables)]

use workman_core::worker;

type Answer = std::fmt::Result;

#[worker]
fn ask() -> Answer {
    Ok(())
}

fn main() {}
