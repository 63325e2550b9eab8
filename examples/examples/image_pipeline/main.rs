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
//! Options: `--out DIR` (the gallery), `--store FILE`, `--journal FILE` (a line before and after each effect), `--verbose`
//! (the same lines on standard output), `--slow MS` (before each step), `--upload`, `--replace`.

mod report;
mod steps;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use futures::StreamExt;
use workman_core::{ExistingWorkPolicy, Request, ThreadRuntime, WorkInfo, WorkManager, WorkQuery};
use workman_examples::cli::{self, Args, Failure};
use workman_examples::gallery;
use workman_examples::http::Server;
use workman_examples::journal::Journal;
use workman_redb::RedbStore;

use steps::{Picture, Radius, Studio, blur, clean_up, contact_sheet, gray_scale, save_to_gallery, upload, water_color};

fn main() -> ExitCode {
    cli::run(include_str!("main.rs"), async |args| pipeline(Options::parse(args)?).await)
}

async fn pipeline(options: Options) -> Result<(), Failure> {
    let server = receive_uploads(options.out.clone())?;
    let manager = WorkManager::builder(RedbStore::open(&options.store)?)
        .runtime(ThreadRuntime::new())
        .state(options.studio(server.address())?)
        .start()?;

    let mut works = manager.query(WorkQuery::unique(&*options.name)).await?;
    if works.is_empty() || options.replace {
        enqueue(&manager, &options).await?;
    } else if works.iter().all(|work| work.state.is_finished()) {
        println!("This folder is done (--replace does it anew).");
        return report::summary(&works, &options.out);
    } else {
        let settled = works.iter().filter(|work| work.state.is_finished()).count();
        println!("Going on: {settled} of {} steps were settled before.", works.len());
    }
    works = finish(&manager, &options.name).await?;
    manager.shutdown(Duration::from_secs(1)).await;
    report::summary(&works, &options.out)
}

/// One chain, stored in one commit: from here on it runs to its end, whatever happens to this process.
async fn enqueue(manager: &WorkManager, options: &Options) -> Result<(), Failure> {
    let photos = gallery::photos(&options.folder)?;
    if photos.is_empty() {
        return Err(format!("there is no PNG or JPEG file in {}", options.folder.display()).into());
    }
    let out = || options.out.clone();
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
    let deliver = |photo| if options.upload { upload::request(photo) } else { save_to_gallery::request(photo, out()) };
    let policy = if options.replace { ExistingWorkPolicy::Replace } else { ExistingWorkPolicy::Keep };

    let chain = manager
        .begin_unique(&*options.name, policy, clean_up::request(out()))
        .then(filters)
        .then(contact_sheet::request(out())) // takes the pictures of all filters, in the order above
        .then(photos.iter().cloned().map(deliver).collect::<Vec<_>>()) // each takes the album that the sheet gave
        .enqueue()
        .await?;
    println!("{} photos make {} steps, on disk in {}.", photos.len(), chain.ids.len(), options.store.display());
    Ok(())
}

/// Shows how far the works are until all are finished.
async fn finish(manager: &WorkManager, name: &str) -> Result<Vec<WorkInfo>, Failure> {
    let mut bar = report::Bar::new();
    let mut snapshots = manager.watch(WorkQuery::unique(name));
    while let Some(works) = snapshots.next().await {
        bar.show(&works);
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
        let name = Path::new(&request.path).file_name().unwrap_or_default();
        gallery::write_whole(&folder.join(name), &request.body)?;
        Ok((201, Vec::new()))
    })?;
    server.refuse(2);
    Ok(server)
}

struct Options {
    folder: PathBuf,
    out: PathBuf,
    store: PathBuf,
    name: String,
    journal: Option<PathBuf>,
    slow: Duration,
    verbose: bool,
    upload: bool,
    replace: bool,
}

impl Options {
    fn parse(mut args: Args) -> Result<Self, Failure> {
        let place = cli::place("image_pipeline")?;
        let (out, store, journal) = (args.path("--out")?, args.path("--store")?, args.path("--journal")?);
        let slow = Duration::from_millis(args.value_or("--slow", 0)?);
        let (verbose, upload, replace) = (args.flag("--verbose"), args.flag("--upload"), args.flag("--replace"));
        let folder = args.rest()?.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("images"));
        let folder = folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Options {
            out: out.unwrap_or_else(|| place.join("gallery").join(folder.file_name().unwrap_or_default())),
            store: store.unwrap_or_else(|| place.join("works.redb")),
            name: format!("gallery of {}", folder.display()),
            folder,
            journal,
            slow,
            verbose,
            upload,
            replace,
        })
    }

    fn studio(&self, server: SocketAddr) -> Result<Studio, Failure> {
        let journal = Journal::open(self.journal.as_deref())?;
        Ok(Studio { journal: if self.verbose { journal.aloud() } else { journal }, slow: self.slow, server })
    }
}
