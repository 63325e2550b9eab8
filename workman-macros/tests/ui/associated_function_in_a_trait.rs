#![allow(unused_variables)]

mod inner {
    use workman_core::worker;

    /// A free one of another name does no harm: { impl
    #[worker]
    fn receive(from: String) -> String {
        "impl {".into()
    }

    trait Mailer {
        #[worker(retry = never)]
        fn send(to: String) {}
    }
}

fn main() {}
