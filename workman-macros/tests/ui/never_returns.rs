#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn spin() -> ! {
    loop {}
}

fn main() {}
