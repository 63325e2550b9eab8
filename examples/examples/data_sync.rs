//! A local database that follows a server: periodic work under a name that only one can hold.
//!
//! ```text
//! cargo run --example data_sync                      # three rounds, a second apart, instead of an hourly schedule
//! cargo run --example data_sync -- --every 3600000 --runs 1
//! cargo run --example data_sync -- --cancel
//! ```
//! What to watch: run it twice, and there is still one schedule: the second run finds it and goes on with it. The
//! server fails once in between; that round is tried again and the schedule does not care. `--cancel` ends it.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use futures::StreamExt;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use workman_core::{Backoff, ExistingPeriodicWorkPolicy, ThreadRuntime, WorkManager, WorkQuery, WorkSelector, worker};
use workman_examples::cli::{self, Failure, milliseconds};
use workman_examples::loopback::{self, Server};
use workman_redb::RedbStore;

const NAME: &str = "syncTask";
const NOTES: TableDefinition<'_, u64, &str> = TableDefinition::new("todos");

/// Fetches what is new and writes it down. Running it twice does no harm: the same rows are written again.
#[worker(backoff = Backoff::linear(Duration::from_millis(200)))]
fn sync_todos(
    #[state] http: ureq::Agent,
    #[state] server: SocketAddr,
    #[state] database: Arc<Database>,
) -> Result<(), Failure> {
    let answer = http.get(format!("http://{server}/todos")).call();
    let mut answer = answer.inspect_err(|error| println!("this round fails: {error}"))?;
    let todos: Vec<(u64, String)> = answer.body_mut().read_json()?;
    let transaction = database.begin_write()?;
    for (id, text) in &todos {
        transaction.open_table(NOTES)?.insert(id, &**text)?;
    }
    transaction.commit()?;
    println!("synced {} todos", todos.len());
    Ok(())
}

/// Keeps a local database in sync with a server, by one schedule.
#[derive(Parser)]
struct Options {
    /// Milliseconds from one round to the next
    #[arg(long, value_name = "MS", default_value = "1000", value_parser = milliseconds)]
    every: Duration,
    /// How many rounds to wait for
    #[arg(long, default_value_t = 3)]
    runs: u64,
    /// Ends the schedule
    #[arg(long)]
    cancel: bool,
}

async fn example(Options { every, runs, cancel }: Options) -> Result<(), Failure> {
    let place = cli::place("data_sync")?;
    println!("the schedule and the database are in {}", place.display());
    let database = Arc::new(Database::create(place.join("todos.redb"))?);
    let server = serve_todos()?;
    let manager = WorkManager::builder(RedbStore::open(place.join("works.redb"))?)
        .runtime(ThreadRuntime::new())
        .state(loopback::client())
        .state(server.address())
        .state(Arc::clone(&database))
        .start()?;

    if cancel {
        println!("ended {} schedules", manager.cancel(WorkSelector::unique(NAME)).await?);
        return Ok(());
    }
    let request = sync_todos::periodic(every).tag("sync");
    let sync = manager.enqueue_unique_periodic(NAME, ExistingPeriodicWorkPolicy::Update, request).await?;
    println!("{:?}", sync.how); // `Inserted` the first time, `Updated` ever after
    let sync = sync.handle.ok_or("another worker has the name")?;

    let (before, mut failed) = (sync.info().await?.map_or(0, |info| info.periods), false);
    let mut infos = sync.watch();
    while let Some(info) = infos.next().await {
        if !failed && info.periods > before {
            server.refuse(1); // the next round fails at first
            failed = true;
        }
        if info.periods >= before + runs {
            break;
        }
    }
    drop(infos);
    let schedules = manager.query(WorkQuery::unique(NAME)).await?;
    let todos = database.begin_read()?.open_table(NOTES)?.len()?;
    println!("{} schedule, {} rounds in its life, {todos} todos in the database", schedules.len(), before + runs);
    manager.shutdown(Duration::from_secs(1)).await;
    if schedules.len() == 1 { Ok(()) } else { Err("there must be one schedule".into()) }
}

/// Another todo for each request.
fn serve_todos() -> Result<Server, Failure> {
    let mut count = 0_usize;
    let server = Server::start(move |_| {
        count += 1;
        let todos: Vec<(usize, String)> = (1..=count).map(|id| (id, format!("todo {id}"))).collect();
        Ok((200, serde_json::to_vec(&todos)?))
    })?;
    Ok(server)
}

fn main() -> ExitCode {
    cli::run(example(Options::parse()))
}
