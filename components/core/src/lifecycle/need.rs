//! Who serves whom.
//!
//! Launch `A-1` was made for job A. When its runner took job X instead, X's own launch is free and A has none: so X's
//! launch is A's now. If that runner was taken by Y, Y's launch is A's, and so on. Walking from a free launch along
//! "its job" and "the runner that this job got" ends at the one job that still waits for it, or at nothing. Both
//! relations are one to one, so no two free launches end at the same job.

use gha_slurm_protocol::identity::{JobId, LaunchId};

use crate::ledger::{Course, Ledger, Requested, Started};
use crate::lifecycle::SUBMISSION_LEASE;
use crate::ports::{Clock, Store, StoreError};

/// A longer chain of swaps is not followed: then a launch counts as needed, which at worst costs one idle runner.
const LONGEST_CHAIN: usize = 64;

/// The walk along facts.
#[derive(Debug)]
pub struct Need<'a, P>(pub &'a P);

/// Where a walk from a free launch ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Chain {
    /// This job waits, and lost this launch to another job.
    Waits {
        /// The job that waits.
        job: JobId,
        /// The launch that it lost, or its own.
        launch: LaunchId,
    },
    /// Nothing needs the launch.
    Nothing,
    /// The chain is too long to tell.
    Unknown,
}

impl<P: Store + Clock> Need<'_, P> {
    /// The launch that is a job's own now: the first that is not lost. `None` when it had all that it may have.
    pub fn own_launch(&self, job: JobId) -> Result<Option<LaunchId>, StoreError> {
        let mut course = Course::default();
        for number in Course::numbers() {
            let launch = LaunchId { job, number };
            match Ledger(self.0).launch(launch).lost()? {
                None => return Ok(Some(launch)),
                Some(lost) if course.goes_on(&lost.reason) => {}
                Some(_) => break,
            }
        }
        Ok(None)
    }

    /// The launch whose runner a job got, when it is one of ours. The name alone proves nothing: whoever may register
    /// runners in a repository chooses it; the fact was written after a check.
    pub fn got(&self, job: JobId, started: &Started) -> Result<Option<LaunchId>, StoreError> {
        let Some(launch) = started.runner_name.as_deref().and_then(LaunchId::of_runner) else { return Ok(None) };
        Ok((Ledger(self.0).launch(launch).took()? == Some(job)).then_some(launch))
    }

    /// Who waits for a free launch.
    pub fn chain(&self, launch: LaunchId) -> Result<Chain, StoreError> {
        let now = self.0.unix_seconds();
        let ledger = Ledger(self.0);
        let mut at = launch;
        let mut pool = None;
        for _ in 0..LONGEST_CHAIN {
            // A job that lost this launch for good has another one.
            if ledger.launch(at).lost()?.is_some() {
                return Ok(Chain::Nothing);
            }
            let view = ledger.job(at.job).view()?;
            let Some(requested) = view.requested.as_ref() else { return Ok(Chain::Nothing) };
            // Only jobs of one pool can use each other's runners for certain.
            if *pool.get_or_insert_with(|| requested.pool()) != requested.pool() {
                return Ok(Chain::Nothing);
            }
            if view.waiting(now).is_some() {
                return Ok(Chain::Waits { job: at.job, launch: at });
            }
            let Some(started) = &view.started else { return Ok(Chain::Nothing) };
            match self.got(at.job, started)? {
                // Its own runner, or around in a circle: all are served.
                Some(next) if next.job != at.job && next != launch => at = next,
                _ => return Ok(Chain::Nothing),
            }
        }
        Ok(Chain::Unknown)
    }

    /// Whether any job still waits for this launch.
    pub fn needed(&self, launch: LaunchId) -> Result<bool, StoreError> {
        Ok(self.chain(launch)? != Chain::Nothing)
    }

    /// The free launch that is a job's now: its own, or the one that it has by swaps within its pool.
    pub fn holder(&self, job: JobId) -> Result<Option<LaunchId>, StoreError> {
        let ledger = Ledger(self.0);
        let pool = |job| Ok(ledger.job(job).view()?.requested.map(|requested| requested.pool()));
        let (mut at, wanted) = (job, pool(job)?);
        for _ in 0..LONGEST_CHAIN {
            let Some(launch) = self.own_launch(at)? else { return Ok(None) };
            match ledger.launch(launch).took()? {
                None => return Ok(Some(launch)),
                Some(robber) if robber == at || robber == job || pool(robber)? != wanted => return Ok(None),
                Some(robber) => at = robber,
            }
        }
        Ok(None)
    }

    /// Whether a launch can still serve somebody: submitted or about to be, not withdrawn, not lost, its runner not
    /// taken.
    pub fn alive(&self, launch: LaunchId) -> Result<bool, StoreError> {
        let facts = Ledger(self.0).launch(launch);
        if facts.withdrawn()? || facts.lost()?.is_some() || facts.took()?.is_some() {
            return Ok(false);
        }
        Ok(facts.launched()?.is_some()
            || facts.offered()?.is_some()
            || facts.submissions().under_way(SUBMISSION_LEASE)?)
    }

    /// Whether a launch that can still serve is a job's now.
    pub fn served(&self, job: JobId) -> Result<bool, StoreError> {
        match self.holder(job)? {
            Some(holder) => self.alive(holder),
            None => Ok(false),
        }
    }

    /// A waiting job's request, by its id.
    pub fn waiting(&self, job: JobId) -> Result<Option<Requested>, StoreError> {
        Ok(Ledger(self.0).job(job).view()?.waiting(self.0.unix_seconds()).cloned())
    }
}
