#![allow(unused_variables)]

use workman_core::worker;

struct Db;

#[worker]
fn store(#[state] db: &Db, row: String) {}

fn main() {}
