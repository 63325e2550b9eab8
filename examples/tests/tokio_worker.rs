//! The tests for tokio on the README, word for word; `workman-core/tests/documents.rs` compares the two.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use workman_core::{WorkState, worker};
use workman_testing::TestDriver;

#[worker]
async fn back_up(file: PathBuf, to: PathBuf) -> Result<u64, std::io::Error> {
    tokio::fs::copy(file, to).await
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_copied() {
    back_up("no such file".into(), "copy".into()).await.unwrap_err(); // a worker is a plain function still
}

#[tokio::test]
async fn a_file_that_comes_later_is_copied_half_a_minute_later() {
    let folder = std::env::temp_dir().join(format!("back-up-{}", std::process::id()));
    let (file, to) = (folder.join("a.txt"), folder.join("b.txt"));
    let test = TestDriver::new();
    let copy = test.enqueue(back_up::request(file.clone(), to));
    test.run_until_idle(); // the worker itself, on tokio, in real time
    assert_eq!(test.info(copy).state, WorkState::Enqueued); // failed once, waits for its backoff
    fs::create_dir_all(&folder).unwrap();
    fs::write(file, "hello").unwrap();
    test.advance(Duration::from_secs(30)); // virtual
    assert_eq!(test.output::<u64>(copy), 5);
    fs::remove_dir_all(folder).unwrap();
}
