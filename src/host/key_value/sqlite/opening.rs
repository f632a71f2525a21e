//! Opening the store's file, and saying clearly why that is not possible.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::KeyValueError;
use super::writer::explained;
use crate::host::private_files;

/// Spin's file.
pub(super) const FILE: &str = "sqlite_key_value.db";

/// How long to wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Spin's table.
const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS spin_key_value (
    store TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (store, key))";
const COLUMNS: [&str; 3] = ["store", "key", "value"];
/// Pages of the log after which it is carried over into the file. More makes a longer pause, less makes more of them.
const CHECKPOINT_PAGES: u32 = 4000;
/// What of the file is read through memory rather than by calls.
const MAPPED_BYTES: i64 = 256 * 1024 * 1024;

/// Where a store is.
pub(super) struct Place {
    uri: String,
    path: Option<PathBuf>,
    // A store in memory lives as long as one connection is open.
    anchor: Option<std::sync::Mutex<Connection>>,
}

impl Place {
    pub(super) fn in_folder(folder: &Path) -> Result<Self, KeyValueError> {
        let path = folder.join(FILE);
        private_files::make_folder(folder)
            .and_then(|()| private_files::make(&path))
            .map_err(|error| KeyValueError(format!("{}: {error}", path.display())))?;
        Ok(Self { uri: String::new(), path: Some(path), anchor: None })
    }

    pub(super) fn in_memory() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { uri: format!("file:/gha-slurm-{number}?vfs=memdb"), path: None, anchor: None }
    }

    /// The connection that writes; the first one. It makes the table.
    pub(super) fn for_writing(&mut self) -> Result<Connection, KeyValueError> {
        let opened = self.connect().and_then(|connection| {
            if self.path.is_some() {
                connection.pragma_update(None, "journal_mode", "WAL")?;
                // Each commit is flushed to the disk: what was answered is there after a power cut.
                connection.pragma_update(None, "synchronous", "FULL")?;
                connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
                // What was deleted or replaced, a secret perhaps, is overwritten.
                connection.pragma_update(None, "secure_delete", true)?;
            }
            connection.execute(SCHEMA, [])?;
            let mut columns = connection.prepare("SELECT name FROM pragma_table_info('spin_key_value')")?;
            let names = columns.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
            drop(columns);
            Ok((connection, names))
        });
        let (connection, names) = opened.map_err(|error| self.failed(&explained(&error)))?;
        if names != COLUMNS {
            let why =
                format!("its table spin_key_value has the columns {names:?} and not {COLUMNS:?}: a newer Spin made it");
            return Err(self.failed(&KeyValueError(why)));
        }
        if self.path.is_none() {
            self.anchor = Some(std::sync::Mutex::new(self.connect()?));
        }
        Ok(connection)
    }

    /// One more connection, to read.
    pub(super) fn to_read(&self) -> Result<Connection, KeyValueError> {
        let opened = self.connect().and_then(|connection| {
            connection.pragma_update(None, "mmap_size", MAPPED_BYTES)?;
            connection.pragma_update(None, "query_only", true)?;
            Ok(connection)
        });
        opened.map_err(|error| self.failed(&explained(&error)))
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        // Each is used by one thread at a time.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match &self.path {
            Some(path) => Connection::open_with_flags(path, flags)?,
            None => Connection::open_with_flags(&self.uri, flags | OpenFlags::SQLITE_OPEN_URI)?,
        };
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(connection)
    }

    fn failed(&self, error: &KeyValueError) -> KeyValueError {
        match &self.path {
            Some(path) => KeyValueError(format!("{}: {error}", path.display())),
            None => error.clone(),
        }
    }
}
