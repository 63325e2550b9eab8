#![allow(unused_variables)]

use serde::{Deserialize, Serialize};
use workman_core::worker;

#[derive(Serialize, Deserialize)]
struct Size(u8);

#[worker]
fn resize(#[default] size: Size) {}

fn main() {}
