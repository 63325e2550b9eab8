#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn number() -> u8 {
    1
}

fn chain(manager: workman_core::WorkManager) {
    let one = manager.begin_with(number::request());
    let many = manager.begin_with([number::request(), number::request()]);
    let _ = manager.combine((one, many));
}

fn main() {}
