//! The one thread that writes, and its group commit.
//!
//! While a transaction is flushed to the disk, further writes gather; they are the next transaction. So one flush is
//! shared by all that wait, and nobody waits for more than the one under way and his own. No write waits for company: one
//! alone is committed at once.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
use tokio::sync::oneshot;

use super::KeyValueError;

/// So many writes in one transaction at most: none of them is answered before all are done.
const MOST: usize = 512;

/// What is to be written in one store.
pub(super) enum Operation {
    Set(Vec<(String, Vec<u8>)>),
    Delete(Vec<String>),
    Increment(String, i64),
}

struct Write {
    store: String,
    operation: Operation,
    done: oneshot::Sender<Result<i64, KeyValueError>>,
}

/// A way to the thread.
pub(super) struct Writer(Sender<Write>);

impl Writer {
    /// Starts the thread, which ends when this is dropped.
    pub(super) fn start(connection: Connection) -> Result<Self, KeyValueError> {
        let (sender, receiver) = channel();
        let thread = thread::Builder::new().name("key-value".to_owned());
        thread
            .spawn(move || write_all(connection, &receiver))
            .map_err(|error| KeyValueError(format!("no thread for the store: {error}")))?;
        Ok(Self(sender))
    }

    /// Writes; returns once that is on the disk. The value is that of an increment.
    pub(super) async fn run(&self, store: &str, operation: Operation) -> Result<i64, KeyValueError> {
        let (done, written) = oneshot::channel();
        let ended = || KeyValueError("the store's thread ended".to_owned());
        self.0.send(Write { store: store.to_owned(), operation, done }).map_err(|_| ended())?;
        written.await.map_err(|_| ended())?
    }
}

fn write_all(mut connection: Connection, writes: &Receiver<Write>) {
    let mut batch = Vec::new();
    while let Ok(first) = writes.recv() {
        batch.push(first);
        batch.extend(writes.try_iter().take(MOST - 1));
        let results = commit(&mut connection, &batch);
        for (write, result) in batch.drain(..).zip(results) {
            // Who no longer waits has his write all the same.
            let _ = write.done.send(result);
        }
    }
}

/// Writes a batch in one transaction; when that fails nothing of it is written, and each is told why.
fn commit(connection: &mut Connection, batch: &[Write]) -> Vec<Result<i64, KeyValueError>> {
    let written = (|| {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let results = batch.iter().map(|write| apply(&transaction, write)).collect::<Result<Vec<_>, _>>()?;
        transaction.commit()?;
        Ok(results)
    })();
    written.unwrap_or_else(|error: rusqlite::Error| {
        let error = explained(&error);
        batch.iter().map(|_| Err(error.clone())).collect()
    })
}

/// What went wrong, in words that say what to do.
pub(super) fn explained(error: &rusqlite::Error) -> KeyValueError {
    let why = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "another process keeps the store's file locked",
        Some(ErrorCode::DiskFull) => "the disk with the store's file is full",
        Some(ErrorCode::ReadOnly) => "the store's file, or its folder, may not be written to",
        Some(ErrorCode::CannotOpen) => "the store's file cannot be opened",
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            "the store's file is damaged or no SQLite database"
        }
        Some(ErrorCode::SystemIoFailure) => "the disk with the store's file fails",
        _ => return KeyValueError(error.to_string()),
    };
    KeyValueError(format!("{why} ({error})"))
}

/// One write of a batch. What is wrong with it alone is its own result, and then it has written nothing; the outer error
/// ends the whole transaction.
fn apply(transaction: &Connection, write: &Write) -> rusqlite::Result<Result<i64, KeyValueError>> {
    match &write.operation {
        Operation::Set(values) => {
            for (key, value) in values {
                put(transaction, &write.store, key, value)?;
            }
            Ok(Ok(0))
        }
        Operation::Delete(keys) => {
            let mut statement =
                transaction.prepare_cached("DELETE FROM spin_key_value WHERE store = ?1 AND key = ?2")?;
            for key in keys {
                statement.execute(params![write.store, key])?;
            }
            Ok(Ok(0))
        }
        Operation::Increment(key, delta) => {
            let current: Option<Vec<u8>> = transaction
                .prepare_cached("SELECT value FROM spin_key_value WHERE store = ?1 AND key = ?2")?
                .query_row(params![write.store, key], |row| row.get(0))
                .optional()?;
            let sum = match sum(key, current, *delta) {
                Ok(sum) => sum,
                Err(error) => return Ok(Err(error)),
            };
            put(transaction, &write.store, key, &sum.to_le_bytes())?;
            Ok(Ok(sum))
        }
    }
}

fn sum(key: &str, current: Option<Vec<u8>>, delta: i64) -> Result<i64, KeyValueError> {
    let current = match current {
        Some(bytes) => <[u8; 8]>::try_from(bytes)
            .map(i64::from_le_bytes)
            .map_err(|_| KeyValueError(format!("{key} is no counter")))?,
        None => 0,
    };
    current.checked_add(delta).ok_or_else(|| KeyValueError(format!("{key} overflows")))
}

fn put(connection: &Connection, store: &str, key: &str, value: &[u8]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO spin_key_value (store, key, value) VALUES (?1, ?2, ?3)
         ON CONFLICT (store, key) DO UPDATE SET value = excluded.value",
    )?;
    statement.execute(params![store, key, value])?;
    Ok(())
}
