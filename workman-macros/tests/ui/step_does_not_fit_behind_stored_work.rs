#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn number() -> u8 {
    1
}

#[worker]
fn shout(#[prerequisite] text: String) {}

fn chain(stored: workman_core::WorkHandle<u8>) {
    let _ = stored.then(shout::request());
}

fn main() {}
