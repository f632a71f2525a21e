//! Failed deliveries: GitHub never repeats one by itself, so it is asked to.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::Tick;
use crate::github::client::GitHubError;
use crate::github::credentials::Credentials;
use crate::ledger::{Entry, Ledger, PREFIX, read, write};
use crate::lifecycle::Fault;
use crate::ports::Platform;

/// How often one delivery is repeated.
const MAX_REDELIVERIES: i64 = 3;
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
    /// When the list was last read, in seconds of Unix time.
    at: u64,
}

impl<P: Platform> Tick<'_, P> {
    pub(super) fn redeliver_failed(&mut self) -> Result<(), Fault> {
        let platform = self.platform;
        let key = format!("{PREFIX}/tick/deliveries");
        // Two replicas may overwrite each other's progress; each failed attempt is repeated once all the same.
        let mut reading = read::<Reading>(platform, &key).ok().flatten().unwrap_or_default();
        let now = platform.unix_seconds();
        if reading.cursor.is_none() && reading.at + INTERVAL_SECONDS > now {
            return Ok(());
        }
        reading.at = now;
        let mut delivered = HashSet::new();
        loop {
            if self.late() {
                break;
            }
            let credentials = Credentials::new(platform, &self.github);
            let listed = credentials
                .app_jwt()
                .and_then(|jwt| Ok((self.github.deliveries(&jwt, reading.cursor.as_deref())?, jwt)));
            let (page, jwt) = match listed {
                Ok(listed) => listed,
                Err(error) => {
                    self.report.problem(error);
                    break;
                }
            };
            let mut reached = page.next.is_none();
            for delivery in &page.deliveries {
                if delivery.id <= reading.done {
                    reached = true;
                    break;
                }
                reading.newest = reading.newest.max(delivery.id);
                if delivery.status == "OK" {
                    delivered.insert(delivery.guid.clone());
                } else if delivery.event == "workflow_job"
                    && !delivered.contains(&delivery.guid)
                    && self.may_repeat(delivery.id, &delivery.guid)?
                {
                    match self.github.redeliver(&jwt, delivery.id) {
                        Ok(()) => self.report.redelivered += 1,
                        Err(GitHubError::NotFound(_)) => {}
                        Err(error) => self.report.problem(error),
                    }
                }
            }
            if reached {
                reading = Reading { done: reading.newest.max(reading.done), at: now, ..Reading::default() };
                break;
            }
            reading.cursor = page.next;
        }
        Ok(write(platform, &key, &reading)?)
    }

    /// Whether this failed attempt is to be repeated: by one replica, and not too often for one delivery.
    fn may_repeat(&self, id: u64, guid: &str) -> Result<bool, Fault> {
        if self.platform.increment(&claim_key(&id.to_string()), 1)? != 1 {
            return Ok(false);
        }
        let journal = Ledger(self.platform).journal();
        journal.append(Entry::Delivery(id.to_string()), Vec::new())?;
        let times = self.platform.increment(&claim_key(guid), 1)?;
        if times == 1 {
            journal.append(Entry::Delivery(guid.to_owned()), Vec::new())?;
        }
        Ok(times <= MAX_REDELIVERIES)
    }
}

/// The counter of a delivery's attempt, by its id, or of all its attempts, by their guid.
pub(super) fn claim_key(name: &str) -> String {
    format!("{PREFIX}/delivery/{name}")
}
