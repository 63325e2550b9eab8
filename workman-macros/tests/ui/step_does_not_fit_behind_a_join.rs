#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn number() -> u8 {
    1
}

#[worker]
fn pair(#[prerequisites] both: (u8, String)) {}

fn chain(manager: workman_core::WorkManager) {
    let [one, two] = [number::request(), number::request()].map(|request| manager.begin_with(request));
    let _ = manager.combine((one, two)).then(pair::request());
}

fn main() {}
