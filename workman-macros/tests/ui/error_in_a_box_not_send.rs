#![allow(unused_variables)]

use std::error::Error;

use workman_core::worker;

#[worker]
fn paint() -> Result<(), Box<dyn Error>> {
    Ok(())
}

fn main() {}
