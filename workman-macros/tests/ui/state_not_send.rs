#![allow(unused_variables)]

use workman_core::worker;

use std::rc::Rc;

#[worker]
fn ask(#[state] db: Rc<u8>) {}

fn main() {}
