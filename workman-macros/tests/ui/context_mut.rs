#![allow(unused_variables)]

use workman_core::{WorkContext, worker};

#[worker]
fn take(cx: &mut WorkContext) {}

fn main() {}
