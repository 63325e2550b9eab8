//! A service that sends mails: axum in front, tokio below, and a promise in between. What it has taken, it sends.
//!
//! ```text
//! cargo run -p workman-examples --features tokio --example mail_service        # plays it all through, and ends
//! cargo run -p workman-examples --features tokio --example mail_service -- --mail-server http://127.0.0.1:2525
//! curl -i 127.0.0.1:8080/mails -H 'Idempotency-Key: order 17' -H 'Content-Type: application/json' \
//!     -d '{"to": "ann@example.org", "subject": "Order 17", "text": "It is on its way."}'
//! ```
//! What to watch:
//! - `POST /mails` answers 202 once the mail is on disk. A client that got no answer asks again with the same key: that is one
//!   mail. Another mail under the same key is refused with 422. `GET` where `Location` points says how far the mail is, and why.
//! - the mail server refuses each mail at first. Nobody handles that here: the attempt has failed, and there is another.
//! - `kill -9` it while a mail is on its way, and start it again: it goes on. The mail server gets that mail twice, with one key.
//! - SIGTERM (or Ctrl-C) ends it in order: no new requests, what runs may end, and what does not is given back.

mod http;
mod play;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::timeout;
use workman_core::{WorkContext, WorkManager, worker};
use workman_examples::cli::{self, Failure, milliseconds};
use workman_examples::{loopback, mailbox};
use workman_redb::RedbStore;

/// What somebody wants to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mail {
    to: String,
    subject: String,
    text: String,
}

/// The way to the mail server.
#[derive(Clone)]
struct Outgoing {
    http: ureq::Agent,
    url: String,
}

/// Hands a mail to the mail server. It may run twice for one mail, so it says which mail it is, and the server delivers it once.
///
/// A blocking client is fine: a worker that is a plain `fn` runs on tokio's blocking pool and stalls nothing.
#[worker(permanent = loopback::is_permanent)]
fn send_mail(cx: &WorkContext, #[state] outgoing: Outgoing, mail: Mail) -> Result<(), ureq::Error> {
    outgoing.http.post(&outgoing.url).header(mailbox::KEY, cx.idempotency_key()).send_json(&mail)?;
    Ok(())
}

/// Takes mails over HTTP and sends them, whatever happens in between.
#[derive(Parser)]
struct Options {
    /// Where mails are sent to; without it, the program plays both sides and ends
    #[arg(long, value_name = "URL")]
    mail_server: Option<String>,
    /// Where it listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The file of the works
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Milliseconds before a mail that failed is tried again, the first time
    #[arg(long, value_name = "MS", default_value = "10000", value_parser = milliseconds)]
    retry: Duration,
    /// Milliseconds for those who ask and for what runs, each, when it is to end
    #[arg(long, value_name = "MS", default_value = "10000", value_parser = milliseconds)]
    grace: Duration,
}

/// Serves until it is told to end.
async fn serve(options: Options, url: String) -> Result<(), Failure> {
    let told_to_end = told_to_end()?; // first of all: from here on no signal cuts anything short
    let store = options.store.map_or_else(|| cli::place("mail_service").map(|place| place.join("works.redb")), Ok)?;
    let manager = WorkManager::builder(RedbStore::open_waiting(store, Duration::from_secs(10))?)
        .state(Outgoing { http: loopback::client(), url })
        .start()?; // on the tokio that surrounds this call
    let listener = TcpListener::bind(options.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);

    let (end, ending) = oneshot::channel::<()>();
    let server = axum::serve(listener, http::router(manager.clone(), options.retry));
    let server = tokio::spawn(server.with_graceful_shutdown(async { drop(ending.await) }).into_future());
    told_to_end.await;
    println!("ending: no new requests");
    drop(end);
    // Who takes longer than this to ask may ask again, with the same key.
    if let Ok(served) = timeout(options.grace, server).await {
        served??;
    }
    let report = manager.shutdown(options.grace).await;
    println!("ended in order: {} given back", report.given_up.len());
    Ok(())
}

/// Waits for SIGTERM or Ctrl-C, neither of which ends the process any more.
fn told_to_end() -> Result<impl Future<Output = ()>, Failure> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        drop(tokio::signal::ctrl_c().await);
    })
}

fn main() -> ExitCode {
    let options = Options::parse();
    let Some(url) = options.mail_server.clone() else { return cli::ended(play::play()) };
    let tokio = match Runtime::new() {
        Ok(tokio) => tokio,
        Err(error) => return cli::ended(Err(error.into())),
    };
    let result = tokio.block_on(serve(options, url));
    // A run that was given up may still sit in a blocking call, for which `#[tokio::main]` would wait here.
    tokio.shutdown_background();
    cli::ended(result)
}
