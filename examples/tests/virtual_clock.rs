//! Tests without waiting: the production planner and dispatcher on a virtual clock. Nothing here sleeps, and no runtime is needed.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use workman_core::{ConstraintKind, Constraints, WorkContext, WorkError, WorkState, worker};
use workman_testing::TestDriver;

/// Where something is to be found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Url(String);

/// The real one: a test without a stub would reach for the network here.
#[worker]
async fn upload_image(path: PathBuf) -> Result<Url, WorkError> {
    Err(format!("no network in a test for {}", path.display()).into())
}

#[test]
fn a_failed_upload_is_tried_again_after_thirty_seconds() {
    let url = Url("http://localhost/cat.png".into());
    let test = TestDriver::new(); // memory store, virtual clock, deterministic executor; no runtime needed
    test.stub::<upload_image>([Err("offline".into()), Ok(url)]); // optional: the worker faked, its codec real
    let upload = test.enqueue(upload_image::request("cat.png".into())); // ids are Copy
    test.run_until_idle();
    assert_eq!(test.info(upload).state, WorkState::Enqueued); // failed once, waits
    test.advance(Duration::from_secs(30));
    assert_eq!(test.info(upload).state, WorkState::Succeeded);
}

/// Counts, a second each.
#[worker]
async fn count(cx: &WorkContext, to: u32) -> Result<u32, WorkError> {
    let from = cx.checkpoint::<u32>()?.unwrap_or(0);
    for i in from + 1..=to {
        cx.sleep(Duration::from_secs(1)).await?;
        cx.save_checkpoint(&i)?;
    }
    Ok(to - from)
}

#[test]
fn a_thousand_second_counter_goes_on_after_a_crash() {
    let test = TestDriver::new();
    let counting = test.enqueue(count::request(1000).initial_delay(Duration::from_secs(60)));
    test.advance(Duration::from_secs(60 + 400));
    assert_eq!(test.info(counting).state, WorkState::Running);
    test.crash_and_restart();
    test.advance(Duration::from_secs(602));
    assert_eq!(test.info(counting).state, WorkState::Succeeded);
    assert!(test.output::<u32>(counting) <= 602, "it has begun anew");
}

#[test]
fn an_unplugged_charger_stops_a_run_and_the_run_goes_on_with_power() {
    let test = TestDriver::new();
    let charging = Constraints::new().requires_charging();
    let counting = test.enqueue(count::request(60).constraints(charging));
    test.advance(Duration::from_secs(20));
    test.lose(ConstraintKind::Charging);
    test.advance(Duration::from_secs(10));
    assert_eq!(test.info(counting).state, WorkState::Enqueued);
    assert_eq!(test.info(counting).failures, 0); // an interruption, no failure
    test.meet(ConstraintKind::Charging);
    test.advance(Duration::from_secs(60));
    assert_eq!(test.info(counting).state, WorkState::Succeeded);
}
