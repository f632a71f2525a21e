//! What a gateway that fetches tells of launches.
//!
//! It is believed of the launches of its own cluster and of no other. Reports come late, twice and out of order; each leaves
//! the fact that it tells, or nothing.

use gha_slurm_protocol::exchange::{News, Report};
use gha_slurm_protocol::identity::{ClusterName, LaunchId};
use gha_slurm_protocol::slurm_job::SlurmJob;

use super::Fault;
use super::Pace;
use super::overdue::Overdue;
use super::progress::retry_at;
use super::settle::withdraw_unneeded;
use super::submit::{Destination, note_failed, record_launch, start_line};
use crate::ledger::{End, Failure, FailureKind, Ledger, Requested, Told};
use crate::ports::Platform;
use crate::text::clean;

/// So much of what a gateway says is kept.
const MOST_WORDS: usize = 300;

/// Writes down what a gateway of a cluster reports. Returns whether it is about a launch of that cluster.
pub fn take_report<P: Platform>(
    platform: &P,
    destination: &Destination,
    cluster: &ClusterName,
    report: &Report,
) -> Result<bool, Fault> {
    let ledger = Ledger(platform);
    let launch = report.launch;
    let Some(requested) = ledger.job(launch.job).requested()? else { return Ok(false) };
    let of = destination.clusters.of_launch(platform, launch, &requested)?;
    let facts = ledger.launch(launch);
    // What was never offered nor moved, it cannot have.
    if of.is_none_or(|of| of.name != *cluster) || !facts.submissions().any()? {
        return Ok(false);
    }
    match &report.news {
        News::Submitted { job_id } => submitted(platform, destination, launch, (&requested, cluster), job_id)?,
        News::Refused { message } => failed(platform, launch, &requested, FailureKind::Refused, message)?,
        News::Unavailable { message } => failed(platform, launch, &requested, FailureKind::Away, message)?,
        News::State(slurm_job) => {
            state(platform, destination, launch, (&requested, cluster), slurm_job)?;
        }
        News::Cancelled if !facts.cancelled()? => facts.record_cancelled()?,
        News::Cancelled => {}
    }
    Ok(true)
}

fn submitted<P: Platform>(
    platform: &P,
    destination: &Destination,
    launch: LaunchId,
    (requested, cluster): (&Requested, &ClusterName),
    slurm_job: &str,
) -> Result<(), Fault> {
    let facts = Ledger(platform).launch(launch);
    if facts.launched()?.is_none() {
        let slurm_job = clean(slurm_job, 64);
        record_launch(platform, launch, requested, Some(cluster), Some(&slurm_job));
        facts.record_launched(Some(slurm_job))?;
    }
    // While it was on its way its job may have ended, or gone elsewhere.
    withdraw_unneeded(platform, destination, launch)
}

fn failed<P: Platform>(
    platform: &P,
    launch: LaunchId,
    requested: &Requested,
    kind: FailureKind,
    message: &str,
) -> Result<(), Fault> {
    let facts = Ledger(platform).launch(launch);
    // A report that came late, of a launch that was offered anew or was submitted after all.
    let Some(offered) = facts.offered()?.filter(|_| facts.leased().is_ok_and(|leased| leased.is_some())) else {
        return Ok(());
    };
    if facts.launched()?.is_some() {
        return Ok(());
    }
    let why = match kind {
        FailureKind::Refused => format!("the gateway refused: {}", clean(message, MOST_WORDS)),
        _ => format!("the gateway could not submit it: {}", clean(message, MOST_WORDS)),
    };
    let failure = Failure { attempt: offered.attempt, at: platform.unix_seconds(), kind, why, reason: None };
    note_failed(platform, launch, requested, &failure)?;
    facts.forget_offered()?;
    Ok(Overdue(platform).append(launch.job, retry_at(launch, &failure))?)
}

fn state<P: Platform>(
    platform: &P,
    destination: &Destination,
    launch: LaunchId,
    (requested, cluster): (&Requested, &ClusterName),
    slurm_job: &SlurmJob,
) -> Result<(), Fault> {
    let facts = Ledger(platform).launch(launch);
    if let Some(job_id) = &slurm_job.job_id {
        submitted(platform, destination, launch, (requested, cluster), job_id)?;
    }
    // What is over stays over, in whatever order that is told.
    if facts.ended()?.is_some() {
        return Ok(());
    }
    if !slurm_job.is_over() {
        return Ok(facts.record_told(&Told::now(slurm_job, platform))?);
    }
    facts.record_ended(End::Slurm(slurm_job.state.clone()))?;
    // Its place is another one's now.
    start_line(platform, destination, requested, &mut Pace::of_a_webhook()).map(drop)
}
