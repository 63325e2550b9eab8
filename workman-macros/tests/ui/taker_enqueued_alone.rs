#![allow(unused_variables)]

use workman_core::{WorkManager, worker};

#[worker]
fn number() -> u8 {
    1
}

#[worker]
fn shout(#[prerequisite] text: String) -> String {
    text
}

#[worker]
fn sum(#[prerequisites] parts: Vec<u8>) {}

async fn enqueue(manager: WorkManager) {
    let _ = manager.enqueue(shout::request()).await;
}

fn main() {}
