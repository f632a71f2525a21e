//! Failed deliveries: GitHub never repeats one by itself, so it is asked to.

use std::collections::HashSet;
use std::time::Duration;

use gha_slurm_core::github::client::GitHubError;
use gha_slurm_core::github::credentials::Credentials;
use gha_slurm_core::github::deliveries::DeliveryEntry;
use gha_slurm_core::github::requirements::EVENTS;
use gha_slurm_core::ledger::{Claim, Ledger, keys, read, write};
use gha_slurm_core::lifecycle::Fault;
use gha_slurm_core::ports::Platform;
use gha_slurm_core::text::Text;
use gha_slurm_overview::{Delivery, KEPT_DELIVERIES, keep_deliveries};
use gha_slurm_protocol::secret::Secret;
use serde::{Deserialize, Serialize};

use crate::run::Tick;

/// How often one delivery is repeated.
const MAX_REDELIVERIES: i64 = 3;
/// Well past the deadline of a call: an attempt that is older died.
const LEASE: Duration = Duration::from_secs(60);
/// Listing them at each tick would be a call too many.
const INTERVAL_SECONDS: u64 = 60;

/// How far the list was read, from its newest end to where an earlier reading began.
#[derive(Default, Serialize, Deserialize)]
struct Reading {
    /// Everything up to this delivery was dealt with.
    done: u64,
    /// The newest delivery of the reading under way.
    newest: u64,
    /// Where the reading under way goes on.
    cursor: Option<String>,
    /// Whether the reading under way met one that another replica repeats, or that could not be repeated.
    #[serde(default)]
    open: bool,
    /// When the list was last read, in seconds of Unix time.
    at: u64,
}

/// A delivery as it is kept to be shown.
fn shown(entry: &DeliveryEntry) -> Delivery {
    Delivery {
        guid: entry.guid.clone().try_into().ok(),
        at: entry.at().unwrap_or(0),
        event: Text::of(&entry.event),
        action: entry.action.clone(),
        status: Text::of(&entry.status),
        status_code: entry.status_code,
        redelivery: entry.redelivery,
        job: None,
    }
}

impl<P: Platform> Tick<'_, P> {
    pub(crate) fn redeliver_failed(&mut self) -> Result<(), Fault> {
        let platform = self.platform;
        let key = keys::tick_deliveries();
        // Two replicas may overwrite each other's progress; each failed attempt is repeated once all the same.
        let mut reading = read::<Reading>(platform, &key).ok().flatten().unwrap_or_default();
        let now = platform.unix_seconds();
        if reading.cursor.is_none() && reading.at + INTERVAL_SECONDS > now {
            return Ok(());
        }
        reading.at = now;
        let mut delivered = HashSet::new();
        while !self.late() {
            let credentials = Credentials::new(platform, &self.github);
            let listed =
                credentials.as_app(|jwt| Ok((self.github.deliveries(jwt, reading.cursor.as_deref())?, jwt.clone())));
            let (page, jwt) = match listed {
                Ok(listed) => listed,
                Err(error) => {
                    self.report.problem(error);
                    break;
                }
            };
            if reading.cursor.is_none() {
                keep_deliveries(platform, page.deliveries.iter().take(KEPT_DELIVERIES).map(shown).collect())?;
            }
            let mut reached = page.next.is_none();
            for delivery in &page.deliveries {
                if delivery.id <= reading.done {
                    reached = true;
                    break;
                }
                reading.newest = reading.newest.max(delivery.id);
                if delivery.status == "OK" {
                    delivered.insert(delivery.guid.clone());
                } else if EVENTS.contains(&delivery.event.as_str()) && !delivered.contains(&delivery.guid) {
                    reading.open |= !self.repeat(&jwt, delivery)?;
                }
            }
            if reached {
                // What is open is read again.
                let done = if reading.open { reading.done } else { reading.newest.max(reading.done) };
                reading = Reading { done, at: now, ..Reading::default() };
                break;
            }
            reading.cursor = page.next;
        }
        Ok(write(platform, &key, &reading)?)
    }

    /// Has a failed attempt repeated: by one replica, and not too often for one delivery. Returns whether that is settled.
    fn repeat(&mut self, jwt: &Secret, failed: &DeliveryEntry) -> Result<bool, Fault> {
        let ledger = Ledger(self.platform);
        let (attempt, delivery) = (ledger.delivery(&failed.id.to_string()), ledger.delivery(&failed.guid));
        if attempt.repeated()? {
            return Ok(true);
        }
        let Claim::Won(number) = attempt.repetitions().claim(LEASE)? else { return Ok(false) };
        if attempt.repeated()? {
            return Ok(true);
        }
        attempt.remember()?;
        if delivery.count()? > MAX_REDELIVERIES {
            attempt.record_repeated()?;
            return Ok(true);
        }
        match self.github.redeliver(jwt, failed.id) {
            Ok(()) => self.report.redelivered += 1,
            Err(GitHubError::NotFound(_)) => {}
            Err(error) => {
                attempt.repetitions().record_failed(number, error.kind(), &error.to_string())?;
                self.report.problem(error);
                return Ok(false);
            }
        }
        attempt.record_repeated()?;
        Ok(true)
    }
}
