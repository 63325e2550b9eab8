//! Periodic, unique and constrained: a judo club's members are synced while the charger is in and the network costs nothing.
//!
//! ```text
//! cargo run --example judo_sync                      # plays a script of a charger and a server, and ends
//! cargo run --example judo_sync -- --by-hand        # you are the charger: type `charger off`, `network metered`, `quit`
//! ```
//! What to watch: the charger is unplugged mid-run. The run is stopped, and that is no failure; when power is back it goes
//! on with the page that it had reached. Meanwhile the server fails, and a page is asked for again.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use futures::StreamExt;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use workman_core::{
    AttemptEnd, Backoff, ConstraintKind, Constraints, ExistingPeriodicWorkPolicy, Limits, ManualSensor, Network,
    NetworkType, StopReason, ThreadRuntime, WorkContext, WorkHandle, WorkInfo, WorkManager, WorkState, worker,
};
use workman_examples::cli::{self, Failure, milliseconds};
use workman_examples::loopback::{self, Server};
use workman_redb::RedbStore;

const PAGES: u32 = 20;
const FAILING_PAGE: u32 = 3;
const MEMBERS: TableDefinition<'_, &str, u32> = TableDefinition::new("members");

/// The local side of the club: a database, and the way to its server.
#[derive(Clone)]
struct Club {
    database: Arc<Database>,
    http: ureq::Agent,
    server: SocketAddr,
}

impl Club {
    fn sync(&self, page: u32) -> Result<(), Failure> {
        let mut answer = self.http.get(format!("http://{}/members/{page}", self.server)).call()?;
        let names: Vec<String> = answer.body_mut().read_json()?;
        let transaction = self.database.begin_write()?;
        for name in &names {
            transaction.open_table(MEMBERS)?.insert(&**name, page)?;
        }
        Ok(transaction.commit()?)
    }
}

/// A blocking worker, and that is fine: it stalls no other.
#[worker(backoff = Backoff::linear(Duration::from_millis(300)))]
fn judo_sync(cx: &WorkContext, #[state] club: Club) -> Result<(), Failure> {
    for page in cx.checkpoint()?.unwrap_or(0)..PAGES {
        if cx.is_stopped() {
            return cx.stopped(); // an interruption: run again when the constraints hold, and no attempt is lost
        }
        club.sync(page)?;
        cx.set_progress(&page)?;
        cx.save_checkpoint(&(page + 1))?;
        cx.sleep_blocking(Duration::from_millis(50))?;
    }
    Ok(())
}

/// Syncs a judo club's members while the charger is in and the network costs nothing.
#[derive(Parser)]
struct Options {
    /// Milliseconds from one round to the next
    #[arg(long, value_name = "MS", default_value = "4000", value_parser = milliseconds)]
    every: Duration,
    /// You are the charger and the network, on standard input
    #[arg(long)]
    by_hand: bool,
}

async fn example(Options { every, by_hand }: Options) -> Result<(), Failure> {
    let place = cli::place("judo_sync")?;
    println!("the schedule and the members are in {}", place.display());
    let database = Arc::new(Database::create(place.join("members.redb"))?);
    let server = serve_members()?;

    let sensor = ManualSensor::new();
    let mut limits = Limits::default();
    limits.dwell = Duration::from_millis(200); // how long the charger must be out before a run is stopped
    let manager = WorkManager::builder(RedbStore::open(place.join("works.redb"))?)
        .runtime(ThreadRuntime::new())
        .sensor(sensor.clone())
        .limits(limits)
        .state(Club { database: Arc::clone(&database), http: loopback::client(), server: server.address() })
        .start()?;
    let sync = manager
        .enqueue_unique_periodic(
            "judo-sync",
            ExistingPeriodicWorkPolicy::Update,
            judo_sync::periodic(every)
                .constraints(Constraints::new().network(NetworkType::Unmetered).requires_charging()),
        )
        .await?;
    println!("the schedule: {:?}", sync.how);
    let sync = sync.handle.ok_or("another worker has the name")?;

    if by_hand {
        obey_stdin(&sensor)?
    } else {
        play(&manager, &sync, &sensor).await?
    }
    println!("{} members are known", database.begin_read()?.open_table(MEMBERS)?.len()?);
    manager.shutdown(Duration::from_secs(2)).await;
    Ok(())
}

/// Three members a page. One page fails the first time that this process is asked for it.
fn serve_members() -> Result<Server, Failure> {
    let mut failed = false;
    let server = Server::start(move |request| {
        let page: u32 = loopback::name_of(request).parse().unwrap_or_default();
        if page == FAILING_PAGE && !failed {
            failed = true;
            return Ok((503, b"come back later".to_vec()));
        }
        let names = ["Kano", "Fukuda", "Abe"].map(|name| format!("{name} {page}"));
        Ok((200, serde_json::to_vec(&names)?))
    })?;
    Ok(server)
}

/// The script: failures, and a charger that goes out in the middle of a run.
async fn play(manager: &WorkManager, sync: &WorkHandle<()>, sensor: &ManualSensor) -> Result<(), Failure> {
    let begun = sync.info().await?.ok_or("the work is gone")?;
    let last = begun.attempts.last().map_or(0, |attempt| attempt.fence);
    let has_failed = |info: &WorkInfo| {
        info.attempts.iter().any(|attempt| attempt.fence > last && matches!(attempt.end, AttemptEnd::Failed { .. }))
    };
    until(sync, "the server fails once", has_failed).await?;
    let has_come_far = |info: &WorkInfo| {
        let page = info.progress.as_ref().and_then(|progress| progress.decode::<u32>().ok());
        info.state == WorkState::Running && page.is_some_and(|page| page > FAILING_PAGE)
    };
    until(sync, "the page is asked for again, and the sync goes on", has_come_far).await?;
    sensor.lose(ConstraintKind::Charging);
    let stopped = |info: &WorkInfo| {
        info.stop_reason == Some(StopReason::ConstraintCharging) && info.interruptions > begun.interruptions
    };
    let info = until(sync, "the charger is out: the run is stopped", stopped).await?;
    println!("    it {}", manager.explain(info.id).await?);
    sensor.set_network(Network::METERED);
    sensor.meet(ConstraintKind::Charging);
    println!("the charger is back, but the network counts every byte");
    sensor.meet(ConstraintKind::Network);
    let is_over = |info: &WorkInfo| info.periods > begun.periods && info.state == WorkState::Enqueued;
    let info = until(sync, "the network is free again: the rest is synced", is_over).await?;
    println!(
        "    {} rounds in its life, the next one is due at {}",
        info.periods,
        info.next_run.ok_or("the schedule has ended")?
    );
    Ok(())
}

async fn until(sync: &WorkHandle<()>, what: &str, is_so: impl Fn(&WorkInfo) -> bool) -> Result<WorkInfo, Failure> {
    let mut infos = sync.watch();
    while let Some(info) = infos.next().await {
        if is_so(&info) {
            println!("{what}");
            return Ok(info);
        }
    }
    Err(format!("it never came about that {what}").into())
}

fn obey_stdin(sensor: &ManualSensor) -> Result<(), Failure> {
    println!("charger on | charger off | network free | network metered | network off | quit");
    for line in io::stdin().lines() {
        match line?.trim() {
            "charger on" => sensor.set_charging(true),
            "charger off" => sensor.set_charging(false),
            "network free" => sensor.set_network(Network::UNMETERED),
            "network metered" => sensor.set_network(Network::METERED),
            "network off" => sensor.set_network(Network::Disconnected),
            "quit" => break,
            other => println!("what is {other:?}?"),
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    cli::run(example(Options::parse()))
}
