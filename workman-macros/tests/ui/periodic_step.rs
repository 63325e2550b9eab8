#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn tick() {}

fn chain(manager: workman_core::WorkManager) {
    let _ = manager.begin_with(tick::periodic(std::time::Duration::from_secs(60)));
}

fn main() {}
