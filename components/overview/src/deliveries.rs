//! The last deliveries of the App's webhook, as GitHub lists them: they show at once if webhooks do not arrive.
//!
//! The tick reads GitHub's list anyway, and keeps the newest ones here, so that a page needs no call. The list does not say
//! which job a delivery was about; a job's facts name the deliveries that brought them.

use std::collections::HashMap;

use gha_slurm_core::identity::DeliveryId;
use gha_slurm_core::ledger::{encode, keys, write};
use gha_slurm_core::ports::{Clock, Store, StoreError, Variables};
use gha_slurm_core::settings::Webhooks;
use gha_slurm_core::text::Text;
use gha_slurm_protocol::identity::JobId;
use serde::{Deserialize, Serialize};

use super::list::newest;

/// How many are kept.
pub const KEPT_DELIVERIES: usize = 50;
/// A delivery's job is looked for among this many jobs.
const JOBS: usize = 200;

/// One attempt of GitHub to deliver an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Delivery {
    /// `X-GitHub-Delivery`, the same for all attempts; null if it is malformed.
    pub guid: Option<DeliveryId>,
    /// When, as a Unix time in seconds; 0 if GitHub does not say.
    pub at: u64,
    /// The event.
    pub event: Text,
    /// The event's action; empty if the event has none.
    pub action: Text,
    /// `OK`, or what went wrong, in GitHub's words.
    pub status: Text,
    /// The status of the application's answer; 0 if there was none.
    pub status_code: u16,
    /// Whether it repeats an earlier attempt.
    pub redelivery: bool,
    /// The job that it was about; null if that is not known.
    pub job: Option<JobId>,
}

impl Delivery {
    /// Whether GitHub counts it as delivered.
    pub fn succeeded(&self) -> bool {
        self.status.some() == Some("OK")
    }
}

/// The newest deliveries of GitHub's list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Deliveries {
    /// When it was read, as a Unix time in seconds; 0 if it never was.
    pub read_at: u64,
    /// The newest first.
    pub deliveries: Vec<Delivery>,
}

/// Keeps what GitHub has just listed, each with its job if that is one of the newest.
pub fn keep_deliveries<P: Store + Clock + Variables>(platform: &P, listed: Vec<Delivery>) -> Result<(), StoreError> {
    let mut jobs = HashMap::new();
    for record in newest(platform, JOBS)? {
        for delivery in record.view.deliveries() {
            jobs.insert(delivery.clone(), record.job);
        }
    }
    let found = |delivery: Delivery| Delivery {
        job: delivery.guid.as_ref().and_then(|guid| jobs.get(guid).copied()),
        ..delivery
    };
    let deliveries = listed.into_iter().map(found).collect();
    write(platform, &keys::github_deliveries(), &Deliveries { read_at: platform.unix_seconds(), deliveries })
}

/// What was kept. If it cannot be read, it is treated as missing: the tick writes it again.
pub fn deliveries<P: Store>(platform: &P) -> Result<Deliveries, StoreError> {
    Ok(platform
        .get(&keys::github_deliveries())?
        .and_then(|kept| serde_json::from_slice(&kept).ok())
        .unwrap_or_default())
}

/// How deliveries arrive, and how far they have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Arrival {
    /// Which way they come.
    pub mode: Webhooks,
    /// When GitHub's list was last read, as a Unix time in seconds. It may have been read up to a minute later with nothing
    /// new in it.
    pub read_at: u64,
    /// When the newest delivery that was dealt with was made, as a Unix time in seconds; null if there was none.
    pub newest_at: Option<u64>,
    /// When one was last handled that was read from the list, as a Unix time in seconds; null if none was.
    pub handled_at: Option<u64>,
    /// About how many of the list wait to be dealt with.
    pub behind: u64,
}

/// An arrival as it is kept, with its key, to be written together with something else.
pub fn encode_reading(arrival: &Arrival) -> Result<(String, Vec<u8>), StoreError> {
    encode(&keys::github_reading(), arrival)
}

/// How deliveries arrive, as the tick last saw it; `None` until GitHub's list was read once. If it cannot be decoded, it is
/// treated as missing: the tick writes it again.
pub fn reading<P: Store>(platform: &P) -> Result<Option<Arrival>, StoreError> {
    Ok(platform.get(&keys::github_reading())?.and_then(|kept| serde_json::from_slice(&kept).ok()))
}
