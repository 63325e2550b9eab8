#![allow(unused_variables)]

use workman_core::{WorkContext, worker};

use std::rc::Rc;

#[worker]
async fn wait(cx: &WorkContext) {
    let shared = Rc::new(1);
    cx.until_stopped().await;
    drop(shared);
}

fn main() {}
