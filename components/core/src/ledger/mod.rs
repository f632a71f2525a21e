//! What the store knows of jobs and launches, and under which keys: the one place where the key schema stands.
//!
//! A *fact* is a value that is written once under a key of its own; a job's state is derived from its facts, so events
//! may come late, twice or in any order on any replica. A *claim* is a counter: who brings it to 1 may act. A *hint* says
//! where to begin to look; a wrong one costs some steps and nothing else. Nothing is read, changed and written back.
//!
//! The schema with the meaning of each key is `docs/store.md`. A value that this version cannot read is told apart from
//! an absent one, because a fact that counts as absent is acted upon.

mod attempts;
mod clusters;
mod deliveries;
mod facts;
mod journal;
pub mod keys;
mod records;
mod registration;
mod standing;
mod stops;

pub use self::attempts::{Attempts, Claim, Failure, FailureKind};
pub use self::clusters::{Asking, Heard, HeardGateway, Leased, Numbered, Offered, OnTheWay, Open, Order, Orders, Told};
pub use self::deliveries::DeliveryFacts;
pub use self::facts::{
    AuthorTold, DeniedRun, Finished, Held, JitRunner, JobFacts, LaunchFacts, Launched, Lost, LostReason, RefusedAtNode,
    Requested, Started, View,
};
pub use self::journal::{Bucket, CHUNK, Entry, Journal, Place};
pub use self::records::{JobRecord, LaunchRecord, Tries};
pub use self::registration::{RegisteredApp, Registration, Stored};
pub use self::standing::{End, Ended, Leftover, Standing};
pub use self::stops::{Scope, Stopped, Stops};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::identity::RunId;
use crate::policy::Run;
use crate::ports::{Clock, Random, Store, StoreError};
use crate::sealing::Seal;
use gha_slurm_protocol::identity::{JobId, LaunchId};

/// The most launches of one job. More would not help where three did not.
pub const MAX_LAUNCHES: u32 = 3;

/// So many of a job's launches may be lost for nothing of the launch's own, beside those: to a job that a node refused, which
/// is out of GitHub's queue by that, so that nobody starves another one by jobs that must not run; or unsubmitted.
const MAX_FREE: u32 = 10;

/// No launch of a job has a higher number.
const HIGHEST_LAUNCH: u32 = MAX_LAUNCHES + MAX_FREE - 1;

/// A job's launches one after the other.
#[derive(Debug, Default)]
pub(crate) struct Course {
    free: u32,
    counted: u32,
}

impl Course {
    /// The numbers that launches may have.
    pub(crate) fn numbers() -> std::ops::RangeInclusive<u32> {
        1..=HIGHEST_LAUNCH
    }

    /// Whether another launch follows the one that was lost so.
    pub(crate) fn goes_on(&mut self, lost: &LostReason) -> bool {
        match lost {
            LostReason::RefusedAtNode | LostReason::Held | LostReason::Moved => self.free += 1,
            _ => self.counted += 1,
        }
        self.free < MAX_FREE && self.counted < MAX_LAUNCHES
    }
}

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

    /// What GitHub said of an attempt of a workflow run, if it was asked.
    pub fn run(&self, run: RunId, attempt: u64) -> Result<Option<Run>, StoreError> {
        read(self.0, &keys::run(run, attempt))
    }

    /// Keeps what GitHub said of an attempt of a workflow run: it does not change. Each job of the run leads to it, so it
    /// goes with the first that is deleted.
    pub fn record_run(&self, run: RunId, attempt: u64, said: &Run) -> Result<(), StoreError> {
        write(self.0, &keys::run(run, attempt), said)
    }

    /// What is known about a delivery, by its guid, or about one attempt to deliver it, by its id.
    pub fn delivery(&self, name: &str) -> DeliveryFacts<'a, P> {
        DeliveryFacts::new(self.0, name)
    }

    /// What the setup in the browser registered.
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

/// A secret as it is stored, with its key.
pub fn encode_sealed(
    random: &impl Random,
    seal: &Seal,
    key: &str,
    value: &impl Serialize,
) -> Result<(String, Vec<u8>), StoreError> {
    let (key, clear) = encode(key, value)?;
    let sealed = seal.seal(random, &key, &clear).map_err(|error| StoreError(format!("{key}: {error}")))?;
    Ok((key, sealed))
}

/// Stores a secret so that only who has the seal's key reads it.
pub fn write_sealed<P: Store + Random>(
    platform: &P,
    seal: &Seal,
    key: &str,
    value: &impl Serialize,
) -> Result<(), StoreError> {
    let (key, sealed) = encode_sealed(platform, seal, key, value)?;
    platform.set(&key, &sealed)
}

/// Reads a secret. One that does not open, or is stored in clear, is an error that names its key.
pub fn read_sealed<T: DeserializeOwned>(store: &impl Store, seal: &Seal, key: &str) -> Result<Option<T>, StoreError> {
    let Some(sealed) = store.get(key)? else { return Ok(None) };
    let clear = seal.open(key, &sealed).map_err(|error| StoreError(format!("{key}: {error}")))?;
    serde_json::from_slice(&clear).map(Some).map_err(|error| StoreError(format!("{key} is unreadable: {error}")))
}
