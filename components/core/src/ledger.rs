//! What the store knows of jobs and launches, and under which keys: the one place where the key schema stands.
//!
//! A *fact* is a value that is written once under a key of its own; a job's state is derived from its facts, so events
//! may come late, twice or in any order on any replica. A *claim* is a counter: who brings it to 1 may act.
//!
//! Schema, version 1. `J` is a job's id, `L` a launch's (`J-1`, `J-2`, …), `K` counts attempts from 1.
//!
//! | key | kind | meaning |
//! |---|---|---|
//! | `gha-slurm/1/job/J/requested` | fact | [`Requested`]: all that a launch needs |
//! | `gha-slurm/1/job/J/started` | fact | [`Started`]: a runner took the job |
//! | `gha-slurm/1/job/J/finished` | fact | [`Finished`]: the job has a conclusion |
//! | `gha-slurm/1/launch/L/submit/…` | [`Attempts`] | to submit the launch at the gateway |
//! | `gha-slurm/1/launch/L/launched` | fact | [`Launched`]: the gateway took it |
//! | `gha-slurm/1/launch/L/redeem/…` | [`Attempts`] | to get a credential from GitHub |
//! | `gha-slurm/1/launch/L/commit` | claim | who wins it hands out the credential |
//! | `gha-slurm/1/launch/L/redeemed` | fact | [`Redeemed`]: the credential was handed out |
//! | `gha-slurm/1/key/…` | values | keys of launch tokens ([`crate::launch_token`]) |
//! | `gha-slurm/1/cache/…` | values | GitHub's tokens until they expire ([`crate::github::credentials`]) |

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::identity::{InstallationId, JobId, LaunchId, RepositoryId, RepositoryName};
use crate::labels::LabelSet;
use crate::ports::{Clock, Store, StoreError};
use crate::resources::Resources;

/// First part of every key: the store may be shared with other applications.
pub(crate) const PREFIX: &str = "gha-slurm/1";

/// A job of ours was queued. Everything that a launch needs is here, so that whoever submits needs nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// The repository's id.
    pub repository_id: RepositoryId,
    /// The repository's name.
    pub repository: RepositoryName,
    /// Its page, which is how the gateway's mapping names it.
    pub html_url: Url,
    /// The App's installation, if the webhook named one.
    pub installation: Option<InstallationId>,
    /// The job's labels.
    pub labels: LabelSet,
    /// The workflow run's attempt.
    pub run_attempt: u64,
    /// The profile that took it.
    pub profile: String,
    /// What it asks of Slurm.
    pub resources: Resources,
    /// When, in seconds of Unix time.
    pub at: u64,
}

/// A runner took the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The runner's name, if GitHub told it.
    pub runner_name: Option<String>,
    /// When, in seconds of Unix time.
    pub at: u64,
}

/// The job came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// GitHub's word, such as `success` or `cancelled`.
    pub conclusion: Option<String>,
    /// When, in seconds of Unix time.
    pub at: u64,
}

/// The gateway took the launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launched {
    /// The Slurm job's id, when the gateway tells it.
    pub slurm_job: Option<String>,
    /// When, in seconds of Unix time.
    pub at: u64,
}

/// The launch token was exchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redeemed {
    /// When, in seconds of Unix time.
    pub at: u64,
}

/// The facts in a platform's store.
#[derive(Debug)]
pub struct Ledger<'a, P>(pub &'a P);

impl<'a, P: Store + Clock> Ledger<'a, P> {
    /// What is known about a job.
    pub fn job(&self, job: JobId) -> JobFacts<'a, P> {
        JobFacts { store: self.0, key: format!("{PREFIX}/job/{job}") }
    }

    /// What is known about a launch.
    pub fn launch(&self, launch: LaunchId) -> LaunchFacts<'a, P> {
        LaunchFacts { store: self.0, key: format!("{PREFIX}/launch/{launch}") }
    }
}

/// Facts of one job.
#[derive(Debug)]
pub struct JobFacts<'a, P> {
    store: &'a P,
    key: String,
}

impl<P: Store + Clock> JobFacts<'_, P> {
    /// Records that it was queued.
    pub fn record_requested(&self, fact: &Requested) -> Result<(), StoreError> {
        write(self.store, &format!("{}/requested", self.key), fact)
    }

    /// The request, if there was one.
    pub fn requested(&self) -> Result<Option<Requested>, StoreError> {
        read(self.store, &format!("{}/requested", self.key))
    }

    /// Records that a runner took it.
    pub fn record_started(&self, runner_name: Option<String>) -> Result<(), StoreError> {
        let fact = Started { runner_name, at: self.store.unix_seconds() };
        write(self.store, &format!("{}/started", self.key), &fact)
    }

    /// Who took it, if anyone.
    pub fn started(&self) -> Result<Option<Started>, StoreError> {
        read(self.store, &format!("{}/started", self.key))
    }

    /// Records that it came to its end.
    pub fn record_finished(&self, conclusion: Option<String>) -> Result<(), StoreError> {
        let fact = Finished { conclusion, at: self.store.unix_seconds() };
        write(self.store, &format!("{}/finished", self.key), &fact)
    }

    /// Its end, if it came.
    pub fn finished(&self) -> Result<Option<Finished>, StoreError> {
        read(self.store, &format!("{}/finished", self.key))
    }
}

/// Facts and claims of one launch.
#[derive(Debug)]
pub struct LaunchFacts<'a, P> {
    store: &'a P,
    key: String,
}

impl<'a, P: Store + Clock> LaunchFacts<'a, P> {
    /// Attempts to submit it. A retry keeps the launch: when the gateway took an earlier attempt and its answer was
    /// lost, a gateway that knows the launch does not start a second Slurm job.
    pub fn submissions(&self) -> Attempts<'a, P> {
        Attempts { store: self.store, key: format!("{}/submit", self.key) }
    }

    /// Records that the gateway took it.
    pub fn record_launched(&self, slurm_job: Option<String>) -> Result<(), StoreError> {
        let fact = Launched { slurm_job, at: self.store.unix_seconds() };
        write(self.store, &format!("{}/launched", self.key), &fact)
    }

    /// Whether the gateway took it.
    pub fn launched(&self) -> Result<Option<Launched>, StoreError> {
        read(self.store, &format!("{}/launched", self.key))
    }

    /// Attempts to get a credential for it.
    pub fn redemptions(&self) -> Attempts<'a, P> {
        Attempts { store: self.store, key: format!("{}/redeem", self.key) }
    }

    /// Takes the right to hand out the launch's one credential; true for exactly one caller, ever.
    pub fn commit_redemption(&self) -> Result<bool, StoreError> {
        Ok(self.store.increment(&format!("{}/commit", self.key), 1)? == 1)
    }

    /// Records that the credential was handed out.
    pub fn record_redeemed(&self) -> Result<(), StoreError> {
        write(self.store, &format!("{}/redeemed", self.key), &Redeemed { at: self.store.unix_seconds() })
    }

    /// Whether the credential was handed out.
    pub fn redeemed(&self) -> Result<Option<Redeemed>, StoreError> {
        read(self.store, &format!("{}/redeemed", self.key))
    }
}

/// Attempts to do one thing, of which one at a time should be under way.
///
/// Attempt `K` belongs to who brings the counter `…/K` to 1. It ends by its `…/K/failed`, or by its lease, because
/// whoever crashed writes nothing; then the next attempt is free. A lease spares work, it guarantees nothing: what must
/// happen once needs a claim of its own at the end.
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

#[derive(Serialize, Deserialize)]
struct Mark {
    at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl<P: Store + Clock> Attempts<'_, P> {
    /// Claims the next attempt, unless one is under way that began less than `lease` ago.
    pub fn claim(&self, lease: Duration) -> Result<Claim, StoreError> {
        // Where to begin to look. Two writers may set it back, which costs some steps and nothing else.
        let hint_key = format!("{}/next", self.key);
        let mut attempt = read::<u64>(self.store, &hint_key)?.unwrap_or(1).max(1);
        loop {
            let key = format!("{}/{attempt}", self.key);
            if self.store.increment(&key, 1)? == 1 {
                self.mark(&format!("{key}/leased"), None)?;
                if attempt > 1 {
                    write(self.store, &hint_key, &attempt)?;
                }
                return Ok(Claim::Won(attempt));
            }
            if read::<Mark>(self.store, &format!("{key}/failed"))?.is_none() {
                match read::<Mark>(self.store, &format!("{key}/leased"))? {
                    Some(mark) if self.store.unix_seconds().saturating_sub(mark.at) > lease.as_secs() => {}
                    Some(_) => return Ok(Claim::Held),
                    // The owner is between its claim and its lease, or died there: the lease runs from now.
                    None => {
                        self.mark(&format!("{key}/leased"), None)?;
                        return Ok(Claim::Held);
                    }
                }
            }
            attempt += 1;
        }
    }

    /// Records that an attempt failed, so that the next one is free at once.
    pub fn record_failed(&self, attempt: u64, why: &str) -> Result<(), StoreError> {
        self.mark(&format!("{}/{attempt}/failed", self.key), Some(why.to_owned()))
    }

    fn mark(&self, key: &str, why: Option<String>) -> Result<(), StoreError> {
        write(self.store, key, &Mark { at: self.store.unix_seconds(), why })
    }
}

pub(crate) fn write(store: &impl Store, key: &str, value: &impl Serialize) -> Result<(), StoreError> {
    let bytes = serde_json::to_vec(value).map_err(|error| StoreError(format!("{key}: {error}")))?;
    store.set(key, &bytes)
}

pub(crate) fn read<T: DeserializeOwned>(store: &impl Store, key: &str) -> Result<Option<T>, StoreError> {
    let Some(bytes) = store.get(key)? else { return Ok(None) };
    // Not what this version writes: told apart from absence, because a fact that counts as absent is acted upon.
    serde_json::from_slice(&bytes).map(Some).map_err(|error| StoreError(format!("{key} is unreadable: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    const LEASE: Duration = Duration::from_secs(60);

    #[test]
    fn one_attempt_is_under_way_until_it_fails_or_its_lease_ends() {
        let platform = Memory::new();
        let attempts = Ledger(&platform).launch("1-1".parse().unwrap()).submissions();
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Won(1)));
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Held));
        attempts.record_failed(1, "gateway down").unwrap();
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Won(2)));
        platform.seconds.set(platform.seconds.get() + 60);
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Held));
        platform.seconds.set(platform.seconds.get() + 1);
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Won(3)));
    }

    #[test]
    fn an_owner_that_died_before_its_lease_blocks_for_one_lease_only() {
        let platform = Memory::new();
        let attempts = Ledger(&platform).launch("1-1".parse().unwrap()).redemptions();
        platform.increment("gha-slurm/1/launch/1-1/redeem/1", 1).unwrap();
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Held));
        platform.seconds.set(platform.seconds.get() + 61);
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Won(2)));
    }

    #[test]
    fn a_thousand_failures_do_not_make_the_next_attempt_slow() {
        let platform = Memory::new();
        let attempts = Ledger(&platform).launch("1-1".parse().unwrap()).redemptions();
        for attempt in 1..=1000 {
            assert_eq!(attempts.claim(LEASE), Ok(Claim::Won(attempt)));
            attempts.record_failed(attempt, "GitHub is down").unwrap();
        }
        let before = platform.operations.get();
        assert_eq!(attempts.claim(LEASE), Ok(Claim::Won(1001)));
        assert!(platform.operations.get() - before < 10);
    }

    #[test]
    fn an_unreadable_fact_is_an_error_and_not_absent() {
        let platform = Memory::new();
        platform.set("gha-slurm/1/job/1/finished", b"?").unwrap();
        assert!(Ledger(&platform).job(JobId(1)).finished().is_err());
    }
}
