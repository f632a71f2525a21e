//! What a gateway that fetches tells of launches.
//!
//! It is believed of the launches of its own cluster and of no other. Reports come late, twice and out of order; each leaves
//! the fact that it tells, or nothing.

use gha_slurm_protocol::exchange::{News, Report};
use gha_slurm_protocol::identity::{ClusterName, LaunchId};
use gha_slurm_protocol::slurm_job::SlurmJob;

use super::Fault;
use super::Pace;
use super::offer::order_cancel;
use super::overdue::Overdue;
use super::progress::retry_at;
use super::settle::withdraw_unneeded;
use super::submit::{Destination, note_failed, record_launch, start_line};
use crate::ledger::{End, Failure, FailureKind, Leased, Ledger, Requested, Told};
use crate::ports::Platform;
use crate::text::clean;

/// So much of what a gateway says is kept.
const MOST_WORDS: usize = 300;

/// Who reports.
#[derive(Debug, Clone, Copy)]
pub struct Reporter<'a> {
    /// Its cluster.
    pub cluster: &'a ClusterName,
    /// Its own name.
    pub gateway: &'a str,
}

/// Writes down what a gateway of a cluster reports. Returns whether it is about a launch of that cluster.
pub fn take_report<P: Platform>(
    platform: &P,
    destination: &Destination,
    reporter: Reporter<'_>,
    report: &Report,
) -> Result<bool, Fault> {
    let ledger = Ledger(platform);
    let launch = report.launch;
    let Some(requested) = ledger.job(launch.job).requested()? else { return Ok(false) };
    let of = destination.clusters.of_launch(platform, launch, &requested)?;
    let facts = ledger.launch(launch);
    // What was never offered nor moved, it cannot have.
    if of.is_none_or(|of| of.name != *reporter.cluster) || !facts.submissions().any()? {
        return Ok(false);
    }
    match &report.news {
        News::Submitted { job_id } => submitted(platform, destination, launch, (&requested, reporter), job_id)?,
        News::Refused { message } => failed(platform, launch, (&requested, reporter), FailureKind::Refused, message)?,
        News::Unavailable { message } => failed(platform, launch, (&requested, reporter), FailureKind::Away, message)?,
        News::State(slurm_job) => state(platform, destination, launch, (&requested, reporter), slurm_job)?,
        // Nobody asked for it as long as the launch may be needed.
        News::Cancelled if is_given_up(platform, launch)? && !facts.cancelled()? => facts.record_cancelled()?,
        News::Cancelled => {}
    }
    Ok(true)
}

fn is_given_up<P: Platform>(platform: &P, launch: LaunchId) -> Result<bool, Fault> {
    let facts = Ledger(platform).launch(launch);
    Ok(facts.withdrawn()? || facts.lost()?.is_some())
}

fn submitted<P: Platform>(
    platform: &P,
    destination: &Destination,
    launch: LaunchId,
    (requested, reporter): (&Requested, Reporter<'_>),
    slurm_job: &str,
) -> Result<(), Fault> {
    let facts = Ledger(platform).launch(launch);
    if facts.launched()?.is_none() {
        let slurm_job = clean(slurm_job, 64);
        record_launch(platform, launch, requested, Some(reporter.cluster), Some(&slurm_job));
        facts.record_launched(Some(slurm_job))?;
    }
    // Another gateway said so that did not have it, or this is told late.
    if facts.cancelled()? && facts.ended()?.is_none() {
        if let Some(leased) = facts.leased()?.filter(|leased| leased.gateway != reporter.gateway) {
            facts.record_leased(&Leased { gateway: reporter.gateway.to_owned(), ..leased })?;
        }
        order_cancel(platform, reporter.cluster, launch)?;
        facts.forget_cancelled()?;
    }
    // While it was on its way its job may have ended, or gone elsewhere.
    withdraw_unneeded(platform, destination, launch)
}

/// The launch is given back, if it is still this gateway's by the last offer: a report that came late may be of an earlier
/// one, and the launch another gateway's by now.
fn failed<P: Platform>(
    platform: &P,
    launch: LaunchId,
    (requested, reporter): (&Requested, Reporter<'_>),
    kind: FailureKind,
    message: &str,
) -> Result<(), Fault> {
    let facts = Ledger(platform).launch(launch);
    let (Some(offered), Some(leased)) = (facts.offered()?, facts.leased()?) else { return Ok(()) };
    if leased.gateway != reporter.gateway || leased.at < offered.at || facts.launched()?.is_some() {
        return Ok(());
    }
    let why = match kind {
        FailureKind::Refused => format!("the gateway refused: {}", clean(message, MOST_WORDS)),
        _ => format!("the gateway could not submit it: {}", clean(message, MOST_WORDS)),
    };
    facts.leases().record_failed(leased.number, kind, &why)?;
    let failure = Failure { attempt: offered.attempt, at: platform.unix_seconds(), kind, why, reason: None };
    note_failed(platform, launch, requested, &failure)?;
    facts.forget_offered()?;
    Ok(Overdue(platform).append(launch.job, retry_at(launch, &failure))?)
}

fn state<P: Platform>(
    platform: &P,
    destination: &Destination,
    launch: LaunchId,
    (requested, reporter): (&Requested, Reporter<'_>),
    slurm_job: &SlurmJob,
) -> Result<(), Fault> {
    let facts = Ledger(platform).launch(launch);
    if let Some(job_id) = &slurm_job.job_id {
        submitted(platform, destination, launch, (requested, reporter), job_id)?;
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
