//! Whether the rules of a profile allow the workflow run that a credential is wanted for.
//!
//! GitHub is asked, because the webhook does not say where the code comes from; once for each attempt of a run, since what it
//! says does not change. Without its answer nothing is decided, and the launch token stays good.

use gha_slurm_core::audit::{Record, record};
use gha_slurm_core::github::client::GitHubError;
use gha_slurm_core::github::credentials::{Credentials, Reach};
use gha_slurm_core::ledger::{FailureKind, Ledger, Requested};
use gha_slurm_core::policy::{Denial, Run};
use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_protocol::identity::{JobId, LaunchId};

use crate::denied::Denied;
use crate::redeem::Wanted;

/// A run that GitHub does not show is one that it does not show for so long after its webhook.
const YOUNG_SECONDS: u64 = 5 * 60;

/// Judges the run of the job that a launch would serve; `attempt` is the attempt to redeem it. A denial is a fact of the job:
/// it gets no other launch.
pub(crate) fn judge<P: Platform>(
    platform: &P,
    credentials: &Credentials<'_, P>,
    id: LaunchId,
    attempt: u64,
    wanted: &Wanted,
) -> Result<(), Denied> {
    let ledger = Ledger(platform);
    let requested = wanted.waiting();
    let denial = match ask(platform, credentials, wanted.job, requested)? {
        Ok(Some(run)) => match requested.rules.judge(&run, requested.repository_id) {
            Ok(()) => return Ok(()),
            Err(denial) => denial,
        },
        Ok(None) if is_young(platform, requested) => {
            let why = "GitHub does not show the workflow run yet";
            ledger.launch(id).redemptions().record_failed(attempt, FailureKind::Away, why)?;
            return Err(Denied::NotShownYet);
        }
        Ok(None) => Denial::NoRun,
        Err(error) => {
            ledger.launch(id).redemptions().record_failed_at_github(attempt, &error)?;
            return Err(Denied::by_github(id, error));
        }
    };
    if ledger.job(wanted.job).record_denied(denial.clone())? {
        let record_of = Record::Denial {
            repository: &requested.repository,
            person: requested.person.some(),
            job: wanted.job,
            launch: id,
            profile: &requested.profile,
            rule: denial.key(),
            reason: &denial.to_string(),
        };
        record(platform, &record_of);
    }
    // The job script ends with this answer: no job counts on the launch from now on, also none that has it by swaps.
    ledger.launch(id).record_withdrawn()?;
    Err(Denied::NotAllowed(id, requested.profile.clone(), denial))
}

/// Whether a run is so new that not all of GitHub may know it.
fn is_young<P: Platform>(platform: &P, requested: &Requested) -> bool {
    requested.at.saturating_add(YOUNG_SECONDS) > platform.unix_seconds()
}

/// What GitHub says of a job's run, or said before; `None` where it does not show it.
fn ask<P: Platform>(
    platform: &P,
    credentials: &Credentials<'_, P>,
    job: JobId,
    requested: &Requested,
) -> Result<Result<Option<Run>, GitHubError>, StoreError> {
    let ledger = Ledger(platform);
    let reach = Reach::from(requested);
    let attempt = requested.run_attempt;
    let Some(run) = requested.run_id else {
        // The webhook did not name it. What is found is not kept: nothing would lead to it.
        let found = credentials.job(reach, job);
        return Ok(found.and_then(|info| credentials.run(reach, info.run_id.unwrap_or_default(), attempt)));
    };
    if let Some(kept) = ledger.run(run, attempt)? {
        return Ok(Ok(Some(kept)));
    }
    let said = credentials.run(reach, run, attempt);
    if let Ok(Some(said)) = &said {
        ledger.record_run(run, attempt, said)?;
    }
    Ok(said)
}
