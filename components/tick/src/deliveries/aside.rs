//! Deliveries that could not be handled, and are tried again beside the others.
//!
//! What GitHub lists and does not show is tried a few times and given up. Where something else fails, GitHub, the store or
//! the profile of the job, that says nothing of the delivery: it is tried until it is as old as what is not read at all.

use gha_slurm_core::github::deliveries::DeliveryEntry;
use serde::{Deserialize, Serialize};

use super::OLDEST_SECONDS;

/// So many are kept. Tried every ten minutes, they take half of the calls that an hour has for deliveries.
const MOST: usize = 400;
/// When one is tried again, in seconds after the last time. Then it is given up.
const AGAIN_SECONDS: [u64; 4] = [10, 60, 600, 3600];
/// The same where the delivery is not to blame, and then again and again.
const WAIT_SECONDS: [u64; 2] = [60, 600];

/// Those that wait to be tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Asides(Vec<Aside>);

/// One that could not be handled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Aside {
    pub(super) id: u64,
    pub(super) guid: String,
    /// When it was made, in seconds of Unix time.
    at: u64,
    /// When it is tried again.
    due: u64,
    /// How often GitHub did not show it.
    tries: usize,
    /// How often something else failed.
    waits: usize,
}

/// Why one could not be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// GitHub does not show it.
    Delivery,
    /// It is not to blame.
    Other,
}

impl Aside {
    pub(super) fn of(entry: &DeliveryEntry, now: u64) -> Self {
        let [first, ..] = AGAIN_SECONDS;
        // GitHub's clock may be ahead.
        let at = entry.at().unwrap_or(now).min(now);
        let (id, guid, due) = (entry.id, entry.guid.clone(), now.saturating_add(first));
        Self { id, guid, at, due, tries: 0, waits: 0 }
    }

    /// When it is tried once more, in seconds from now; `None` if it is given up.
    fn again(&mut self, now: u64, blame: Blame) -> Option<u64> {
        match blame {
            Blame::Delivery => {
                self.tries += 1;
                AGAIN_SECONDS.get(self.tries).copied()
            }
            Blame::Other => {
                let wait = WAIT_SECONDS.get(self.waits).or(WAIT_SECONDS.last()).copied();
                self.waits += 1;
                wait.filter(|_| self.at.saturating_add(OLDEST_SECONDS) > now)
            }
        }
    }
}

impl Asides {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    pub(super) fn has(&self, id: u64) -> bool {
        self.0.iter().any(|aside| aside.id == id)
    }

    /// Puts one aside; whether there was room.
    pub(super) fn put(&mut self, aside: Aside) -> bool {
        let room = !self.is_full();
        if room {
            self.0.push(aside);
        }
        room
    }

    /// Takes over what others put aside, however many they are.
    pub(super) fn take_over(&mut self, others: Self) {
        let new: Vec<Aside> = others.0.into_iter().filter(|other| !self.has(other.id)).collect();
        self.0.extend(new);
    }

    /// What is due, so many at most.
    pub(super) fn due(&self, now: u64, most: usize) -> Vec<Aside> {
        self.0.iter().filter(|aside| aside.due <= now).take(most).cloned().collect()
    }

    /// One was handled, or never can be.
    pub(super) fn settle(&mut self, id: u64) {
        self.0.retain(|aside| aside.id != id);
    }

    /// One could not be handled again; whether it is given up.
    pub(super) fn retry(&mut self, id: u64, now: u64, blame: Blame) -> bool {
        let Some(aside) = self.0.iter_mut().find(|aside| aside.id == id) else { return false };
        let Some(seconds) = aside.again(now, blame) else {
            self.settle(id);
            return true;
        };
        aside.due = now.saturating_add(seconds);
        false
    }
}
