//! The main job: a folder of photos becomes a gallery, as one chain that survives everything.
//!
//! ```text
//! cargo run --release --example image_pipeline                    # the photos that come with it
//! cargo run --release --example image_pipeline -- ~/Pictures     # your own PNG and JPEG files
//! ```
//! Clean up → three filters side by side for each photo → one contact sheet of them all → save each photo's
//! pictures to the gallery, side by side. The chain has a unique name for each folder and lives in a redb file.
//!
//! What to watch:
//! - say `--slow 500`, kill it half-way with `kill -9`, and start it again: it goes on. Steps whose end was on disk do not
//!   run again; the summary counts the attempts that the kill cut short.
//! - start it once more when it has finished: it only prints the summary. `--replace` runs everything anew.
//! - `--upload` sends the pictures to a real HTTP server on loopback that refuses the first two: they are tried again.
//!
//! `--help` says what else can be said.

mod report;
mod steps;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use futures::StreamExt;
use workman_core::{ExistingWorkPolicy, Request, ThreadRuntime, WorkInfo, WorkManager, WorkQuery};
use workman_examples::cli::{self, Failure, milliseconds};
use workman_examples::gallery;
use workman_examples::journal::Journal;
use workman_examples::loopback::{self, Server};
use workman_redb::RedbStore;

use steps::{Picture, Radius, Studio, blur, clean_up, contact_sheet, gray_scale, save_to_gallery, upload, water_color};

fn main() -> ExitCode {
    cli::run(async { pipeline(Options::parse().complete()?).await })
}

async fn pipeline(order: Order) -> Result<(), Failure> {
    let server = receive_uploads(order.out.clone())?;
    let manager = WorkManager::builder(RedbStore::open(&order.store)?)
        .runtime(ThreadRuntime::new())
        .state(order.studio(server.address()))
        .start()?;

    let mut works = manager.query(WorkQuery::unique(&*order.name)).await?;
    if works.is_empty() || order.replace {
        enqueue(&manager, &order).await?;
    } else if works.iter().all(|work| work.state.is_finished()) {
        println!("This folder is done (--replace does it anew).");
        return report::summary(&works, &order.out);
    } else {
        let settled = works.iter().filter(|work| work.state.is_finished()).count();
        println!("Going on: {settled} of {} steps were settled before.", works.len());
    }
    works = finish(&manager, &order.name).await?;
    manager.shutdown(Duration::from_secs(1)).await;
    report::summary(&works, &order.out)
}

/// One chain, stored in one commit: from here on it runs to its end, whatever happens to this process.
async fn enqueue(manager: &WorkManager, order: &Order) -> Result<(), Failure> {
    let photos = gallery::photos(&order.folder)?;
    if photos.is_empty() {
        return Err(format!("there is no PNG or JPEG file in {}", order.folder.display()).into());
    }
    let out = || order.out.clone();
    let filters: Vec<Request<_, Picture>> = photos
        .iter()
        .flat_map(|photo| {
            let photo = || photo.clone();
            [
                water_color::request(photo(), out()),
                gray_scale::request(photo(), out()),
                blur::request(photo(), out(), Radius(8)),
            ]
        })
        .collect();
    let deliver = |photo| if order.upload { upload::request(photo) } else { save_to_gallery::request(photo, out()) };
    let policy = if order.replace { ExistingWorkPolicy::Replace } else { ExistingWorkPolicy::Keep };

    let chain = manager
        .begin_unique(&*order.name, policy, clean_up::request(out()))
        .then(filters)
        .then(contact_sheet::request(out())) // takes the pictures of all filters, in the order above
        .then(photos.iter().cloned().map(deliver).collect::<Vec<_>>()) // each takes the album that the sheet gave
        .enqueue()
        .await?;
    println!("{} photos make {} steps, on disk in {}.", photos.len(), chain.ids.len(), order.store.display());
    Ok(())
}

/// Shows how far the works are until all are finished.
async fn finish(manager: &WorkManager, name: &str) -> Result<Vec<WorkInfo>, Failure> {
    let bar = report::bar()?;
    let mut snapshots = manager.watch(WorkQuery::unique(name));
    while let Some(works) = snapshots.next().await {
        report::show(&bar, &works);
        if let Some(work) = works.iter().find(|work| work.parked.is_some()) {
            return Err(format!("{} {}: {}", work.worker, work.id, manager.explain(work.id).await?).into());
        }
        if works.iter().all(|work| work.state.is_finished()) {
            return Ok(works);
        }
    }
    Err("the manager ended before the works did".into())
}

/// A server that keeps what it is sent, and is not well at first.
fn receive_uploads(folder: PathBuf) -> Result<Server, Failure> {
    let server = Server::start(move |request| {
        let mut image = Vec::new();
        request.as_reader().read_to_end(&mut image)?;
        let name = loopback::name_of(request);
        // A name that leads out of the folder is nobody's picture.
        let name = Path::new(&name).file_name().ok_or(std::io::ErrorKind::InvalidInput)?;
        gallery::write_whole(&folder.join(name), &image)?;
        Ok((201, Vec::new()))
    })?;
    server.refuse(2);
    Ok(server)
}

/// Makes a gallery of a folder of photos, as one chain of works that survives everything.
#[derive(Parser)]
struct Options {
    /// The folder of PNG and JPEG files
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/images"))]
    folder: PathBuf,
    /// The gallery
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The file of the works
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Writes a line there before and after each effect
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Writes the same lines to standard output
    #[arg(long)]
    verbose: bool,
    /// Milliseconds before each step
    #[arg(long, value_name = "MS", default_value = "0", value_parser = milliseconds)]
    slow: Duration,
    /// Sends the pictures to a server that refuses the first two
    #[arg(long)]
    upload: bool,
    /// Runs everything anew
    #[arg(long)]
    replace: bool,
}

/// The options with what follows from them.
struct Order {
    folder: PathBuf,
    out: PathBuf,
    store: PathBuf,
    name: String,
    journal: Journal,
    slow: Duration,
    upload: bool,
    replace: bool,
}

impl Options {
    fn complete(self) -> Result<Order, Failure> {
        let place = cli::place("image_pipeline")?;
        let folder = self.folder.canonicalize().map_err(|error| format!("{}: {error}", self.folder.display()))?;
        let journal = Journal::open(self.journal.as_deref())?;
        Ok(Order {
            out: self.out.unwrap_or_else(|| place.join("gallery").join(folder.file_name().unwrap_or_default())),
            store: self.store.unwrap_or_else(|| place.join("works.redb")),
            name: format!("gallery of {}", folder.display()),
            folder,
            journal: if self.verbose { journal.aloud() } else { journal },
            slow: self.slow,
            upload: self.upload,
            replace: self.replace,
        })
    }
}

impl Order {
    fn studio(&self, server: SocketAddr) -> Studio {
        Studio { journal: self.journal.clone(), slow: self.slow, http: loopback::client(), server }
    }
}
