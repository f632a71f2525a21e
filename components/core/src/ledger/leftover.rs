//! What a job's launches leave at GitHub: runners that were made by a JIT configuration and took no job.

use gha_slurm_protocol::identity::{JobId, LaunchId};

use super::keys::{self, LaunchFact};
use super::records::Values;
use super::{JitRunner, Ledger, MAX_LAUNCHES};
use crate::ports::{Clock, Store, StoreError};

/// What a launch leaves at GitHub, or still may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftover {
    /// It waits in Slurm and may be redeemed: after a swap also when its own job is over.
    Undecided,
    /// Its runner took no job, as far as is known, and was not removed.
    Runner(JitRunner),
}

const FACTS: [LaunchFact; 7] = [
    LaunchFact::Launched,
    LaunchFact::Redeemed,
    LaunchFact::Runner,
    LaunchFact::Took,
    LaunchFact::Lost,
    LaunchFact::Withdrawn,
    LaunchFact::Removed,
];

impl<P: Store + Clock> Ledger<'_, P> {
    /// What a job's launches leave. A step of the store for each launch; nearly every job has one.
    pub fn leftovers(&self, job: JobId) -> Result<Vec<(LaunchId, Leftover)>, StoreError> {
        let mut found = Vec::new();
        for number in 1..=MAX_LAUNCHES {
            let launch = LaunchId { job, number };
            let key = |fact| keys::launch(launch, fact);
            let mut values = Values::default();
            values.load(self.0, FACTS.map(key).to_vec())?;
            let has = |fact| values.has(&key(fact));
            match values.read(&key(LaunchFact::Runner))? {
                Some(runner) if !has(LaunchFact::Took) && !has(LaunchFact::Removed) => {
                    found.push((launch, Leftover::Runner(runner)))
                }
                // Refused is whoever comes for a launch that is lost or withdrawn.
                None if has(LaunchFact::Launched)
                    && ![LaunchFact::Redeemed, LaunchFact::Lost, LaunchFact::Withdrawn].into_iter().any(has) =>
                {
                    found.push((launch, Leftover::Undecided));
                }
                _ => {}
            }
            // The next one was made only if this one is lost.
            if !has(LaunchFact::Lost) {
                break;
            }
        }
        Ok(found)
    }
}
