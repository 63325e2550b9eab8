#![allow(unused_variables)]

use workman_core::worker;

struct Image(u8);

#[worker]
fn paint() -> Result<Image, String> {
    Ok(Image(1))
}

fn main() {}
