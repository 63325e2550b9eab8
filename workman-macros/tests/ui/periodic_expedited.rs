#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn tick() {}

fn request() {
    let policy = workman_core::OutOfQuotaPolicy::DropWorkRequest;
    let _ = tick::periodic(std::time::Duration::from_secs(60)).expedited(policy);
}

fn main() {}
