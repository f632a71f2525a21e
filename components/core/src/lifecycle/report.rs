//! What a gateway that fetches tells of launches.
//!
//! It is believed of the launches of its own cluster and of no other. Reports come late, twice and out of order; each leaves
//! the fact that it tells, or nothing.

use std::collections::BTreeMap;
use std::time::Duration;

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

/// What became of reports.
#[derive(Debug, Default)]
pub struct Taken {
    /// Launches that are not of the cluster.
    pub unknown: Vec<LaunchId>,
    /// Launches of which a report was not written down.
    pub not_taken: Vec<LaunchId>,
    /// Why, where it was not for lack of time.
    pub fault: Option<Fault>,
}

impl Taken {
    fn leave(&mut self, launch: LaunchId) {
        if !self.not_taken.contains(&launch) {
            self.not_taken.push(launch);
        }
    }
}

/// Writes down what a gateway of a cluster reports, in its order, until `until` as the clock has it. What failed is told again,
/// as a whole of its launch: what is told twice changes nothing.
pub fn take_reports<P: Platform>(
    platform: &P,
    destination: &Destination,
    reporter: Reporter<'_>,
    reports: &[Report],
    until: Duration,
) -> Taken {
    let mut taken = Taken::default();
    let mut lines: BTreeMap<String, Requested> = BTreeMap::new();
    for (index, report) in reports.iter().enumerate() {
        // The first one is taken in any case, so that every exchange makes progress.
        if index > 0 && platform.now() >= until {
            reports.iter().skip(index).for_each(|report| taken.leave(report.launch));
            break;
        }
        match take(platform, destination, reporter, report) {
            Ok(Kind::Unknown) => taken.unknown.push(report.launch),
            Ok(Kind::Noted) => {}
            Ok(Kind::Ended(requested)) => {
                lines.insert(requested.profile.clone(), *requested);
            }
            // What cannot be read must not keep the others from being told.
            Err(fault) => {
                taken.leave(report.launch);
                taken.fault.get_or_insert(fault);
            }
        }
    }
    // The places of those that ended are others' now. Where there is no time for that, the tick does it.
    for requested in lines.values() {
        if destination.late(platform) {
            break;
        }
        if let Err(fault) = start_line(platform, destination, requested, &mut Pace::of_a_webhook()) {
            taken.fault.get_or_insert(fault);
        }
    }
    taken
}

/// What a report was.
enum Kind {
    /// It is of no launch of the cluster.
    Unknown,
    Noted,
    /// A Slurm job is over that had a place in a line.
    Ended(Box<Requested>),
}

fn take<P: Platform>(
    platform: &P,
    destination: &Destination,
    reporter: Reporter<'_>,
    report: &Report,
) -> Result<Kind, Fault> {
    let ledger = Ledger(platform);
    let launch = report.launch;
    let facts = ledger.launch(launch);
    // What was never offered nor moved, it cannot have.
    if !facts.submissions().any()? {
        return Ok(Kind::Unknown);
    }
    let Some(requested) = ledger.job(launch.job).requested()? else { return Ok(Kind::Unknown) };
    let of = destination.clusters.of_launch(platform, launch, &requested)?;
    if of.is_none_or(|of| of.name != *reporter.cluster) {
        return Ok(Kind::Unknown);
    }
    match &report.news {
        News::Submitted { job_id } => submitted(platform, destination, launch, (&requested, reporter), job_id)?,
        News::Refused { message } => failed(platform, launch, (&requested, reporter), FailureKind::Refused, message)?,
        News::Unavailable { message } => failed(platform, launch, (&requested, reporter), FailureKind::Away, message)?,
        News::State(slurm_job) => {
            state(platform, destination, launch, (&requested, reporter), slurm_job)?;
            if slurm_job.is_over() && requested.has_line() {
                return Ok(Kind::Ended(Box::new(requested)));
            }
        }
        // Nobody asked for it as long as the launch may be needed.
        News::Cancelled if is_given_up(platform, launch)? && !facts.cancelled()? => facts.record_cancelled()?,
        News::Cancelled => {}
    }
    Ok(Kind::Noted)
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
        // Before the order is looked for: one of a launch that was cancelled does not stand for long.
        facts.forget_cancelled()?;
        order_cancel(platform, reporter.cluster, launch)?;
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
    // An end is final, in whatever order reports arrive. It is recorded first: a Slurm job that has ended needs no cancel.
    let ended = facts.ended()?.is_some();
    if slurm_job.is_over() && !ended {
        facts.record_ended(End::Slurm(slurm_job.state.clone()))?;
    }
    if let Some(job_id) = &slurm_job.job_id {
        submitted(platform, destination, launch, (requested, reporter), job_id)?;
    }
    if !slurm_job.is_over() && !ended {
        facts.record_told(&Told::now(slurm_job, platform))?;
    }
    Ok(())
}
