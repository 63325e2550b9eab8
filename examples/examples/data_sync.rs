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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use workman_core::{Backoff, ExistingPeriodicWorkPolicy, ThreadRuntime, WorkManager, WorkQuery, WorkSelector, worker};
use workman_examples::cli::{self, Args, Failure};
use workman_examples::http::{self, Server};
use workman_redb::RedbStore;

const NAME: &str = "syncTask";
const NOTES: TableDefinition<'_, u64, &str> = TableDefinition::new("todos");

/// Fetches what is new and writes it down. Running it twice does no harm: the same rows are written again.
#[worker(backoff = Backoff::linear(Duration::from_millis(200)))]
fn sync_todos(#[state] server: SocketAddr, #[state] database: Arc<Database>) -> Result<(), Failure> {
    let answer = http::get(server, "/todos").inspect_err(|error| println!("this round fails: {error}"))?;
    let todos: Vec<(u64, String)> = serde_json::from_slice(&answer)?;
    let transaction = database.begin_write()?;
    for (id, text) in &todos {
        transaction.open_table(NOTES)?.insert(id, &**text)?;
    }
    transaction.commit()?;
    println!("synced {} todos", todos.len());
    Ok(())
}

async fn example(mut args: Args) -> Result<(), Failure> {
    let every = Duration::from_millis(args.value_or("--every", 1000)?);
    let runs: u64 = args.value_or("--runs", 3)?;
    let cancel = args.flag("--cancel");
    args.done()?;
    let place = cli::place("data_sync")?;
    println!("the schedule and the database are in {}", place.display());
    let database = Arc::new(Database::create(place.join("todos.redb"))?);
    let server = serve_todos()?;
    let manager = WorkManager::builder(RedbStore::open(place.join("works.redb"))?)
        .runtime(ThreadRuntime::new())
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
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |_| {
        let count = asked.fetch_add(1, Ordering::Relaxed) + 1;
        let todos: Vec<(usize, String)> = (1..=count).map(|id| (id, format!("todo {id}"))).collect();
        Ok((200, serde_json::to_vec(&todos)?))
    })?;
    Ok(server)
}

fn main() -> ExitCode {
    cli::run(include_str!("data_sync.rs"), example)
}
