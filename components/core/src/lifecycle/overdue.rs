//! Launches that the gateway did not take, in a list of their own, so that a webhook can retry one or two of them without
//! walking the journal. All of it is hints: what is lost here is found by the tick.

use super::submit::{Destination, Progress, advance};
use super::{Fault, Need};
use crate::ledger::{PREFIX, encode, read, write};
use crate::ports::{Clock, Platform, Store, StoreError};
use gha_slurm_protocol::identity::JobId;

/// How many entries one webhook looks at.
const LOOK: i64 = 4;
/// How many of them it retries.
const RETRIES: usize = 2;

pub(super) struct Overdue<'a, P>(pub(super) &'a P);

impl<P: Store + Clock> Overdue<'_, P> {
    pub(super) fn append(&self, job: JobId) -> Result<(), StoreError> {
        let number = self.0.increment(&key("count"), 1)?;
        self.0.set_many(&[encode(&key(&number.to_string()), &job)?, encode(&key("last"), &number)?])
    }
}

/// Retries what is due among the longest overdue launches, as far as time allows. Returns whether it got further and
/// there is more.
pub fn retry_overdue<P: Platform>(platform: &P, destination: &Destination) -> Result<bool, Fault> {
    // The one read that this costs while all is well.
    let Some(last) = read::<i64>(platform, &key("last"))? else { return Ok(false) };
    let low = read::<i64>(platform, &key("low"))?.unwrap_or(1);
    let mut front = low;
    let mut tried = 0;
    for number in low..=last.min(low + LOOK) {
        if tried >= RETRIES || destination.late(platform) {
            break;
        }
        let entry = key(&number.to_string());
        let done = match read::<JobId>(platform, &entry)? {
            Some(job) => match Need(platform).waiting(job)? {
                Some(requested) => match advance(platform, destination, job, &requested, true)? {
                    Progress::Launched(_) => {
                        tried += 1;
                        true
                    }
                    Progress::LaunchedBefore(_) | Progress::GivenUp => true,
                    _ => false,
                },
                None => true,
            },
            None => true,
        };
        if done {
            platform.delete(&entry)?;
            if number == front {
                front = number + 1;
            }
        }
    }
    if front > last {
        platform.delete(&key("last"))?;
    }
    if front != low {
        write(platform, &key("low"), &front)?;
    }
    Ok(front != low && front <= last)
}

fn key(name: &str) -> String {
    format!("{PREFIX}/overdue/{name}")
}
