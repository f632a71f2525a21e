//! The key-value store, in SQLite for one host or in Redis for several.

mod redis;
mod sqlite;

use std::path::{Path, PathBuf};

use thiserror::Error;

use self::redis::Redis;
use self::sqlite::Sqlite;

/// The store could not do what was asked.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct KeyValueError(String);

/// Keys, each with its value if it has one.
pub type Values = Vec<(String, Option<Vec<u8>>)>;

/// All stores of one application. Cheap to clone.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "an application has one of them")]
pub enum KeyValue {
    /// In a file, or in memory.
    Sqlite(Sqlite),
    /// On a server that other hosts use as well.
    Redis(Redis),
}

impl std::fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyValue")
    }
}

impl KeyValue {
    /// The files of a store in `folder`, whether they are there or not.
    pub fn files(folder: &Path) -> [PathBuf; 3] {
        Sqlite::files(folder)
    }

    /// Opens or makes `sqlite_key_value.db` in `folder`; what is made is for its owner alone.
    pub fn open(folder: &Path) -> Result<Self, KeyValueError> {
        Sqlite::open(folder).map(Self::Sqlite)
    }

    /// A store that goes with the process.
    pub fn in_memory() -> Result<Self, KeyValueError> {
        Sqlite::in_memory().map(Self::Sqlite)
    }

    /// Connects to a Redis or Valkey server.
    pub async fn redis(url: &str) -> Result<Self, KeyValueError> {
        Redis::connect(url).await.map(Self::Redis)
    }

    /// The value of a key.
    pub async fn get(&self, store: &str, key: &str) -> Result<Option<Vec<u8>>, KeyValueError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.get(store, key).await,
            Self::Redis(redis) => redis.get(key).await,
        }
    }

    /// Keys with their values, in the order in which they were asked for.
    pub async fn get_many(&self, store: &str, keys: Vec<String>) -> Result<Values, KeyValueError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.get_many(store, keys).await,
            Self::Redis(redis) => redis.get_many(keys).await,
        }
    }

    /// Sets a key.
    pub async fn set(&self, store: &str, key: String, value: Vec<u8>) -> Result<(), KeyValueError> {
        self.set_many(store, vec![(key, value)]).await
    }

    /// Sets keys in one transaction.
    pub async fn set_many(&self, store: &str, values: Vec<(String, Vec<u8>)>) -> Result<(), KeyValueError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.set_many(store, values).await,
            Self::Redis(redis) => redis.set_many(values).await,
        }
    }

    /// Removes a key, if it is there.
    pub async fn delete(&self, store: &str, key: String) -> Result<(), KeyValueError> {
        self.delete_many(store, vec![key]).await
    }

    /// Removes keys in one transaction.
    pub async fn delete_many(&self, store: &str, keys: Vec<String>) -> Result<(), KeyValueError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.delete_many(store, keys).await,
            Self::Redis(redis) => redis.delete_many(keys).await,
        }
    }

    /// All keys of a store.
    pub async fn keys(&self, store: &str) -> Result<Vec<String>, KeyValueError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.keys(store).await,
            Self::Redis(redis) => redis.keys().await,
        }
    }

    /// Adds to a counter, absent counting as 0, and returns the sum.
    pub async fn increment(&self, store: &str, key: String, delta: i64) -> Result<i64, KeyValueError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.increment(store, key, delta).await,
            Self::Redis(redis) => redis.increment(key, delta).await,
        }
    }
}
