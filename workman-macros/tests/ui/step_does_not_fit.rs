#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn number() -> u8 {
    1
}

#[worker]
fn shout(#[prerequisite] text: String) {}

fn chain(manager: workman_core::WorkManager) {
    let _ = manager.begin_with(number::request()).then(shout::request());
}

fn main() {}
