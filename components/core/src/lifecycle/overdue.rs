//! Launches that the gateway did not take, in a list of their own, so that a webhook can retry one or two of them without
//! walking the journal. All of it is hints: what is lost here is found by the tick.

use gha_slurm_protocol::identity::JobId;

use super::submit::{Destination, Progress, advance};
use super::{Fault, Need};
use crate::ledger::{encode, keys, read, write};
use crate::ports::{Clock, Platform, Store, StoreError};

/// How many entries one webhook looks at.
const LOOK: i64 = 4;
/// How many of them it retries.
const RETRIES: usize = 2;

pub(super) struct Overdue<'a, P>(pub(super) &'a P);

impl<P: Store + Clock> Overdue<'_, P> {
    pub(super) fn append(&self, job: JobId) -> Result<(), StoreError> {
        let number = self.0.increment(&keys::overdue_count(), 1)?;
        self.0.set_many(&[encode(&keys::overdue(number), &job)?, encode(&keys::overdue_last(), &number)?])
    }
}

/// Retries what is due among the longest overdue launches, as far as time allows. Returns whether it got further and
/// there is more.
pub fn retry_overdue<P: Platform>(platform: &P, destination: &Destination) -> Result<bool, Fault> {
    // The one read that this costs while all is well.
    let Some(last) = read::<i64>(platform, &keys::overdue_last())? else { return Ok(false) };
    let low = read::<i64>(platform, &keys::overdue_low())?.unwrap_or(1);
    let mut front = low;
    let mut tried = 0;
    for number in low..=last.min(low + LOOK) {
        if tried >= RETRIES || destination.late(platform) {
            break;
        }
        let entry = keys::overdue(number);
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
        platform.delete(&keys::overdue_last())?;
    }
    if front != low {
        write(platform, &keys::overdue_low(), &front)?;
    }
    Ok(front != low && front <= last)
}
