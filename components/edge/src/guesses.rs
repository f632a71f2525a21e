//! The one limiter for every check of a secret: how many wrong ones within a minute, over all replicas.
//!
//! Wrong secrets are counted in lanes: strangers by their address, a browser that logged in before by its own name, and
//! an address that a right secret came from by itself. So strangers keep nobody out who was here before, and one
//! who guesses from many addresses uses up the lanes of strangers alone. There is a fixed number of lanes, so the
//! store never holds more than a few thousand small keys for this, whatever comes.
//!
//! A long secret cannot be guessed, however many are tried. So a right one is always let in: whoever sends wrong ones keeps
//! nobody out, from whatever address. A short one is let in only after few wrong ones, and a stranger's is counted
//! before anybody is told whether it is right, so that many at once are no more than the limit. A right secret from where one came
//! before costs one read.

use gha_slurm_core::audit::{Door, Record, record};
use gha_slurm_core::ledger::{keys, read, write};
use gha_slurm_core::ports::{Audit, Clock, Store, StoreError};
use gha_slurm_protocol::secret::Secret;
use serde::{Deserialize, Serialize};

use crate::client::Client;

const WINDOW_SECONDS: u64 = 60;
/// By how much the replicas' clocks may differ.
const CLOCK_TOLERANCE_SECONDS: u64 = 120;
/// What `openssl rand -hex 16` makes has as many characters.
const LONG_CHARACTERS: usize = 32;
/// How often it is noted again that a right secret came from an address.
const SEEN_AGAIN_SECONDS: u64 = 24 * 60 * 60;
/// How long that counts.
const SEEN_SECONDS: u64 = 30 * 24 * 60 * 60;

/// Who gives a secret, and so how many wrong ones a minute are borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Giver {
    /// A person, who types it.
    Person,
    /// A program, which repeats one that was mistyped once.
    Program,
}

impl Giver {
    fn limit(self) -> i64 {
        match self {
            Self::Person => 5,
            Self::Program => 10,
        }
    }
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// It is right.
    Right,
    /// It is wrong.
    Wrong,
    /// Too many wrong ones: it was not looked at, or was one too many.
    Limited {
        /// When to come back.
        seconds: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct Seen {
    digest: [u8; 8],
    at: u64,
}

/// A lane where wrong secrets are counted.
#[derive(Clone, Copy)]
struct Lane {
    who: &'static str,
    number: u8,
}

/// The guesses of one client.
#[derive(Debug)]
pub struct Guesses<'a, P> {
    store: &'a P,
    client: Client,
    door: Door,
}

impl<'a, P: Store + Clock + Audit> Guesses<'a, P> {
    /// Those of this client at this door.
    pub fn of(store: &'a P, client: Client, door: Door) -> Self {
        Self { store, client, door }
    }

    /// Compares what was given with the secrets that are right, in constant time, unless too many wrong ones came before.
    /// What it refuses is in the audit log. `browser` is the lane of a browser that proved that it logged in before.
    pub fn check(
        &self,
        giver: Giver,
        browser: Option<u8>,
        secrets: &[&Secret],
        given: &str,
    ) -> Result<Checked, StoreError> {
        let checked = self.compare(giver, browser, secrets, given)?;
        if checked != Checked::Right {
            let limited = matches!(checked, Checked::Limited { .. });
            record(self.store, &Record::Refused { door: self.door, client: &self.client.to_string(), limited });
        }
        Ok(checked)
    }

    fn compare(
        &self,
        giver: Giver,
        browser: Option<u8>,
        secrets: &[&Secret],
        given: &str,
    ) -> Result<Checked, StoreError> {
        let now = self.store.unix_seconds();
        let digest = self.client.digest();
        let [number, ..] = digest;
        let (stranger, client) = (Lane { who: "stranger", number }, Lane { who: "client", number });
        let wanted = match browser {
            Some(number) => vec![Lane { who: "browser", number }.closed()],
            None => vec![stranger.closed(), client.closed(), keys::login_seen(number)],
        };
        // A hint that cannot be read is none.
        let found = self.store.get_many(&wanted)?;
        let number_at = |at: usize| serde_json::from_slice::<u64>(found.get(at)?.as_deref()?).ok();
        let seen = found.get(2).and_then(|seen| serde_json::from_slice::<Seen>(seen.as_deref()?).ok());
        let seen = seen.filter(|seen| seen.digest == digest && now < seen.at.saturating_add(SEEN_SECONDS));
        let (lane, closed) = match (browser, &seen) {
            (Some(number), _) => (Lane { who: "browser", number }, number_at(0)),
            (None, Some(_)) => (client, number_at(1)),
            (None, None) => (stranger, number_at(0)),
        };
        // What a clock that was far ahead wrote counts for nothing.
        let closed = closed.filter(|until| *until <= now.saturating_add(WINDOW_SECONDS + CLOCK_TOLERANCE_SECONDS));
        let wait = closed.unwrap_or(0).saturating_sub(now);
        // Each is compared, whichever is right.
        let right = secrets.iter().fold(None, |right, secret| if secret.matches(given) { Some(secret) } else { right });
        let note = || {
            let recent = seen.as_ref().is_some_and(|seen| now < seen.at.saturating_add(SEEN_AGAIN_SECONDS));
            if browser.is_none() && !recent {
                // A hint: a store that cannot be written keeps nobody out.
                let _ = write(self.store, &keys::login_seen(number), &Seen { digest, at: now });
            }
            Ok(Checked::Right)
        };
        if right.is_some_and(|secret| secret.expose().len() >= LONG_CHARACTERS) {
            return note();
        }
        if wait > 0 {
            return Ok(Checked::Limited { seconds: wait.min(WINDOW_SECONDS) });
        }
        let is_stranger = browser.is_none() && seen.is_none();
        if is_stranger {
            let counted = self.count(lane, giver.limit(), now)?;
            return if right.is_some() && counted == Checked::Wrong { note() } else { Ok(counted) };
        }
        if right.is_some() { note() } else { self.count(lane, giver.limit(), now) }
    }

    /// Counts a wrong secret, or one that may be.
    fn count(&self, lane: Lane, limit: i64, now: u64) -> Result<Checked, StoreError> {
        let (window_key, counter) = (lane.window(), lane.wrong());
        let window = now / WINDOW_SECONDS;
        let counted = read::<u64>(self.store, &window_key).ok().flatten().unwrap_or(0);
        // Only forward, as long as clocks may differ: a replica whose clock is behind counts with the others.
        if window > counted || counted > window + CLOCK_TOLERANCE_SECONDS.div_ceil(WINDOW_SECONDS) {
            self.store.delete(&counter)?;
            write(self.store, &window_key, &window)?;
        }
        let wrong = self.store.increment(&counter, 1)?;
        if wrong < limit {
            return Ok(Checked::Wrong);
        }
        let ends = window.saturating_add(1).saturating_mul(WINDOW_SECONDS);
        write(self.store, &lane.closed(), &ends)?;
        let seconds = ends.saturating_sub(now).clamp(1, WINDOW_SECONDS);
        Ok(if wrong > limit { Checked::Limited { seconds } } else { Checked::Wrong })
    }
}

impl Lane {
    fn window(self) -> String {
        keys::login_window(self.who, self.number)
    }

    fn wrong(self) -> String {
        keys::login_wrong(self.who, self.number)
    }

    fn closed(self) -> String {
        keys::login_closed(self.who, self.number)
    }
}

#[cfg(test)]
mod tests;
