//! What follows from a job that started or ended: a robbed job gets another launch, a launch that nothing needs is
//! withdrawn.

use std::time::Duration;

use gha_slurm_protocol::identity::{JobId, LaunchId, RepositoryName};

use super::need::Chain;
use super::offer::{asks, order_cancel};
use super::progress::{Patience, retry_at};
use super::submit::{Destination, advance};
use super::{Fault, Need};
use crate::cluster::Reach;
use crate::gateway::cancel_runner;
use crate::identity::RepositoryId;
use crate::ledger::{Claim, Failure, Ledger, LostReason, Requested, View};
use crate::ports::{Clock, Platform, Store, StoreError};
use crate::profile::RegisteredAt;

/// Two calls of the gateway must fit into what a webhook may take.
const CANCEL_DEADLINE: Duration = Duration::from_secs(3);
const LEASE: Duration = Duration::from_secs(60);
/// After so many refusals the Slurm job is left to end by itself: it gets no credential.
const MAX_CANCELLATIONS: u64 = 5;
/// The same where its cluster was silent before: with growing distances, some two hours.
const MAX_CANCELLATIONS_OF_MOVED: u64 = 16;
/// An order to cancel that is lost is given again after so long.
const ORDER_LEASE: Duration = Duration::from_secs(10 * 60);

/// The launch behind a runner's name, when it is one of ours that could serve a job of this repository: its own, or for a
/// runner of an organization one of the same owner.
pub fn ours<P: Store + Clock>(
    store: &P,
    runner_name: Option<&str>,
    (id, name): (RepositoryId, &RepositoryName),
) -> Result<Option<LaunchId>, StoreError> {
    let Some(launch) = runner_name.and_then(LaunchId::of_runner) else { return Ok(None) };
    let requested = Ledger(store).job(launch.job).view()?.requested;
    let fits = |requested: &Requested| match requested.registered_at {
        RegisteredAt::Repository => requested.repository_id == id,
        // By its id, it is the same one though its owner has another name by now.
        RegisteredAt::Organization { .. } => {
            requested.repository_id == id || requested.repository.owner().eq_ignore_ascii_case(name.owner())
        }
    };
    Ok(requested.filter(fits).map(|_| launch))
}

/// Does what follows from a job that is over for us.
pub fn settle<P: Platform>(platform: &P, destination: &Destination, job: JobId, view: &View) -> Result<(), Fault> {
    let need = Need(platform);
    let got = match &view.started {
        Some(started) => need.got(job, started)?,
        None => None,
    };
    // The job that its runner was meant for may wait now. Where no free launch is that one's by swaps, it gets a new one.
    if let Some(got) = got.filter(|got| got.job != job)
        && let Chain::Waits { job: robbed, launch: lost } = need.chain(got)?
        && !need.served(robbed)?
    {
        Ledger(platform).launch(lost).record_lost(LostReason::RunnerTaken)?;
        if let Some(requested) = need.waiting(robbed)? {
            advance(platform, destination, robbed, &requested, Patience::Due)?;
        }
    }
    match need.holder(job)? {
        Some(free) if view.requested.is_some() => withdraw_unneeded(platform, destination, free),
        _ => Ok(()),
    }
}

/// Cancels what a cluster may have made of a launch that was moved to another one, once that can be told.
pub fn cancel_moved<P: Platform>(platform: &P, destination: &Destination, launch: LaunchId) -> Result<(), Fault> {
    let facts = Ledger(platform).launch(launch);
    if facts.cancelled()? || destination.late(platform) {
        return Ok(());
    }
    // Nobody waits for it.
    let waits = |failure: &Failure| {
        failure.attempt >= MAX_CANCELLATIONS_OF_MOVED || platform.unix_seconds() < retry_at(launch, failure)
    };
    if facts.cancellations().last_failure()?.as_ref().is_some_and(waits) {
        return Ok(());
    }
    cancel(platform, destination, launch)
}

/// Withdraws a launch that nothing waits for, unless its runner registered already: that one ends by itself.
pub fn withdraw_unneeded<P: Platform>(platform: &P, destination: &Destination, launch: LaunchId) -> Result<(), Fault> {
    let facts = Ledger(platform).launch(launch);
    if destination.late(platform) {
        return Ok(());
    }
    if facts.launched()?.is_none() || facts.redeemed()?.is_some() || facts.took()?.is_some() || facts.cancelled()? {
        return Ok(());
    }
    if !facts.withdrawn()? {
        if Need(platform).needed(launch)? {
            return Ok(());
        }
        facts.record_withdrawn()?;
    }
    // The fact is what refuses the credential; the Slurm job is cancelled to free its place.
    let attempts = facts.cancellations();
    if attempts.last_failure()?.is_some_and(|failure| failure.attempt >= MAX_CANCELLATIONS) {
        return Ok(());
    }
    cancel(platform, destination, launch)
}

/// Has the cluster of a launch cancel it, at once or as soon as its gateway asks.
fn cancel<P: Platform>(platform: &P, destination: &Destination, launch: LaunchId) -> Result<(), Fault> {
    let ledger = Ledger(platform);
    let (facts, attempts) = (ledger.launch(launch), ledger.launch(launch).cancellations());
    let Some(requested) = ledger.job(launch.job).requested()? else { return Ok(()) };
    let Some(cluster) = destination.clusters.of_launch(platform, launch, &requested)? else { return Ok(()) };
    match &cluster.reach {
        // The component that calls it does it.
        Reach::Elsewhere => {}
        // An order stands until it is carried out. No gateway has what none ever fetched.
        Reach::Fetch => {
            let fetched = facts.launched()?.is_some() || facts.leased()?.is_some();
            if !fetched || attempts.any()? && !asks(platform, &cluster.name)? {
                return Ok(());
            }
            if let Claim::Won(_) = attempts.claim(ORDER_LEASE)? {
                order_cancel(platform, &cluster.name, launch)?;
            }
        }
        Reach::Push(gateway) => {
            let Claim::Won(attempt) = attempts.claim(LEASE)? else { return Ok(()) };
            let deadline = destination.deadline(platform, CANCEL_DEADLINE);
            match cancel_runner(platform, gateway, launch, deadline) {
                Ok(()) => facts.record_cancelled()?,
                Err(error) => attempts.record_failed(attempt, error.kind(), &error.to_string())?,
            }
        }
    }
    Ok(())
}
