#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn resize(image: std::marker::PhantomData<*const u8>) {}

fn main() {}
