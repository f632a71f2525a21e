//! Where launches stand, read together: which Slurm job may still run, and what a launch leaves at GitHub.
//!
//! A launch's Slurm job ends in many ways that no webhook tells of: its runner finds no job, its node fails, somebody
//! cancels it. That end is a fact of its own, and what follows from it is derived here and nowhere else.

use std::collections::HashMap;

use gha_slurm_protocol::identity::{JobId, LaunchId};
use serde::{Deserialize, Serialize};

use super::keys::{self, JobFact, LaunchFact};
use super::records::Values;
use super::{Course, Finished, JitRunner, Launched, Ledger, encode};
use crate::ports::{Clock, Store, StoreError};

/// The launch's Slurm job is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How that is known.
    pub how: End,
    /// When it became known, in seconds of Unix time.
    pub at: u64,
}

/// How the end of a Slurm job is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Slurm says so, by this state.
    Slurm(String),
    /// Nobody can be asked, and so long after its credential was handed out an idle runner has ended.
    Unheard,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Slurm(state) => f.write_str(state),
            Self::Unheard => f.write_str("nothing was heard of it"),
        }
    }
}

/// What a launch leaves at GitHub, or still may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftover {
    /// It waits in Slurm and may be redeemed: after a swap also when its own job is over.
    Undecided,
    /// Its runner took no job, as far as is known, and was not removed.
    Runner(JitRunner),
}

/// The facts of a launch that tell what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its id.
    pub id: LaunchId,
    /// Whether it waits for a gateway that fetches.
    pub offered: bool,
    /// The gateway took it.
    pub launched: Option<Launched>,
    /// When its credential was handed out, in seconds of Unix time.
    pub redeemed: Option<u64>,
    /// The runner that GitHub made for it.
    pub runner: Option<JitRunner>,
    /// The job that its runner took.
    pub took: Option<JobId>,
    /// Whether that job is over.
    pub served: bool,
    /// Its job got another launch.
    pub lost: bool,
    /// Nothing needed it any more.
    pub withdrawn: bool,
    /// Its runner is no longer in GitHub's list.
    pub removed: bool,
    /// Its Slurm job is over.
    pub ended: Option<Ended>,
    /// When the gateway was last asked about its Slurm job, in seconds of Unix time.
    pub asked: Option<u64>,
    /// Its place in the line of a profile with a limit.
    pub ticket: Option<i64>,
}

impl Standing {
    /// Whether its Slurm job may still run, as far as is known: then it takes a place.
    pub fn lives(&self) -> bool {
        // GitHub removes no runner that runs a job, and what has no runner in its list gets none.
        if self.ended.is_some() || self.removed {
            return false;
        }
        match self.took {
            // Lost to its job, it may still run another one.
            Some(_) => !self.served,
            None => self.launched.is_some() && !self.withdrawn && !self.lost,
        }
    }

    /// What it leaves at GitHub.
    pub fn leftover(&self) -> Option<Leftover> {
        match self.runner {
            Some(runner) => (self.took.is_none() && !self.removed).then_some(Leftover::Runner(runner)),
            // Refused is whoever comes for a launch that is lost or withdrawn.
            None => (self.launched.is_some()
                && self.redeemed.is_none()
                && self.ended.is_none()
                && !self.lost
                && !self.withdrawn)
                .then_some(Leftover::Undecided),
        }
    }
}

const FACTS: [LaunchFact; 11] = [
    LaunchFact::Offered,
    LaunchFact::Launched,
    LaunchFact::Redeemed,
    LaunchFact::Runner,
    LaunchFact::Took,
    LaunchFact::Lost,
    LaunchFact::Withdrawn,
    LaunchFact::Removed,
    LaunchFact::Ended,
    LaunchFact::Asked,
    LaunchFact::Ticket,
];

impl<P: Store + Clock> Ledger<'_, P> {
    /// Where a job's launches stand: the first, and each further one whose predecessor is lost. A step of the store or two
    /// for each; nearly every job has one.
    pub fn standings(&self, job: JobId) -> Result<Vec<Standing>, StoreError> {
        let mut found: Vec<Standing> = Vec::new();
        let mut course = Course::default();
        for number in Course::numbers() {
            let launch = LaunchId { job, number };
            found.extend(self.standings_of(&[launch])?);
            // The next one was made only if this one is lost.
            if found.last().is_none_or(|standing| !standing.lost) {
                break;
            }
            match self.launch(launch).lost()? {
                Some(lost) if course.goes_on(&lost.reason) => {}
                _ => break,
            }
        }
        Ok(found)
    }

    /// Records that the gateway is asked about the Slurm jobs of launches now.
    pub fn record_all_asked(&self, launches: &[LaunchId]) -> Result<(), StoreError> {
        let now = self.0.unix_seconds();
        let asked = launches.iter().map(|launch| encode(&keys::launch(*launch, LaunchFact::Asked), &now));
        self.0.set_many(&asked.collect::<Result<Vec<_>, _>>()?)
    }

    /// Where launches stand, in their order, in two steps of the store for all of them.
    pub fn standings_of(&self, launches: &[LaunchId]) -> Result<Vec<Standing>, StoreError> {
        let mut values = Values::default();
        let facts = launches.iter().flat_map(|launch| FACTS.map(|fact| keys::launch(*launch, fact)));
        values.load(self.0, facts.collect())?;
        let mut standings = Vec::with_capacity(launches.len());
        for id in launches {
            let key = |fact| keys::launch(*id, fact);
            let has = |fact| values.has(&key(fact));
            standings.push(Standing {
                id: *id,
                offered: has(LaunchFact::Offered),
                launched: values.read(&key(LaunchFact::Launched))?,
                redeemed: values.read(&key(LaunchFact::Redeemed))?,
                runner: values.read(&key(LaunchFact::Runner))?,
                took: values.read(&key(LaunchFact::Took))?,
                served: false,
                lost: has(LaunchFact::Lost),
                withdrawn: has(LaunchFact::Withdrawn),
                removed: has(LaunchFact::Removed),
                ended: values.read(&key(LaunchFact::Ended))?,
                asked: values.read(&key(LaunchFact::Asked))?,
                ticket: values.read(&key(LaunchFact::Ticket))?,
            });
        }
        let taken: HashMap<JobId, String> = standings
            .iter()
            .filter_map(|standing| standing.took)
            .map(|job| (job, keys::job(job, JobFact::Finished)))
            .collect();
        if !taken.is_empty() {
            values.load(self.0, taken.values().cloned().collect())?;
        }
        for standing in &mut standings {
            if let Some(key) = standing.took.and_then(|job| taken.get(&job)) {
                standing.served = values.read::<Finished>(key)?.is_some();
            }
        }
        Ok(standings)
    }
}
