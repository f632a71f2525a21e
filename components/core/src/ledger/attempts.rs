//! Attempts to do one thing, of which one at a time should be under way.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{encode, keys, read, write};
use crate::github::client::{GitHubError, Reason};
use crate::ports::{Clock, Store, StoreError};

/// Attempts to do one thing, of which one at a time should be under way.
///
/// Attempt `K` belongs to who brings the counter `…/K` to 1. It ends by its `…/K/failed`, or by a lease that begins when
/// somebody else meets it, because whoever crashed writes nothing; then the next attempt is free. A lease spares work, it
/// guarantees nothing: what must happen once needs a claim of its own at the end.
#[derive(Debug)]
pub struct Attempts<'a, P> {
    store: &'a P,
    key: String,
}

/// What came of asking for an attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// The caller makes attempt `K`.
    Won(u64),
    /// Another attempt is under way.
    Held,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its number, from 1.
    pub attempt: u64,
    /// When, in seconds of Unix time.
    pub at: u64,
    /// What kind of failure, for what is decided by it.
    #[serde(default)]
    pub kind: FailureKind,
    /// Why, for people.
    pub why: String,
    /// Why GitHub refused it, where GitHub did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// What kind of failure an attempt ended by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The other side could not be reached, did not answer, or is broken: it passes by itself.
    Away,
    /// The other side does not accept our credential.
    Unauthorized,
    /// The other side says no to what was asked.
    Refused,
    /// None of these, or written by an earlier build.
    #[default]
    #[serde(other)]
    Other,
}

impl<'a, P: Store + Clock> Attempts<'a, P> {
    pub(super) fn new(store: &'a P, key: String) -> Self {
        Self { store, key }
    }

    /// Claims the very first attempt, in one step; false when there was one before. Whoever wins it knows that nobody
    /// ever tried.
    pub fn claim_first(&self) -> Result<bool, StoreError> {
        Ok(self.store.increment(&keys::attempt(&self.key, 1), 1)? == 1)
    }

    /// Whether there was ever one.
    pub fn any(&self) -> Result<bool, StoreError> {
        Ok(self.store.get(&keys::attempt(&self.key, 1))?.is_some())
    }

    /// A step of the store that is worth nothing but the time that it takes.
    pub fn touch_first(&self) -> Result<(), StoreError> {
        self.store.increment(&keys::attempt(&self.key, 1), 0).map(drop)
    }

    /// Claims the next attempt, unless one is under way that was first met less than `lease` ago.
    pub fn claim(&self, lease: Duration) -> Result<Claim, StoreError> {
        let hint = self.next()?;
        let mut attempt = hint;
        loop {
            if self.store.increment(&keys::attempt(&self.key, attempt), 1)? == 1 {
                if attempt > hint {
                    write(self.store, &keys::attempt_next(&self.key), &attempt)?;
                }
                return Ok(Claim::Won(attempt));
            }
            if self.lives(attempt, lease)? {
                return Ok(Claim::Held);
            }
            attempt += 1;
        }
    }

    /// Whether an attempt is under way that was first met less than `lease` ago.
    pub fn under_way(&self, lease: Duration) -> Result<bool, StoreError> {
        let attempt = self.next()?;
        let claimed = self.store.increment(&keys::attempt(&self.key, attempt), 0)? > 0;
        Ok(claimed && self.lives(attempt, lease)?)
    }

    /// Whether a claimed attempt may still be under way; whoever is the first to ask begins its lease.
    fn lives(&self, attempt: u64, lease: Duration) -> Result<bool, StoreError> {
        if self.failure(attempt)?.is_some() {
            return Ok(false);
        }
        let now = self.store.unix_seconds();
        let key = keys::attempt_met(&self.key, attempt);
        match read::<u64>(self.store, &key)? {
            Some(met) => Ok(now.saturating_sub(met) <= lease.as_secs()),
            None => {
                write(self.store, &key, &now)?;
                Ok(true)
            }
        }
    }

    /// Records that an attempt failed, so that the next one is free at once.
    pub fn record_failed(&self, attempt: u64, kind: FailureKind, why: &str) -> Result<(), StoreError> {
        self.write_failed(Failure { attempt, at: self.store.unix_seconds(), kind, why: why.to_owned(), reason: None })
    }

    /// The same of an attempt that GitHub did not let succeed.
    pub fn record_failed_at_github(&self, attempt: u64, error: &GitHubError) -> Result<(), StoreError> {
        let (kind, reason, at) = (error.kind(), error.reason(), self.store.unix_seconds());
        self.write_failed(Failure { attempt, at, kind, why: error.to_string(), reason })
    }

    fn write_failed(&self, failure: Failure) -> Result<(), StoreError> {
        let attempt = failure.attempt;
        self.store.set_many(&[
            encode(&keys::attempt_failed(&self.key, attempt), &failure)?,
            encode(&keys::attempt_next(&self.key), &attempt.saturating_add(1))?,
        ])
    }

    /// Records that an attempt came to nothing and did not fail either, so that the next one is free at once.
    pub fn record_given_up(&self, attempt: u64) -> Result<(), StoreError> {
        write(self.store, &keys::attempt_next(&self.key), &attempt.saturating_add(1))
    }

    /// The last failure, if the last attempt failed.
    pub fn last_failure(&self) -> Result<Option<Failure>, StoreError> {
        self.failure(self.next()?.saturating_sub(1))
    }

    /// Every key that was ever written for these attempts.
    pub(super) fn keys(&self) -> Result<Vec<String>, StoreError> {
        let mut all = vec![keys::attempt_next(&self.key)];
        // What cannot be read is deleted all the same.
        let hint = self.next().unwrap_or(1);
        let mut attempt = 1;
        loop {
            let claim = keys::attempt(&self.key, attempt);
            if attempt > hint && self.store.get(&claim)?.is_none() {
                return Ok(all);
            }
            all.extend([keys::attempt_met(&self.key, attempt), keys::attempt_failed(&self.key, attempt), claim]);
            attempt += 1;
        }
    }

    fn next(&self) -> Result<u64, StoreError> {
        Ok(read::<u64>(self.store, &keys::attempt_next(&self.key))?.unwrap_or(1).max(1))
    }

    /// How an attempt failed, if it did.
    pub fn failure(&self, attempt: u64) -> Result<Option<Failure>, StoreError> {
        read(self.store, &keys::attempt_failed(&self.key, attempt))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::ledger::{Claim, FailureKind, Ledger};
    use crate::ports::Store;
    use crate::testing::Memory;

    const LEASE: Duration = Duration::from_secs(60);

    #[test]
    fn one_attempt_is_under_way_until_it_fails_or_its_lease_ends() {
        let platform = Memory::new();
        let attempts = Ledger(&platform).launch("1-1".parse().unwrap()).submissions();
        assert_eq!(attempts.under_way(LEASE), Ok(false));
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Won(1)));
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Held));
        assert_eq!(attempts.under_way(LEASE), Ok(true));
        attempts.record_failed(1, FailureKind::Away, "gateway down").unwrap();
        assert_eq!(attempts.under_way(LEASE), Ok(false));
        assert_eq!(attempts.last_failure().unwrap().unwrap().why, "gateway down");
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Won(2)));
        assert_eq!(attempts.under_way(LEASE), Ok(true), "the lease begins here");
        platform.seconds.set(platform.seconds.get() + 60);
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Held));
        platform.seconds.set(platform.seconds.get() + 1);
        assert_eq!(attempts.under_way(LEASE), Ok(false));
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Won(3)));
        assert_eq!(attempts.last_failure(), Ok(None), "attempt 2 died, it did not fail");
    }

    #[test]
    fn an_attempt_that_was_given_up_is_no_failure_and_frees_the_next() {
        let platform = Memory::new();
        let attempts = Ledger(&platform).launch("1-1".parse().unwrap()).submissions();
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Won(1)));
        attempts.record_given_up(1).unwrap();
        assert_eq!((attempts.under_way(LEASE), attempts.last_failure()), (Ok(false), Ok(None)));
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Won(2)));
        platform.delete_many(&attempts.keys().unwrap()).unwrap();
        assert_eq!(platform.keys(), Vec::<String>::new());
    }

    #[test]
    fn a_thousand_failures_do_not_make_the_next_attempt_slow() {
        let platform = Memory::new();
        let attempts = Ledger(&platform).launch("1-1".parse().unwrap()).redemptions();
        for attempt in 1..=1000 {
            assert_eq!(attempts.claim(LEASE), Ok(Claim::Won(attempt)));
            attempts.record_failed(attempt, FailureKind::Away, "GitHub is down").unwrap();
        }
        let before = platform.operations.get();
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Won(1001)));
        assert!(platform.operations.get() - before < 10);
    }

    #[test]
    fn its_keys_are_found_again() {
        let platform = Memory::new();
        let attempts = Ledger(&platform).launch("1-1".parse().unwrap()).submissions();
        for attempt in 1..=3 {
            assert_eq!(attempts.claim(LEASE), Ok(Claim::Won(attempt)));
            attempts.record_failed(attempt, FailureKind::Refused, "no").unwrap();
        }
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Won(4)));
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Held));
        platform.delete_many(&attempts.keys().unwrap()).unwrap();
        assert_eq!(platform.keys(), Vec::<String>::new());
    }
}
