//! The key-value store in SQLite: the file and the table that Spin has, so that either can take over from the other.
//!
//! A counter is a signed 64-bit number in little-endian bytes, changed in one immediate transaction, which makes
//! `increment` atomic across threads and processes.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{KeyValueError, Values};

/// How long to wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS spin_key_value (
    store TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (store, key))";

impl From<rusqlite::Error> for KeyValueError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

/// All stores of one application, in one file. Cheap to clone.
#[derive(Clone)]
pub struct Sqlite(Arc<Mutex<Connection>>);

impl Sqlite {
    /// Opens or makes `sqlite_key_value.db` in `folder`, which only its owner may enter when it is made here.
    pub fn open(folder: &Path) -> Result<Self, KeyValueError> {
        let failed = |error: std::io::Error| KeyValueError(format!("{}: {error}", folder.display()));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(folder).map_err(failed)?;
        let connection = Connection::open(folder.join("sqlite_key_value.db"))?;
        // Synced at checkpoints: a crash of the process loses nothing, a power cut at most the last moments.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Self::prepare(connection)
    }

    /// A store that goes with the process.
    pub fn in_memory() -> Result<Self, KeyValueError> {
        Self::prepare(Connection::open_in_memory()?)
    }

    fn prepare(connection: Connection) -> Result<Self, KeyValueError> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.execute(SCHEMA, [])?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Runs `work` where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, KeyValueError> + Send + 'static,
    ) -> Result<T, KeyValueError> {
        let connection = Arc::clone(&self.0);
        // A panic while the lock was held left the connection as SQLite rolls it back.
        let run = move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(run).await.map_err(|error| KeyValueError(error.to_string()))?
    }

    /// The value of a key.
    pub async fn get(&self, store: &str, key: String) -> Result<Option<Vec<u8>>, KeyValueError> {
        let store = store.to_owned();
        self.blocking(move |connection| {
            let mut query =
                connection.prepare_cached("SELECT value FROM spin_key_value WHERE store = ?1 AND key = ?2")?;
            Ok(query.query_row(params![store, key], |row| row.get(0)).optional()?)
        })
        .await
    }

    /// Keys with their values.
    pub async fn get_many(&self, store: &str, keys: Vec<String>) -> Result<Values, KeyValueError> {
        let store = store.to_owned();
        self.blocking(move |connection| {
            let mut query =
                connection.prepare_cached("SELECT value FROM spin_key_value WHERE store = ?1 AND key = ?2")?;
            let mut found = Vec::with_capacity(keys.len());
            for key in keys {
                let value = query.query_row(params![store, key], |row| row.get(0)).optional()?;
                found.push((key, value));
            }
            Ok(found)
        })
        .await
    }

    /// Sets a key.
    pub async fn set(&self, store: &str, key: String, value: Vec<u8>) -> Result<(), KeyValueError> {
        let store = store.to_owned();
        self.blocking(move |connection| put(connection, &store, &key, &value)).await
    }

    /// Sets keys in one transaction.
    pub async fn set_many(&self, store: &str, values: Vec<(String, Vec<u8>)>) -> Result<(), KeyValueError> {
        let store = store.to_owned();
        self.blocking(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for (key, value) in &values {
                put(&transaction, &store, key, value)?;
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Removes keys in one transaction.
    pub async fn delete_many(&self, store: &str, keys: Vec<String>) -> Result<(), KeyValueError> {
        let store = store.to_owned();
        self.blocking(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for key in &keys {
                remove(&transaction, &store, key)?;
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Removes a key, if it is there.
    pub async fn delete(&self, store: &str, key: String) -> Result<(), KeyValueError> {
        let store = store.to_owned();
        self.blocking(move |connection| remove(connection, &store, &key)).await
    }

    /// All keys of a store.
    pub async fn keys(&self, store: &str) -> Result<Vec<String>, KeyValueError> {
        let store = store.to_owned();
        self.blocking(move |connection| {
            let mut query = connection.prepare_cached("SELECT key FROM spin_key_value WHERE store = ?1")?;
            let keys = query.query_map(params![store], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(keys)
        })
        .await
    }

    /// Adds to a counter, absent counting as 0, and returns the sum.
    pub async fn increment(&self, store: &str, key: String, delta: i64) -> Result<i64, KeyValueError> {
        let store = store.to_owned();
        self.blocking(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value: Option<Vec<u8>> = transaction
                .prepare_cached("SELECT value FROM spin_key_value WHERE store = ?1 AND key = ?2")?
                .query_row(params![store, key], |row| row.get(0))
                .optional()?;
            let current = match value {
                Some(bytes) => <[u8; 8]>::try_from(bytes)
                    .map(i64::from_le_bytes)
                    .map_err(|_| KeyValueError(format!("{key} is no counter")))?,
                None => 0,
            };
            let sum = current.checked_add(delta).ok_or_else(|| KeyValueError(format!("{key} overflows")))?;
            put(&transaction, &store, &key, &sum.to_le_bytes())?;
            transaction.commit()?;
            Ok(sum)
        })
        .await
    }
}

fn remove(connection: &Connection, store: &str, key: &str) -> Result<(), KeyValueError> {
    let mut statement = connection.prepare_cached("DELETE FROM spin_key_value WHERE store = ?1 AND key = ?2")?;
    statement.execute(params![store, key])?;
    Ok(())
}

fn put(connection: &Connection, store: &str, key: &str, value: &[u8]) -> Result<(), KeyValueError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO spin_key_value (store, key, value) VALUES (?1, ?2, ?3)
         ON CONFLICT (store, key) DO UPDATE SET value = excluded.value",
    )?;
    statement.execute(params![store, key, value])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> String {
        name.to_owned()
    }

    async fn behaves(store: Sqlite) {
        assert_eq!(store.get("default", key("a")).await, Ok(None));
        store.set("default", key("a"), b"1".to_vec()).await.unwrap();
        store.set("default", key("a"), b"2".to_vec()).await.unwrap();
        assert_eq!(store.get("default", key("a")).await, Ok(Some(b"2".to_vec())));
        assert_eq!(store.get("other", key("a")).await, Ok(None), "stores are apart");
        assert_eq!(store.increment("default", key("n"), 2).await, Ok(2));
        assert_eq!(store.increment("default", key("n"), -3).await, Ok(-1));
        assert_eq!(store.get("default", key("n")).await, Ok(Some((-1i64).to_le_bytes().to_vec())), "as Spin has it");
        assert!(store.increment("default", key("a"), 1).await.is_err(), "a value is no counter");
        assert_eq!(store.get("default", key("a")).await, Ok(Some(b"2".to_vec())));
        store.set("default", key("m"), i64::MAX.to_le_bytes().to_vec()).await.unwrap();
        assert!(store.increment("default", key("m"), 1).await.is_err(), "an overflow is an error");
        store.delete("default", key("a")).await.unwrap();
        store.delete("default", key("a")).await.unwrap();
        assert_eq!(store.keys("default").await.map(|keys| keys.len()), Ok(2));
        store.set_many("default", vec![(key("x"), b"1".to_vec()), (key("y"), b"2".to_vec())]).await.unwrap();
        assert_eq!(store.get("default", key("y")).await, Ok(Some(b"2".to_vec())));
        let found = store.get_many("default", vec![key("y"), key("never"), key("x"), key("y")]).await.unwrap();
        let one = || Some(b"1".to_vec());
        assert_eq!(found, [(key("y"), one()), (key("never"), None), (key("x"), one()), (key("y"), one())]);
        store.delete_many("default", vec![key("x"), key("y"), key("never")]).await.unwrap();
        assert_eq!(store.keys("default").await.map(|keys| keys.len()), Ok(2));
    }

    #[tokio::test]
    async fn a_store_in_memory_and_one_in_a_file_behave_alike() {
        let folder = tempfile::tempdir().unwrap();
        behaves(Sqlite::in_memory().unwrap()).await;
        behaves(Sqlite::open(&folder.path().join("new/.spin")).unwrap()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_concurrent_increments_on_two_connections_each_sum_comes_once() {
        let folder = tempfile::tempdir().unwrap();
        let handles = [Sqlite::open(folder.path()).unwrap(), Sqlite::open(folder.path()).unwrap()];
        let mut tasks = tokio::task::JoinSet::new();
        for index in 0..100 {
            let store = handles[index % 2].clone();
            tasks.spawn(async move { store.increment("default", key("n"), 1).await.unwrap() });
        }
        let mut sums = tasks.join_all().await;
        sums.sort_unstable();
        assert_eq!(sums, (1..=100).collect::<Vec<i64>>());
    }
}
