//! The key-value store in SQLite: the file and the table that Spin has, so that either can take over from the other.
//!
//! One thread writes ([`writer`]): the writes that wait for it become one transaction and one flush to the disk, and each
//! is answered only after that. Whoever reads does so in his own thread, on one of a few connections of his own kind, and
//! sees all that was answered. A counter is a signed 64-bit number in little-endian bytes, changed within the writer's
//! immediate transaction, which makes `increment` atomic across threads and processes.

mod opening;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};

use self::opening::Place;
use self::writer::{Operation, Writer};
use super::{KeyValueError, Values};

const GET: &str = "SELECT value FROM spin_key_value WHERE store = ?1 AND key = ?2";

impl From<rusqlite::Error> for KeyValueError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

/// All stores of one application, in one file. Cheap to clone.
#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

struct Inner {
    writer: Writer,
    place: Place,
    // Idle connections for reading.
    readers: Mutex<Vec<Connection>>,
}

impl Sqlite {
    /// The files of a store in `folder`, whether they are there or not. What SQLite writes beside the first takes its mode.
    pub fn files(folder: &Path) -> [PathBuf; 3] {
        ["", "-wal", "-shm"].map(|end| folder.join(format!("{}{end}", opening::FILE)))
    }

    /// Opens or makes `sqlite_key_value.db` in `folder`; what is made is for its owner alone.
    pub fn open(folder: &Path) -> Result<Self, KeyValueError> {
        Self::at(Place::in_folder(folder)?)
    }

    /// A store that goes with the process.
    pub fn in_memory() -> Result<Self, KeyValueError> {
        Self::at(Place::in_memory())
    }

    fn at(mut place: Place) -> Result<Self, KeyValueError> {
        let writer = Writer::start(place.for_writing()?)?;
        // At once, so that what is wrong shows at the start.
        let readers = Mutex::new(vec![place.to_read()?]);
        Ok(Self(Arc::new(Inner { writer, place, readers })))
    }

    /// Reads on a connection that nobody else has. A read takes microseconds, less than a change of threads would.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, KeyValueError> {
        let readers = || self.0.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = readers().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.0.place.to_read()?,
        };
        let found = work(&connection)?;
        readers().push(connection);
        Ok(found)
    }

    /// The value of a key.
    pub async fn get(&self, store: &str, key: &str) -> Result<Option<Vec<u8>>, KeyValueError> {
        self.read(|connection| {
            connection.prepare_cached(GET)?.query_row(params![store, key], |row| row.get(0)).optional()
        })
    }

    /// Keys with their values.
    pub async fn get_many(&self, store: &str, keys: Vec<String>) -> Result<Values, KeyValueError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(GET)?;
            let mut one = |key| {
                let value = query.query_row(params![store, key], |row| row.get(0)).optional()?;
                Ok((key, value))
            };
            keys.into_iter().map(&mut one).collect()
        })
    }

    /// All keys of a store.
    pub async fn keys(&self, store: &str) -> Result<Vec<String>, KeyValueError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached("SELECT key FROM spin_key_value WHERE store = ?1")?;
            query.query_map(params![store], |row| row.get(0))?.collect()
        })
    }

    /// Sets keys in one transaction.
    pub async fn set_many(&self, store: &str, values: Vec<(String, Vec<u8>)>) -> Result<(), KeyValueError> {
        self.0.writer.run(store, Operation::Set(values)).await.map(|_| ())
    }

    /// Removes keys in one transaction.
    pub async fn delete_many(&self, store: &str, keys: Vec<String>) -> Result<(), KeyValueError> {
        self.0.writer.run(store, Operation::Delete(keys)).await.map(|_| ())
    }

    /// Adds to a counter, absent counting as 0, and returns the sum.
    pub async fn increment(&self, store: &str, key: String, delta: i64) -> Result<i64, KeyValueError> {
        self.0.writer.run(store, Operation::Increment(key, delta)).await
    }
}

#[cfg(test)]
mod tests;
