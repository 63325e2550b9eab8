#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn shout(#[prerequisite] text: String) {}

fn request() {
    let _ = shout::request().input_merger(workman_core::InputMerger::Overwriting);
}

fn main() {}
