#![allow(unused_variables)]

use workman_core::worker;

use std::collections::BTreeSet;

#[worker]
fn join(#[prerequisites] parts: BTreeSet<u8>) {}

fn main() {}
