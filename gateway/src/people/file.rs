//! The table of people in a file of its own, which something else on the site may write.
//!
//! It is looked at for each launch, and read again when it is another one than before. While it cannot be read, or says
//! something that cannot be, it says nothing; what it said before no longer counts.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::table::{EntryKeys, Table};
use crate::config::{ConfigError, invalid};

const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// It may lie a network away.
const DEADLINE: Duration = Duration::from_secs(5);

/// The file.
#[derive(Debug)]
pub(super) struct TableFile {
    path: PathBuf,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug)]
struct Known {
    stamp: Stamp,
    table: Arc<Table>,
}

/// What differs between a file and the one that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
    inode: u64,
}

impl From<&Metadata> for Stamp {
    fn from(facts: &Metadata) -> Self {
        Self {
            modified: (facts.mtime(), facts.mtime_nsec()),
            changed: (facts.ctime(), facts.ctime_nsec()),
            size: facts.size(),
            inode: facts.ino(),
        }
    }
}

impl TableFile {
    /// Reads it for the first time.
    pub(super) fn open(path: PathBuf) -> Result<Self, ConfigError> {
        let known = read(&path).map_err(|problem| invalid("people.file", problem))?;
        Ok(Self { path, known: Arc::new(Mutex::new(known)) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it says now, or why it says nothing.
    pub(super) async fn current(&self) -> Result<Arc<Table>, String> {
        let (path, known) = (self.path.clone(), Arc::clone(&self.known));
        let looked = tokio::task::spawn_blocking(move || look(&path, &known));
        let answer = match tokio::time::timeout(DEADLINE, looked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(format!("{} cannot be read in time", self.path.display())),
        };
        answer.map_err(|problem| {
            tracing::error!(problem, "people.file says nothing");
            format!("people.file of the gateway: {problem}")
        })
    }
}

fn look(path: &Path, known: &Mutex<Known>) -> Result<Arc<Table>, String> {
    let facts = std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    {
        let known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.stamp == Stamp::from(&facts) {
            return Ok(Arc::clone(&known.table));
        }
    }
    let fresh = read(path)?;
    let table = Arc::clone(&fresh.table);
    *known.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
    tracing::info!(file = %path.display(), "people read again");
    Ok(table)
}

fn read(path: &Path) -> Result<Known, String> {
    let failed = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let facts = std::fs::metadata(path).map_err(|error| failed(&error))?;
    if !facts.is_file() || facts.size() > MAX_BYTES {
        return Err(failed(&"not a file of at most 4 MiB"));
    }
    let mut text = String::new();
    let file = File::open(path).map_err(|error| failed(&error))?;
    // Taken from the open file: another one may stand there by now.
    let stamp = Stamp::from(&file.metadata().map_err(|error| failed(&error))?);
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(|error| failed(&error))?;
    let options = serde_saphyr::options! { with_snippet: false };
    let entries = serde_saphyr::from_str_with_options::<Option<BTreeMap<String, EntryKeys>>>(&text, options);
    let entries = entries.map_err(|error| failed(&error))?.unwrap_or_default();
    let table = Table::new(entries, "entry").map_err(|error| failed(&error))?;
    Ok(Known { stamp, table: Arc::new(table) })
}
