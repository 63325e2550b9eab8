#![allow(unused_variables)]

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use workman_core::{Completer, worker};

#[derive(Serialize, Deserialize)]
struct Local(#[serde(skip)] PhantomData<*const u8>);

#[worker]
fn paint(done: Completer<Local>) {}

fn main() {}
