//! Observe, ask, steer: what a program can know about its work, and do about it.
//!
//! ```text
//! cargo run --example observe
//! ```
//! What to watch: every work that does not run says why, in one sentence. Three builds of a program follow each other on one
//! file: the second can't read what the first has stored, so that work waits; the third can, and runs it.

use std::process::ExitCode;
use std::time::Duration;

use futures::StreamExt;
use workman_core::{
    Builder, ConstraintKind, Constraints, ManualSensor, ThreadRuntime, WorkContext, WorkError, WorkHandle, WorkId,
    WorkManager, WorkQuery, WorkSelector, WorkState, worker,
};
use workman_examples::cli::{self, Failure};
use workman_examples::process::empty_folder;
use workman_redb::RedbStore;

/// Takes a while.
#[worker]
async fn sync(cx: &WorkContext, what: String) -> Result<String, WorkError> {
    cx.sleep(Duration::from_millis(200)).await?;
    Ok(format!("{what} is in sync"))
}

/// Never ends by itself.
#[worker]
async fn listen(cx: &WorkContext) -> Result<(), WorkError> {
    Err(cx.until_stopped().await.into())
}

/// As an old build had it.
#[worker(name = "resize")]
fn resize_by_name(size: String) -> String {
    size
}

/// As this build has it, which does not read what the old one stored.
#[worker(name = "resize")]
fn resize_by_number(size: u32) -> String {
    size.to_string()
}

async fn example() -> Result<(), Failure> {
    let folder = empty_folder("observe")?;
    println!("the works are in {}", folder.display());
    let file = folder.join("works.redb");
    let sensor = ManualSensor::new();
    sensor.lose(ConstraintKind::Charging);
    let builder = || -> Result<Builder, Failure> {
        let builder =
            WorkManager::builder(RedbStore::open(&file)?).runtime(ThreadRuntime::new()).sensor(sensor.clone());
        Ok(builder.register::<sync>().register::<listen>())
    };

    println!("-- an old build enqueues and leaves");
    let manager = builder()?.register::<resize_by_name>().enqueue_only().start()?;
    let resize = manager.enqueue(resize_by_name::request("large".into())).await?.id();
    println!("resize: {}", manager.explain(resize).await?);
    manager.shutdown(Duration::ZERO).await;
    drop(manager);

    println!("-- this build");
    let manager = builder()?.register::<resize_by_number>().start()?;
    let cancelled = waiting_and_cancelled(&manager, &sensor).await?;
    parked(&manager, resize).await?;
    println!("shut down: {:?}", manager.shutdown(Duration::from_secs(1)).await); // quiet, then stop, then give back
    drop(manager);

    println!("-- the next build, on the same file");
    let manager = builder()?.register::<resize_by_name>().start()?;
    let resized: WorkHandle<String> = manager.handle(resize_by_name::worker(), resize).await?; // typed again
    println!("resize: it reads what is stored and makes it {}", resized.output().await?);
    if let Err(refused) = manager.handle(sync::worker(), cancelled).await {
        println!("a handle of the wrong type: {refused}");
    }
    let report = manager.drain(Duration::from_secs(5)).await?; // does what is due, and tells what remains
    println!("drained: {} remains, due in an hour", report.remaining.len());
    manager.shutdown(Duration::from_secs(1)).await;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// Works that wait, each for something else, and works that are cancelled. Answers one of those.
async fn waiting_and_cancelled(manager: &WorkManager, sensor: &ManualSensor) -> Result<WorkId, Failure> {
    let mut running = manager.watch(WorkQuery::tag("mail").state(WorkState::Running)); // a stream: latest value, no polling
    let charging = Constraints::new().requires_charging();
    let photos = manager.enqueue(sync::request("photos".into()).initial_delay(Duration::from_secs(3600))).await?;
    let music = manager.enqueue(sync::request("music".into()).constraints(charging)).await?;
    let mail = manager.enqueue(listen::request().tag("mail")).await?;
    let chain = manager.begin_with(listen::request()).then(sync::request("calendar".into())).enqueue().await?;
    let calendar = chain.last.ok_or("a new chain has a last step")?;
    while running.next().await.is_some_and(|works| works.is_empty()) {}

    for (name, id) in [("photos", photos.id()), ("music", music.id()), ("mail", mail.id()), ("calendar", calendar.id())]
    {
        println!("{name}: {}", manager.explain(id).await?);
    }
    println!("by tag: {} cancelled", manager.cancel(WorkSelector::tag("mail")).await?);
    println!("mail: {:?}", mail.output().await);
    println!("by id, with all that depends on it: {} cancelled", manager.cancel(WorkSelector::id(chain.ids[0])).await?);
    sensor.meet(ConstraintKind::Charging);
    println!("power is back: {}", music.output().await?);
    Ok(mail.id())
}

/// Work that this build can't read waits, visibly, and blocks nothing else.
async fn parked(manager: &WorkManager, resize: WorkId) -> Result<(), Failure> {
    let mut parked = manager.watch(WorkQuery::parked());
    while parked.next().await.is_some_and(|works| works.is_empty()) {}
    println!("resize: {}", manager.explain(resize).await?);
    manager.retry(resize).await?; // of no use before there is a build that can read it
    manager.drain(Duration::from_secs(5)).await?;
    println!("resize, tried again: {} work is parked", manager.check().await?.works.len());
    Ok(())
}

fn main() -> ExitCode {
    cli::run(example())
}
