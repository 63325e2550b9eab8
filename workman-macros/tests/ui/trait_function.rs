#![allow(unused_variables)]

use workman_core::worker;

trait Sender {
    #[worker]
    fn send(to: String);
}

fn main() {}
