#![allow(unused_variables)]

use workman_core::worker;

struct Db;

#[worker]
fn ask(#[state] db: Db) {}

fn main() {}
