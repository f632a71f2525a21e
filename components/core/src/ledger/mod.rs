//! What the store knows of jobs and launches, and under which keys: the one place where the key schema stands.
//!
//! A *fact* is a value that is written once under a key of its own; a job's state is derived from its facts, so events
//! may come late, twice or in any order on any replica. A *claim* is a counter: who brings it to 1 may act. A *hint* says
//! where to begin to look; a wrong one costs some steps and nothing else. Nothing is read, changed and written back.
//!
//! The schema with the meaning of each key is `docs/store.md`. A value that this version cannot read is told apart from
//! an absent one, because a fact that counts as absent is acted upon.

mod attempts;
mod deliveries;
mod facts;
mod journal;
pub mod keys;
mod records;
mod registration;
mod standing;

pub use self::attempts::{Attempts, Claim, Failure, FailureKind};
pub use self::deliveries::DeliveryFacts;
pub use self::facts::{
    Finished, Held, JitRunner, JobFacts, LaunchFacts, Launched, Lost, LostReason, Requested, Started, View,
};
pub use self::journal::{Bucket, CHUNK, Entry, Journal, Place};
pub use self::records::{JobRecord, LaunchRecord, Tries};
pub use self::registration::{RegisteredApp, Registration};
pub use self::standing::{End, Ended, Leftover, Standing};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ports::{Clock, Store, StoreError};
use gha_slurm_protocol::identity::{JobId, LaunchId};

/// The most launches of one job. More would not help where three did not.
pub const MAX_LAUNCHES: u32 = 3;

/// How long facts are kept: as long as GitHub keeps deliveries.
pub const RETENTION_SECONDS: u64 = 3 * 24 * 60 * 60;

/// The facts in a platform's store.
#[derive(Debug)]
pub struct Ledger<'a, P>(pub &'a P);

impl<'a, P: Store + Clock> Ledger<'a, P> {
    /// What is known about a job.
    pub fn job(&self, job: JobId) -> JobFacts<'a, P> {
        JobFacts::new(self.0, job)
    }

    /// What is known about a launch.
    pub fn launch(&self, launch: LaunchId) -> LaunchFacts<'a, P> {
        LaunchFacts::new(self.0, launch)
    }

    /// What is known about a delivery, by its guid, or about one attempt to deliver it, by its id.
    pub fn delivery(&self, name: &str) -> DeliveryFacts<'a, P> {
        DeliveryFacts::new(self.0, name)
    }

    /// What the set-up in the browser registered.
    pub fn registration(&self) -> Registration<'a, P> {
        Registration::new(self.0)
    }

    /// Where all jobs are found again.
    pub fn journal(&self) -> Journal<'a, P> {
        Journal::new(self.0)
    }
}

/// A value as it is stored, with its key.
pub fn encode(key: &str, value: &impl Serialize) -> Result<(String, Vec<u8>), StoreError> {
    let bytes = serde_json::to_vec(value).map_err(|error| StoreError(format!("{key}: {error}")))?;
    Ok((key.to_owned(), bytes))
}

/// Stores a value.
pub fn write(store: &impl Store, key: &str, value: &impl Serialize) -> Result<(), StoreError> {
    let (key, bytes) = encode(key, value)?;
    store.set(&key, &bytes)
}

/// Reads a value. One that this version cannot read is an error that names its key.
pub fn read<T: DeserializeOwned>(store: &impl Store, key: &str) -> Result<Option<T>, StoreError> {
    let Some(bytes) = store.get(key)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| StoreError(format!("{key} is unreadable: {error}")))
}
