//! Which launch is which Slurm job: a small SQLite file that survives a restart.
//!
//! A launch is written down *before* it is submitted. So after a crash in between there is a row without a Slurm job,
//! which says: look in Slurm before you submit again. Rows are kept for longer than a launch token is valid.
//!
//! A write waits for the disk, so all of it happens on threads that may wait.

mod fetched;

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Row, params};

pub(crate) use self::fetched::{Living, Outstanding, Told};
use crate::backend::SlurmJobId;

const KEPT_SECONDS: i64 = 7 * 24 * 60 * 60;

/// What is known of a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// The mapped user; empty for a launch that was cancelled before it came.
    pub(crate) user: String,
    /// Absent while it is not known to be submitted.
    pub(crate) job: Option<SlurmJobId>,
    pub(crate) cancelled: bool,
    /// When it was about to be submitted last, in seconds of Unix time.
    pub(crate) begun: u64,
}

pub(crate) struct Index {
    connection: Arc<Mutex<Connection>>,
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let job = row.get::<_, Option<i64>>(2)?.and_then(|id| SlurmJobId::try_from(id).ok());
    Ok(Entry {
        key: row.get(0)?,
        user: row.get(1)?,
        job,
        cancelled: row.get(3)?,
        begun: row.get::<_, i64>(4)?.try_into().unwrap_or(0),
    })
}

impl Index {
    /// Opens or makes the file in `folder`, which only its owner may enter when it is made here.
    pub(crate) fn open(folder: &Path) -> rusqlite::Result<Self> {
        // What cannot be made is told by SQLite, which then cannot open its file.
        let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        let connection = Connection::open(folder.join("launches.sqlite"))?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        // A row must not be lost to a power cut: it is what prevents a second Slurm job.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS launches (
                 key TEXT PRIMARY KEY, user TEXT NOT NULL, job INTEGER, cancelled INTEGER NOT NULL,
                 created INTEGER NOT NULL) STRICT;
             CREATE INDEX IF NOT EXISTS launches_by_job ON launches (job);",
        )?;
        connection.execute_batch(fetched::TABLES)?;
        forget_old(&connection)?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> rusqlite::Result<T> {
        let connection = Arc::clone(&self.connection);
        let done =
            tokio::task::spawn_blocking(move || work(&connection.lock().unwrap_or_else(PoisonError::into_inner)));
        done.await.unwrap_or(Err(rusqlite::Error::UnwindingPanic))
    }

    /// All of it or nothing.
    async fn at_once<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> rusqlite::Result<T> {
        self.with(move |db| {
            let transaction = db.unchecked_transaction()?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
        .await
    }

    pub(crate) async fn get(&self, key: &str) -> rusqlite::Result<Option<Entry>> {
        let key = key.to_owned();
        let query = "SELECT key, user, job, cancelled, created FROM launches WHERE key = ?1";
        self.with(move |db| db.query_row(query, [key], entry).optional()).await
    }

    /// The newest launch with that Slurm job; ids start anew when a site resets its Slurm.
    pub(crate) async fn by_job(&self, job: SlurmJobId) -> rusqlite::Result<Option<Entry>> {
        let job = i64::try_from(job).unwrap_or(-1);
        let query =
            "SELECT key, user, job, cancelled, created FROM launches WHERE job = ?1 ORDER BY created DESC LIMIT 1";
        self.with(move |db| db.query_row(query, [job], entry).optional()).await
    }

    /// Writes down that a launch is about to be submitted, and when: what Slurm has of it was submitted then.
    pub(crate) async fn begin(&self, key: &str, user: &str) -> rusqlite::Result<()> {
        let (key, user) = (key.to_owned(), user.to_owned());
        let query = "INSERT INTO launches VALUES (?1, ?2, NULL, 0, ?3) ON CONFLICT (key) DO UPDATE
             SET user = ?2, created = ?3";
        self.with(move |db| db.execute(query, params![key, user, now()])).await.map(drop)
    }

    pub(crate) async fn submitted(&self, key: &str, job: SlurmJobId) -> rusqlite::Result<()> {
        let (key, job) = (key.to_owned(), i64::try_from(job).unwrap_or(i64::MAX));
        let query = "UPDATE launches SET job = ?2 WHERE key = ?1";
        self.with(move |db| db.execute(query, params![key, job])).await.map(drop)
    }

    /// Slurm said no: the launch may come again.
    pub(crate) async fn abandon(&self, key: &str) -> rusqlite::Result<()> {
        let key = key.to_owned();
        self.with(move |db| db.execute("DELETE FROM launches WHERE key = ?1 AND job IS NULL", [key])).await.map(drop)
    }

    pub(crate) async fn cancel(&self, key: &str) -> rusqlite::Result<()> {
        let key = key.to_owned();
        let query = "INSERT INTO launches VALUES (?1, '', NULL, 1, ?2) ON CONFLICT (key) DO UPDATE SET cancelled = 1";
        self.with(move |db| db.execute(query, params![key, now()])).await.map(drop)
    }

    pub(crate) async fn forget_old(&self) -> rusqlite::Result<()> {
        self.with(forget_old).await
    }
}

fn forget_old(connection: &Connection) -> rusqlite::Result<()> {
    let oldest = now() - KEPT_SECONDS;
    for table in ["launches", "fetched", "reports"] {
        connection.execute(&format!("DELETE FROM {table} WHERE created < ?1"), [oldest])?;
    }
    Ok(())
}
