#![allow(unused_variables)]

use workman_core::{WorkContext, worker};

#[worker]
fn take(cx: WorkContext) {}

fn main() {}
