//! Leaving a silent cluster.
//!
//! An unsubmitted launch whose cluster has been silent, or has refused, for longer than its setting is given up, and its
//! job gets another launch at the next cluster. What the silent one may have made of the old launch gets no credential, and
//! is cancelled as soon as that cluster is heard of again. So a job is never with two clusters, whatever was on its way.

use std::time::Duration;

use gha_slurm_protocol::identity::{ClusterName, JobId, LaunchId};

use super::submit::Destination;
use super::{Fault, Need};
use crate::cluster::{Cluster, Reach};
use crate::ledger::{Claim, Ledger, LostReason, Requested};
use crate::ports::{Clock, Platform, Store, StoreError};

/// A job does not go around for ever.
const MOST_MOVES: usize = 6;
/// A cluster that was heard of so lately is worth a move.
const HEARD_SECONDS: u64 = 2 * 60;
/// Well past the deadline of a redemption.
const LEASE: Duration = Duration::from_secs(60);

/// Gives up the launch of a waiting job if its cluster is silent and another one is not. Returns whether it did; then the
/// job's next launch is for the other one.
pub fn move_on<P: Platform>(
    platform: &P,
    destination: &Destination,
    job: JobId,
    requested: &Requested,
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
    let Some(next) = next_of(platform, destination, requested, name.as_ref(), moves)? else { return Ok(false) };
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
    let unheard = match (&cluster.reach, facts.offered()?) {
        (Reach::Fetch, Some(offered)) => {
            let heard = Ledger(store).heard(&cluster.name)?.map_or(0, |heard| heard.at);
            let leased = facts.leased()?.map_or(0, |leased| leased.at);
            Some(offered.at.max(heard).max(leased))
        }
        _ => None,
    };
    Ok([refused, unheard].into_iter().flatten().min())
}

/// The next of a job's clusters that is worth a move.
fn next_of<'a, P: Store + Clock>(
    store: &P,
    destination: &Destination,
    requested: &'a Requested,
    from: Option<&ClusterName>,
    moves: usize,
) -> Result<Option<&'a ClusterName>, StoreError> {
    let all = &requested.clusters;
    let place = from.and_then(|from| all.iter().position(|name| name == from)).unwrap_or(0);
    let heard = Ledger(store).heard_of(all)?;
    let now = store.unix_seconds();
    for step in 1..all.len() {
        let index = (place + step) % all.len();
        let Some(name) = all.get(index) else { continue };
        let Some(cluster) = destination.clusters.get(name) else { continue };
        let lately =
            heard.get(index).and_then(Option::as_ref).is_some_and(|heard| now < heard.at.saturating_add(HEARD_SECONDS));
        // Of one that is called, nobody knows before it is.
        let untried = matches!(cluster.reach, Reach::Push(_)) && moves + 1 < all.len();
        if lately || untried {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
