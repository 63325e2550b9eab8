//! The test on the first screen of the README, word for word; `documents.rs` compares the two.

use std::path::PathBuf;
use std::time::Duration;

use workman_core::{WorkState, worker};
use workman_testing::TestDriver;

#[worker]
fn back_up(file: PathBuf, to: PathBuf) -> Result<u64, std::io::Error> {
    std::fs::copy(file, to)
}

#[test]
fn a_failed_copy_is_tried_again_after_thirty_seconds() {
    let test = TestDriver::new(); // virtual clock, deterministic executor
    test.stub::<back_up>([Err("the disk is away".into()), Ok(42)]); // the function faked, its codec real
    let copy = test.enqueue(back_up::request("a.txt".into(), "b.txt".into()));
    test.run_until_idle();
    assert_eq!(test.info(copy).state, WorkState::Enqueued); // failed once, waits for its backoff
    test.crash_and_restart();
    test.advance(Duration::from_secs(30));
    assert_eq!(test.output::<u64>(copy), 42);
}
