#![allow(unused_variables)]

use workman_core::{WorkContext, worker};

#[worker]
fn ask(#[default] cx: &WorkContext) {}

fn main() {}
