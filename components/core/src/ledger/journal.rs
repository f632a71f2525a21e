//! The journal: how facts are found again without listing keys, for repair and for clean-up.
//!
//! Time is cut into buckets of an hour. In a bucket a counter hands out slots, and a slot names a job. An entry is
//! written together with the fact that it leads to. After the retention whole buckets are deleted.

use serde::{Deserialize, Serialize};

use super::{PREFIX, encode, read, write};
use crate::identity::JobId;
use crate::ports::{Clock, Store, StoreError};

const BUCKET_SECONDS: u64 = 60 * 60;

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

    /// When it is over, in seconds of Unix time.
    pub fn end(self) -> u64 {
        self.0.saturating_add(1).saturating_mul(BUCKET_SECONDS)
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
        let slot = self.store.increment(&counter(bucket), 1)?;
        // First, for backends that set one key after the other: a slot without facts is found, facts without a slot never.
        facts.insert(0, encode(&format!("{}/{slot}", counter(bucket)), &entry)?);
        self.store.set_many(&facts)
    }

    /// How many slots of a bucket were handed out. A bucket that was never used is not touched.
    pub fn slots(&self, bucket: Bucket) -> Result<i64, StoreError> {
        match self.store.get(&counter(bucket))? {
            // Its bytes differ from backend to backend; only `increment` reads it.
            Some(_) => self.store.increment(&counter(bucket), 0),
            None => Ok(0),
        }
    }

    /// The entry in a slot; `None` when who took the slot wrote nothing (yet).
    pub fn entry(&self, bucket: Bucket, slot: i64) -> Result<Option<Entry>, StoreError> {
        read(self.store, &format!("{}/{slot}", counter(bucket)))
    }

    /// Slots up to this one need no more care (a hint); `None` when that holds for all that the bucket will ever have.
    pub fn settled(&self, bucket: Bucket) -> Result<Option<i64>, StoreError> {
        let hint = read::<i64>(self.store, &format!("{}/settled", counter(bucket)))?.unwrap_or(0);
        Ok(Some(hint).filter(|hint| *hint != i64::MAX))
    }

    /// Moves the hint.
    pub fn record_settled(&self, bucket: Bucket, slot: i64, whole: bool) -> Result<(), StoreError> {
        let hint = if whole { i64::MAX } else { slot };
        write(self.store, &format!("{}/settled", counter(bucket)), &hint)
    }

    /// Deletes a slot.
    pub fn delete_slot(&self, bucket: Bucket, slot: i64) -> Result<(), StoreError> {
        self.store.delete(&format!("{}/{slot}", counter(bucket)))
    }

    /// Deletes what is left of a bucket whose slots are deleted.
    pub fn delete_bucket(&self, bucket: Bucket) -> Result<(), StoreError> {
        self.store.delete_many(&[format!("{}/settled", counter(bucket)), counter(bucket)])
    }
}

fn counter(bucket: Bucket) -> String {
    format!("{PREFIX}/journal/{}", bucket.0)
}
