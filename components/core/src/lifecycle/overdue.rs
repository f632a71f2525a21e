//! Launches that the gateway did not take, in a list of their own, so that they are retried without walking the journal: a
//! few by each webhook, all that are due by the tick. All of it is hints: what is lost here is found by the tick.
//!
//! Each entry stands with the time when it is due, so that many are looked at for the price of one, and none of them,
//! however long it stays, keeps those behind it from their turn.

use gha_slurm_protocol::identity::JobId;
use serde::de::DeserializeOwned;

use super::pace::Pace;
use super::progress::{Delay, Patience, Progress, retry_at};
use super::submit::{Destination, advance_all};
use super::{Fault, Need};
use crate::ledger::{encode, keys, read, write};
use crate::ports::{Clock, Platform, Store, StoreError};

/// How many entries are read in one step.
const WINDOW: i64 = 64;
/// How many of them one webhook retries, all at once.
const OF_A_WEBHOOK: usize = 4;
/// When an entry is looked at again that somebody else deals with at this moment, or that waits for something else.
const SOON_SECONDS: u64 = 60;
/// The same for one whose facts cannot be read.
const BROKEN_SECONDS: u64 = 10 * 60;

pub(super) struct Overdue<'a, P>(pub(super) &'a P);

/// What became of an entry.
enum Fate {
    /// There is nothing to retry any more.
    Gone,
    /// It stays as it is.
    Stays,
    /// It stays, and is due then.
    Due(u64),
}

impl<P: Store + Clock> Overdue<'_, P> {
    pub(super) fn append(&self, job: JobId, due: u64) -> Result<(), StoreError> {
        let number = self.0.increment(&keys::overdue_count(), 1)?;
        self.0.set_many(&[
            encode(&keys::overdue(number), &job)?,
            encode(&keys::overdue_due(number), &due)?,
            encode(&keys::overdue_last(), &number)?,
        ])
    }

    /// The first and the last entry; `None` while the list is empty, which costs one read.
    fn ends(&self) -> Result<Option<(i64, i64)>, StoreError> {
        let Some(last) = read::<i64>(self.0, &keys::overdue_last())? else { return Ok(None) };
        Ok(Some((read::<i64>(self.0, &keys::overdue_low())?.unwrap_or(1), last)))
    }
}

/// Retries a few of what is due, as far as a webhook has the time.
pub fn retry_overdue<P: Platform>(platform: &P, destination: &Destination) -> Result<(), Fault> {
    let Some((low, last)) = Overdue(platform).ends()? else { return Ok(()) };
    if destination.late(platform) {
        return Ok(());
    }
    // A list that is longer than one look is gone round.
    let place = if last - low < WINDOW { None } else { read::<i64>(platform, &keys::overdue_place())? };
    let from = place.filter(|place| (low..=last).contains(place)).unwrap_or(low);
    let window = Window { low, last, from, most: OF_A_WEBHOOK, patience: Patience::Due };
    window.retry(platform, destination, &mut Pace::of_a_webhook())?;
    if last - low >= WINDOW {
        write(platform, &keys::overdue_place(), &(from + WINDOW))?;
    }
    Ok(())
}

/// Retries all that is due, as fast as the gateway takes it; when it takes some, also what waits only because the gateway
/// was away. Returns how many were launched.
pub fn retry_all_overdue<P: Platform>(platform: &P, destination: &Destination, pace: &mut Pace) -> Result<u64, Fault> {
    let mut launched = 0;
    for patience in [Patience::Due, Patience::GatewayIsBack] {
        let Some((low, last)) = Overdue(platform).ends()? else { break };
        let mut from = low;
        while from <= last && !destination.late(platform) && !pace.all_stopped(&destination.clusters) {
            let low = read::<i64>(platform, &keys::overdue_low())?.unwrap_or(1);
            let window = Window { low, last, from, most: usize::MAX, patience };
            launched += window.retry(platform, destination, pace)?;
            from += WINDOW;
        }
        if launched == 0 {
            break;
        }
    }
    Ok(launched)
}

/// A look at some entries of the list.
struct Window {
    low: i64,
    last: i64,
    from: i64,
    most: usize,
    patience: Patience,
}

impl Window {
    fn retry<P: Platform>(&self, platform: &P, destination: &Destination, pace: &mut Pace) -> Result<u64, Fault> {
        let now = platform.unix_seconds();
        let numbers: Vec<i64> = (self.from..=self.last.min(self.from + WINDOW - 1)).collect();
        let jobs: Vec<Option<JobId>> = look(platform, &numbers, keys::overdue)?;
        let dues: Vec<Option<u64>> = look(platform, &numbers, keys::overdue_due)?;
        let mut fates = Vec::with_capacity(numbers.len());
        let (mut wanted, mut of) = (Vec::new(), Vec::new());
        for (index, (job, due)) in jobs.into_iter().zip(dues).enumerate() {
            let waits = self.patience == Patience::Due && due.is_some_and(|due| due > now);
            fates.push(match job {
                None => Fate::Gone,
                Some(_) if waits || wanted.len() >= self.most => Fate::Stays,
                Some(job) => match Need(platform).waiting(job) {
                    Ok(Some(requested)) => {
                        wanted.push((job, requested));
                        of.push(index);
                        Fate::Stays
                    }
                    Ok(None) => Fate::Gone,
                    Err(_) => Fate::Due(now + BROKEN_SECONDS),
                },
            });
        }
        let mut launched = 0;
        let results = advance_all(platform, destination, &wanted, self.patience, pace);
        for (index, result) in of.into_iter().zip(results) {
            launched += u64::from(matches!(result, Ok(Progress::Launched(_))));
            if let Some(place) = fates.get_mut(index) {
                *place = fate(result, now);
            }
        }
        self.note(platform, &numbers, &fates)?;
        Ok(launched)
    }

    fn note(&self, store: &impl Store, numbers: &[i64], fates: &[Fate]) -> Result<(), StoreError> {
        let (mut gone, mut news) = (Vec::new(), Vec::new());
        for (number, fate) in numbers.iter().zip(fates) {
            match fate {
                Fate::Gone => gone.extend([keys::overdue(*number), keys::overdue_due(*number)]),
                Fate::Stays => {}
                Fate::Due(at) => news.push(encode(&keys::overdue_due(*number), at)?),
            }
        }
        let stays = fates.iter().position(|fate| !matches!(fate, Fate::Gone));
        let front = match stays.and_then(|index| numbers.get(index)) {
            Some(front) => *front,
            None => numbers.last().map_or(self.from, |last| last + 1),
        };
        let moved = self.from <= self.low && front > self.low;
        if moved {
            news.push(encode(&keys::overdue_low(), &front)?);
        }
        if !gone.is_empty() {
            store.delete_many(&gone)?;
        }
        if !news.is_empty() {
            store.set_many(&news)?;
        }
        if moved && front > self.last {
            store.delete_many(&[keys::overdue_last(), keys::overdue_place()])?;
        }
        Ok(())
    }
}

fn fate(result: Result<Progress, Fault>, now: u64) -> Fate {
    match result {
        // What is offered and then refused is appended again.
        Ok(Progress::Launched(_) | Progress::Offered(..) | Progress::LaunchedBefore(_) | Progress::GivenUp) => {
            Fate::Gone
        }
        Ok(Progress::Deferred(id, Delay::Failed(failure)) | Progress::Refused(id, failure)) => {
            Fate::Due(retry_at(id, &failure))
        }
        Ok(Progress::Deferred(_, Delay::OutOfTime)) => Fate::Stays,
        Ok(
            Progress::Deferred(_, Delay::Stopped(_) | Delay::NoCluster(_) | Delay::Elsewhere)
            | Progress::UnderWay(_)
            | Progress::InLine(_)
            | Progress::Unconfirmed,
        ) => Fate::Due(now + SOON_SECONDS),
        Err(_) => Fate::Due(now + BROKEN_SECONDS),
    }
}

/// The values of some entries; what cannot be read counts as absent, as hints may.
fn look<T: DeserializeOwned>(
    store: &impl Store,
    numbers: &[i64],
    key: fn(i64) -> String,
) -> Result<Vec<Option<T>>, StoreError> {
    let keys: Vec<String> = numbers.iter().map(|number| key(*number)).collect();
    Ok(store.get_many(&keys)?.into_iter().map(|value| serde_json::from_slice(&value?).ok()).collect())
}
