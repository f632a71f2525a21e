//! Bringing a waiting job's launch to the gateway.

use std::time::Duration;

use gha_slurm_protocol::identity::{JobId, LaunchId};
use gha_slurm_protocol::messages::StartRunner;
use url::Url;

use super::line::Line;
use super::overdue::Overdue;
use super::{Fault, Need};
use crate::audit::{Record, record};
use crate::gateway::start_runner;
use crate::launch_token::{Launch, LaunchTokens};
use crate::ledger::{Claim, Failure, Ledger, Requested, Stops};
use crate::ports::{Clock, Platform, Store, StoreError, Variables};
use crate::settings::{GatewaySettings, SettingError, Settings};

/// Less is not worth a call.
const LEAST: Duration = Duration::from_secs(1);
/// GitHub counts a webhook as failed after 10 s; the answer is to be there after 8.
const GATEWAY_DEADLINE: Duration = Duration::from_secs(7);
/// Well past the gateway's deadline: an attempt that is older died.
pub(super) const SUBMISSION_LEASE: Duration = Duration::from_secs(60);
const FIRST_RETRY_SECONDS: u64 = 5;
/// A place that became free lets one launch go; a few more, should others have been missed.
const IN_ONE_GO: usize = 3;
const LAST_RETRY_SECONDS: u64 = 10 * 60;

/// Where a launch goes and what its token is for; settled before anything is written.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The gateway.
    pub gateway: GatewaySettings,
    /// Where tokens are redeemed.
    pub redeem: Url,
    /// When whoever asked wants his answer, as the clock has it.
    pub until: Duration,
}

impl Destination {
    /// Reads it from the variables; calls of the gateway are to end within `budget` from now.
    pub fn read<P: Variables + Clock>(platform: &P, budget: Duration) -> Result<Self, SettingError> {
        let settings = Settings(platform);
        Ok(Self { gateway: settings.gateway()?, redeem: settings.redeem_url()?, until: platform.now() + budget })
    }

    /// How long a call may take that should take no longer than `at_most`.
    pub fn deadline(&self, clock: &impl Clock, at_most: Duration) -> Duration {
        self.until.saturating_sub(clock.now()).min(at_most)
    }

    /// Whether there is no time for another call.
    pub fn late(&self, clock: &impl Clock) -> bool {
        self.deadline(clock, LEAST) < LEAST
    }
}

/// How far a job's launch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The gateway took it now.
    Launched(LaunchId),
    /// The gateway took it before.
    LaunchedBefore(LaunchId),
    /// Somebody else submits it at this moment.
    UnderWay(LaunchId),
    /// The gateway did not take it; it is tried again.
    Deferred(LaunchId, String),
    /// Its profile's `max_running` is reached.
    InLine(LaunchId),
    /// GitHub must first say that the job is still queued.
    Unconfirmed,
    /// It had all the launches that a job may have.
    GivenUp,
}

/// Submits the first launch of a job that the caller has just written down. Nearly always nobody else has seen the job,
/// and the claim alone proves that: what [`advance`] would look up first cannot be there.
pub fn begin<P: Platform>(
    platform: &P,
    destination: &Destination,
    job: JobId,
    requested: &Requested,
) -> Result<Progress, Fault> {
    let id = LaunchId { job, number: 1 };
    let at_once = !requested.needs_confirmation()
        && Line::of(platform, requested).is_none()
        && Stops(platform).stopped(&requested.repository)?.is_none();
    if at_once && !destination.late(platform) && Ledger(platform).launch(id).submissions().claim_first()? {
        return submit(platform, destination, id, requested, 1);
    }
    advance(platform, destination, job, requested, false)
}

/// Submits the launch that a waiting job needs now, unless that was done or is under way. `patient` keeps the distance
/// that earlier failures ask for.
pub fn advance<P: Platform>(
    platform: &P,
    destination: &Destination,
    job: JobId,
    requested: &Requested,
    patient: bool,
) -> Result<Progress, Fault> {
    let ledger = Ledger(platform);
    let Some(id) = Need(platform).own_launch(job)? else { return Ok(Progress::GivenUp) };
    let facts = ledger.launch(id);
    if facts.launched()?.is_some() {
        return Ok(Progress::LaunchedBefore(id));
    }
    if let Some(stopped) = Stops(platform).stopped(&requested.repository)? {
        return Ok(Progress::Deferred(id, stopped.to_string()));
    }
    if requested.needs_confirmation() && !ledger.job(job).confirmed()? {
        return Ok(Progress::Unconfirmed);
    }
    if let Some(line) = Line::of(platform, requested)
        && !line.admits(id)?
    {
        return Ok(Progress::InLine(id));
    }
    let submissions = facts.submissions();
    if destination.late(platform) {
        return Ok(Progress::Deferred(id, "earlier calls took all the time".to_owned()));
    }
    if patient
        && let Some(failure) = submissions.last_failure()?
        && platform.unix_seconds() < retry_at(id, &failure)
    {
        return Ok(Progress::Deferred(id, failure.why));
    }
    let Claim::Won(attempt) = submissions.claim(SUBMISSION_LEASE)? else { return Ok(Progress::UnderWay(id)) };
    // Who looked before the last attempt ended and claims after it comes too late.
    if facts.launched()?.is_some() {
        return Ok(Progress::LaunchedBefore(id));
    }
    submit(platform, destination, id, requested, attempt)
}

/// Makes an attempt that was claimed.
fn submit<P: Platform>(
    platform: &P,
    destination: &Destination,
    id: LaunchId,
    requested: &Requested,
    attempt: u64,
) -> Result<Progress, Fault> {
    let facts = Ledger(platform).launch(id);
    let start = start_of(platform, destination, id, requested)?;
    let deadline = destination.deadline(platform, GATEWAY_DEADLINE);
    match start_runner(platform, &destination.gateway, &start, deadline) {
        Ok(slurm_job) => {
            facts.record_launched(slurm_job.clone())?;
            let launched = Record::Launch {
                repository: &requested.repository,
                person: requested.person.some(),
                job: id.job,
                launch: id,
                profile: &requested.profile,
                slurm_job: slurm_job.as_deref(),
            };
            record(platform, &launched);
            Ok(Progress::Launched(id))
        }
        Err(error) => {
            let why = error.to_string();
            facts.submissions().record_failed(attempt, error.kind(), &why)?;
            if attempt == 1 {
                Overdue(platform).append(id.job)?;
            }
            Ok(Progress::Deferred(id, why))
        }
    }
}

/// Launches what stood in the line of a profile with a limit, now that a place may be free.
pub fn start_waiting<P: Platform>(platform: &P, destination: &Destination, of: &Requested) -> Result<(), Fault> {
    let Some(line) = Line::of(platform, of) else { return Ok(()) };
    for launch in line.waiting(IN_ONE_GO)? {
        if let Some(requested) = Need(platform).waiting(launch.job)? {
            advance(platform, destination, launch.job, &requested, true)?;
        }
    }
    Ok(())
}

/// A launch's place among those that wait in the line of its profile, from 1; `None` when it does not, or is far back.
pub fn place_in_line<S: Store + Clock>(
    store: &S,
    of: &Requested,
    launch: LaunchId,
) -> Result<Option<usize>, StoreError> {
    /// Who is further back need not know it exactly.
    const LOOK: usize = 100;
    let Some(line) = Line::of(store, of) else { return Ok(None) };
    Ok(line.waiting(LOOK)?.iter().position(|waits| *waits == launch).map(|before| before + 1))
}

/// Forgets what a deleted job left in the line of its profile.
pub fn trim_line<S: Store + Clock>(store: &S, of: &Requested) -> Result<(), Fault> {
    match Line::of(store, of) {
        Some(line) => Ok(line.trim()?),
        None => Ok(()),
    }
}

fn start_of<P: Platform>(
    platform: &P,
    destination: &Destination,
    id: LaunchId,
    requested: &Requested,
) -> Result<StartRunner, Fault> {
    let launch = Launch {
        repository_id: requested.repository_id,
        repository: requested.repository.clone(),
        installation: requested.installation,
        labels: requested.labels.clone(),
        run_attempt: requested.run_attempt,
        profile: requested.profile.clone(),
    };
    let redeem = &destination.redeem;
    let token = LaunchTokens::new(platform, redeem.as_str()).issue(&destination.gateway.secret, id, launch)?;
    Ok(StartRunner {
        github_url: requested.html_url.as_str().trim_end_matches('/').to_owned(),
        launcher_token: token,
        runner_labels: requested.labels.to_string(),
        token_url: redeem.to_string(),
        runner_name: id.runner_name(),
        resources: (&requested.resources).into(),
        launch: Some(id),
        profile: Some(requested.profile.clone()),
    })
}

/// 5 s after the first failure, twice as long after each further one, at most 10 min; up to a fifth more, which differs
/// from launch to launch, so that not all come back at once.
pub fn retry_at(id: LaunchId, failure: &Failure) -> u64 {
    let doublings = u32::try_from(failure.attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let wait = FIRST_RETRY_SECONDS.saturating_mul(1 << doublings).min(LAST_RETRY_SECONDS);
    let spread = id.job.0.wrapping_mul(31).wrapping_add(failure.attempt) % (wait / 5 + 1);
    failure.at.saturating_add(wait + spread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::FailureKind;

    #[test]
    fn retries_keep_their_distance_and_do_not_come_all_at_once() {
        let wait = |job: u64, attempt: u64| {
            let failure = Failure { attempt, at: 1000, kind: FailureKind::Away, why: String::new() };
            retry_at(LaunchId { job: JobId(job), number: 1 }, &failure) - 1000
        };
        for (attempt, least) in [(1, 5), (2, 10), (3, 20), (7, 320), (8, 600), (u64::MAX, 600)] {
            let waits: Vec<u64> = (0..100).map(|job| wait(job, attempt)).collect();
            assert!(waits.iter().all(|wait| (least..=least + least / 5).contains(wait)), "{attempt}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{attempt}");
        }
    }
}
