//! Jobs that GitHub holds back until their deployment is approved.
//!
//! GitHub tells of the approval by a *queued*. It is asked as well, less and less often, because that may come in another
//! order than it was sent, and because an approval may take days.

use gha_slurm_core::github::client::JobStatus;
use gha_slurm_core::ledger::{Ledger, Requested, View};
use gha_slurm_core::lifecycle::{Fault, Progress, hold, release};
use gha_slurm_core::ports::Platform;
use gha_slurm_protocol::identity::JobId;

use crate::run::Tick;

/// How soon GitHub is asked for the first time.
const FIRST_SECONDS: u64 = 60;
/// How often at least.
const LAST_SECONDS: u64 = 60 * 60;

impl<P: Platform> Tick<'_, P> {
    /// A job that is held. Returns whether nothing is ever to be done again.
    pub(crate) fn held(&mut self, job: JobId, view: &View, requested: &Requested) -> Result<bool, Fault> {
        let platform = self.platform;
        hold(platform, &self.destination, job)?;
        let since = view.held.as_ref().map_or(requested.at, |held| held.at);
        let age = platform.unix_seconds().saturating_sub(since);
        if !self.silent_since(job, since, (age / 4).clamp(FIRST_SECONDS, LAST_SECONDS))? {
            return Ok(false);
        }
        let Some(state) = self.ask(job, requested)? else { return Ok(false) };
        match state.status {
            JobStatus::Queued => {
                Ledger(platform).job(job).record_released()?;
                if let Progress::Launched(_) = release(platform, &self.destination, job, requested)? {
                    self.report.launched += 1;
                }
                Ok(false)
            }
            JobStatus::InProgress | JobStatus::Completed => self.close_and_settle(job, view, &state),
            JobStatus::Held(_) => Ok(false),
        }
    }
}
