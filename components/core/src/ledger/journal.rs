//! The journal: how facts are found again without listing keys, for repair and for clean-up.
//!
//! Time is cut into buckets of an hour. In a bucket a counter hands out slots, and a slot names a job. An entry is
//! written together with the fact that it leads to. After the retention whole buckets are deleted.

use gha_slurm_protocol::identity::JobId;
use serde::{Deserialize, Serialize};

use super::{encode, keys, read, write};
use crate::ports::{Clock, Store, StoreError};

const BUCKET_SECONDS: u64 = 60 * 60;
/// Slots are read and digested by so many.
pub const CHUNK: i64 = 256;
/// So long after a bucket's end no clock of any replica still appends to it.
const CLOSED_SECONDS: u64 = 10 * 60;

/// What a slot leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A job with all its facts.
    Job(JobId),
    /// A delivery that GitHub was asked to repeat, by its guid.
    Delivery(String),
}

/// An hour of the journal, as hours of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bucket(pub u64);

impl Bucket {
    /// The bucket of a time in seconds of Unix time.
    pub fn at(seconds: u64) -> Self {
        Self(seconds / BUCKET_SECONDS)
    }

    /// When it begins, in seconds of Unix time.
    pub fn begin(self) -> u64 {
        self.0.saturating_mul(BUCKET_SECONDS)
    }

    /// When it is over, in seconds of Unix time.
    pub fn end(self) -> u64 {
        self.0.saturating_add(1).saturating_mul(BUCKET_SECONDS)
    }
}

/// A slot of a bucket: `B.N`. Later places sort after earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The hour.
    pub bucket: Bucket,
    /// The slot, from 1.
    pub slot: i64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.bucket.0, self.slot)
    }
}

impl std::str::FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text
            .split_once('.')
            .and_then(|(bucket, slot)| Some(Self { bucket: Bucket(bucket.parse().ok()?), slot: slot.parse().ok()? }));
        parsed.filter(|place| place.slot >= 0).ok_or("not a place in the journal")
    }
}

/// All buckets of a store.
#[derive(Debug)]
pub struct Journal<'a, P> {
    store: &'a P,
}

impl<'a, P: Store + Clock> Journal<'a, P> {
    pub(super) fn new(store: &'a P) -> Self {
        Self { store }
    }

    /// Appends an entry to the current bucket, and writes the facts that it leads to in the same transaction.
    pub fn append(&self, entry: Entry, mut facts: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        let bucket = Bucket::at(self.store.unix_seconds());
        let slot = self.store.increment(&keys::journal(bucket), 1)?;
        // First, for backends that set one key after the other: a slot without facts is found, facts without a slot never.
        facts.insert(0, encode(&keys::journal_slot(bucket, slot), &entry)?);
        self.store.set_many(&facts)
    }

    /// How many slots of a bucket were handed out. A bucket that was never used is not touched.
    pub fn slots(&self, bucket: Bucket) -> Result<i64, StoreError> {
        match self.store.get(&keys::journal(bucket))? {
            // Its bytes differ from backend to backend; only `increment` reads it.
            Some(_) => self.store.increment(&keys::journal(bucket), 0),
            None => Ok(0),
        }
    }

    /// The entry in a slot; `None` when who took the slot wrote nothing (yet).
    pub fn entry(&self, bucket: Bucket, slot: i64) -> Result<Option<Entry>, StoreError> {
        read(self.store, &keys::journal_slot(bucket, slot))
    }

    /// The entries in some slots, each as [`Journal::entry`] gives it; what cannot be read counts as absent.
    pub fn entries(&self, bucket: Bucket, slots: &[i64]) -> Result<Vec<Option<Entry>>, StoreError> {
        let slots: Vec<String> = slots.iter().map(|slot| keys::journal_slot(bucket, *slot)).collect();
        let read = |value: Option<Vec<u8>>| serde_json::from_slice(&value?).ok();
        Ok(self.store.get_many(&slots)?.into_iter().map(read).collect())
    }

    /// How many slots each bucket has. That of one that is over is kept, so that asking again costs one read for all.
    pub fn sizes(&self, buckets: &[Bucket]) -> Result<Vec<i64>, StoreError> {
        let kept =
            self.store.get_many(&buckets.iter().map(|bucket| keys::journal_closed(*bucket)).collect::<Vec<_>>())?;
        let used = self.store.get_many(&buckets.iter().map(|bucket| keys::journal(*bucket)).collect::<Vec<_>>())?;
        let mut sizes = Vec::with_capacity(buckets.len());
        for ((bucket, kept), used) in buckets.iter().zip(kept).zip(used) {
            let kept: Option<i64> = kept.and_then(|value| serde_json::from_slice(&value).ok());
            sizes.push(match (kept, used) {
                (_, None) => 0,
                (Some(size), _) => size,
                (None, Some(_)) => {
                    let size = self.store.increment(&keys::journal(*bucket), 0)?;
                    if bucket.end().saturating_add(CLOSED_SECONDS) < self.store.unix_seconds() {
                        write(self.store, &keys::journal_closed(*bucket), &size)?;
                    }
                    size
                }
            });
        }
        Ok(sizes)
    }

    /// The buckets among some in which something is to be done, with the slot up to which nothing is (a hint) and how many
    /// slots they have.
    pub fn open(&self, buckets: &[Bucket]) -> Result<Vec<(Bucket, i64, i64)>, StoreError> {
        let hints =
            self.store.get_many(&buckets.iter().map(|bucket| keys::journal_settled(*bucket)).collect::<Vec<_>>())?;
        let mut open = Vec::new();
        for (bucket, hint) in buckets.iter().zip(hints) {
            // What cannot be read is walked from its beginning.
            let hint = hint.and_then(|value| serde_json::from_slice(&value).ok()).unwrap_or(0);
            if hint != i64::MAX {
                open.push((*bucket, hint));
            }
        }
        let sizes = self.sizes(&open.iter().map(|(bucket, _)| *bucket).collect::<Vec<_>>())?;
        Ok(open.into_iter().zip(sizes).map(|((bucket, hint), size)| (bucket, hint, size)).collect())
    }

    /// What was kept of chunks of slots by [`Journal::keep_digest`], in a form of its reader's own.
    pub fn digests(&self, chunks: &[(Bucket, i64)]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.store
            .get_many(&chunks.iter().map(|(bucket, chunk)| keys::journal_digest(*bucket, *chunk)).collect::<Vec<_>>())
    }

    /// Keeps what is known for good of a chunk of slots, so that it need not be read from facts again.
    pub fn keep_digest(&self, bucket: Bucket, chunk: i64, digest: &[u8]) -> Result<(), StoreError> {
        self.store.set(&keys::journal_digest(bucket, chunk), digest)
    }

    /// Moves the hint.
    pub fn record_settled(&self, bucket: Bucket, slot: i64, whole: bool) -> Result<(), StoreError> {
        let hint = if whole { i64::MAX } else { slot };
        write(self.store, &keys::journal_settled(bucket), &hint)
    }

    /// Deletes a slot.
    pub fn delete_slot(&self, bucket: Bucket, slot: i64) -> Result<(), StoreError> {
        self.store.delete(&keys::journal_slot(bucket, slot))
    }

    /// Deletes what is left of a bucket whose slots, so many, are deleted.
    pub fn delete_bucket(&self, bucket: Bucket, slots: i64) -> Result<(), StoreError> {
        let mut all = vec![keys::journal_settled(bucket), keys::journal_closed(bucket)];
        all.extend((0..=slots / CHUNK).map(|chunk| keys::journal_digest(bucket, chunk)));
        all.push(keys::journal(bucket));
        self.store.delete_many(&all)
    }
}
