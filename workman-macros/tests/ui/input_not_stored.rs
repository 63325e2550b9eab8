#![allow(unused_variables)]

use workman_core::worker;

struct Image(u8);

#[worker]
fn resize(image: Image, width: u8) {}

fn use_it() {
    let _ = resize::request(Image(1), 2);
}

fn main() {}
