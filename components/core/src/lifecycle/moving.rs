//! Leaving a silent cluster.
//!
//! An unsubmitted launch whose cluster has been silent, or has refused, for longer than its setting is given up, and its
//! job gets another launch at the next cluster. What the silent one may have made of the old launch gets no credential, and
//! is cancelled as soon as that cluster is heard of again. So a job is never with two clusters, whatever was on its way.

use std::time::Duration;

use gha_slurm_protocol::identity::{ClusterName, JobId, LaunchId};

use super::submit::{Destination, hear};
use super::{Fault, Need, Pace};
use crate::cluster::{Cluster, Reach};
use crate::gateway::slurm_job;
use crate::launch_token::CLOCK_TOLERANCE_SECONDS;
use crate::ledger::{Claim, Ledger, LostReason, Requested};
use crate::ports::{Clock, Platform, Store, StoreError};

/// A job does not go around for ever.
const MOST_MOVES: usize = 6;
/// A cluster that was heard of so lately is worth a move.
const HEARD_SECONDS: u64 = 2 * 60;
/// Well past the deadline of a redemption, by any replica's clock.
const LEASE: Duration = Duration::from_secs(60 + CLOCK_TOLERANCE_SECONDS);
/// A gateway that is there says at once what it knows of a launch.
const DEADLINE: Duration = Duration::from_secs(3);
/// The first of a launch's leases that failed is one of these, unless as many exchanges died.
const FIRST_LEASES: std::ops::RangeInclusive<u64> = 1..=3;

/// Gives up the launch of a waiting job if its cluster is silent and another one is not. Returns whether it did; then the
/// job's next launch is for the other one.
pub fn move_on<P: Platform>(
    platform: &P,
    destination: &Destination,
    job: JobId,
    requested: &Requested,
    pace: &mut Pace,
) -> Result<bool, Fault> {
    if requested.clusters.len() < 2 {
        return Ok(false);
    }
    let ledger = Ledger(platform);
    let Some(own) = Need(platform).own_launch(job)? else { return Ok(false) };
    let facts = ledger.launch(own);
    let now = platform.unix_seconds();
    let name = ledger.cluster_of(own, requested)?;
    let silent = match name.as_ref().and_then(|name| destination.clusters.get(name)) {
        Some(cluster) => silent_since(platform, cluster, own)?.is_some_and(|since| since + cluster.silent_after <= now),
        // Its configuration is gone.
        None => true,
    };
    let moves = ledger.moves(own)?;
    if !silent || moves >= MOST_MOVES || facts.launched()?.is_some() {
        return Ok(false);
    }
    let next = next_of(platform, destination, requested, (own, name.as_ref(), moves), pace)?;
    let Some(next) = next else { return Ok(false) };
    // While somebody redeems it, or after he did, it is no unsubmitted launch.
    let Claim::Won(_) = facts.redemptions().claim(LEASE)? else { return Ok(false) };
    if facts.committed()? || facts.redeemed()?.is_some() || facts.took()?.is_some() || facts.launched()?.is_some() {
        return Ok(false);
    }
    ledger.launch(LaunchId { number: own.number + 1, ..own }).record_cluster(next)?;
    facts.record_lost(LostReason::Moved)?;
    Ok(true)
}

/// Since when a cluster is silent about a launch, or refuses it; `None` if it did not have it yet.
fn silent_since<P: Store + Clock>(store: &P, cluster: &Cluster, launch: LaunchId) -> Result<Option<u64>, StoreError> {
    let facts = Ledger(store).launch(launch);
    let refused = match facts.submissions().last_failure()? {
        Some(_) => facts.submissions().failure(1)?.map(|failure| failure.at),
        None => None,
    };
    let Reach::Fetch = cluster.reach else { return Ok(refused) };
    let Some(offered) = facts.offered()? else { return Ok(refused) };
    let heard = Ledger(store).heard(&cluster.name)?.map_or(0, |heard| heard.at);
    let leased = facts.leased()?.map_or(0, |leased| leased.at);
    let unheard = Some(offered.at.max(heard).max(leased));
    // One that fetches a launch again and again and never says what became of it is silent about that one.
    let mut unreported = None;
    for lease in FIRST_LEASES {
        unreported = unreported.or(facts.leases().failure(lease)?.map(|failure| failure.at));
    }
    Ok([refused, unheard, unreported].into_iter().flatten().min())
}

/// The next of a job's clusters that is worth a move.
fn next_of<'a, P: Platform>(
    platform: &P,
    destination: &Destination,
    requested: &'a Requested,
    (own, from, moves): (LaunchId, Option<&ClusterName>, usize),
    pace: &mut Pace,
) -> Result<Option<&'a ClusterName>, StoreError> {
    let all = &requested.clusters;
    let place = from.and_then(|from| all.iter().position(|name| name == from)).unwrap_or(0);
    let heard = Ledger(platform).heard_of(all)?;
    let now = platform.unix_seconds();
    for step in 1..all.len() {
        let index = (place + step) % all.len();
        let Some(name) = all.get(index) else { continue };
        let Some(cluster) = destination.clusters.get(name) else { continue };
        let lately =
            heard.get(index).and_then(Option::as_ref).is_some_and(|heard| now < heard.at.saturating_add(HEARD_SECONDS));
        // Of one that is called, nobody knows before it is.
        let untried = matches!(cluster.reach, Reach::Push(_)) && moves + 1 < all.len();
        if lately || untried || answers(platform, destination, cluster, own, pace)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Whether the gateway of a cluster answers: nothing else may be sent there that would tell.
fn answers<P: Platform>(
    platform: &P,
    destination: &Destination,
    cluster: &Cluster,
    launch: LaunchId,
    pace: &mut Pace,
) -> Result<bool, StoreError> {
    let Reach::Push(gateway) = &cluster.reach else { return Ok(false) };
    if pace.stopped(&cluster.name) || destination.late(platform) {
        return Ok(false);
    }
    let there = slurm_job(platform, gateway, launch, destination.deadline(platform, DEADLINE)).is_ok();
    pace.learn(&cluster.name, 1, usize::from(!there));
    if there {
        hear(platform, &cluster.name)?;
    }
    Ok(there)
}
