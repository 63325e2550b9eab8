#![allow(unused_variables)]

use workman_core::worker;

struct Mailer;

impl Mailer {
    #[worker]
    fn send(&self, to: String) {}
}

fn main() {}
