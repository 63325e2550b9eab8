#![allow(unused_variables)]

use workman_core::worker;

struct Mailer;

impl Mailer {
    #[worker]
    fn new() -> Self {
        Mailer
    }
}

fn main() {}
