#![allow(unused_variables)]

use workman_core::worker;

fn is_permanent(_: &u8) -> bool {
    true
}

#[worker(permanent = is_permanent)]
fn paint() -> Result<(), String> {
    Ok(())
}

fn main() {}
