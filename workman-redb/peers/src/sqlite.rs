//! How the systems on SQLite open their file, and how their rows are counted.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, SqliteConnection};

use crate::peer::Counts;

/// How a database keeps what was committed.
#[derive(Clone, Copy)]
pub enum Journal {
    /// A write-ahead log that is synced at every commit.
    WalFull,
    /// A write-ahead log with SQLite's own setting of a connection left alone, for systems that choose theirs.
    Unset,
}

/// Options to open `file`, which is made when it is not there.
#[must_use]
pub fn options(file: &Path, journal: Journal) -> SqliteConnectOptions {
    let options =
        SqliteConnectOptions::new().filename(file).create_if_missing(true).busy_timeout(Duration::from_secs(30));
    match journal {
        Journal::WalFull => options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full),
        Journal::Unset => options,
    }
}

/// Asks `query` for two numbers: works that are not done, and works that are.
pub async fn counts(file: &Path, query: &'static str) -> Result<Counts> {
    let mut connection = SqliteConnection::connect_with(&options(file, Journal::Unset)).await?;
    let (waiting, done): (i64, i64) = sqlx::query_as(query).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(Counts { waiting: waiting.unsigned_abs(), done: done.unsigned_abs() })
}
