#![allow(unused_variables)]

use workman_core::worker;

struct Mailer;

impl Mailer {
    #[worker]
    fn send(to: String) {}
}

fn main() {}
