//! Leaving a launch where a gateway that fetches finds it.
//!
//! To offer a launch is an attempt to submit it, as a call of a gateway is; its outcome comes with a gateway's report. A
//! launch that is offered stays so until a gateway has it, or says that it will not.

use gha_slurm_protocol::identity::{ClusterName, LaunchId};

use crate::ledger::keys::{self, LaunchFact};
use crate::ledger::{Ledger, Offered, Order, Orders, encode};
use crate::ports::{Clock, Store, StoreError};

/// A cluster that asks and has not taken what was offered so long ago does not see it: it is offered again.
const OFFER_SECONDS: u64 = 10 * 60;
/// One that asks does so every few seconds.
const ASKS_SECONDS: u64 = 2 * 60;

/// Offers a launch to a cluster.
pub(super) fn offer<P: Store + Clock>(
    store: &P,
    cluster: &ClusterName,
    launch: LaunchId,
    attempt: u64,
) -> Result<(), StoreError> {
    let at = store.unix_seconds();
    Orders::of(store, cluster).give(Order::Submit(launch), |order| {
        Ok(vec![encode(&keys::launch(launch, LaunchFact::Offered), &Offered { order, attempt, at })?])
    })
}

/// Whether a launch waits to be fetched, or is with a gateway that fetched it.
pub(super) fn is_offered<P: Store + Clock>(
    store: &P,
    cluster: &ClusterName,
    launch: LaunchId,
) -> Result<bool, StoreError> {
    let Some(offered) = Ledger(store).launch(launch).offered()? else { return Ok(false) };
    let now = store.unix_seconds();
    if now < offered.at.saturating_add(OFFER_SECONDS) {
        return Ok(true);
    }
    let leased = Ledger(store).launch(launch).leased()?;
    let begun = leased.map_or(0, |leased| leased.at);
    let asks = Ledger(store).heard(cluster)?.is_some_and(|heard| now < heard.at.saturating_add(ASKS_SECONDS));
    Ok(!asks || now < begun.saturating_add(OFFER_SECONDS))
}

/// Orders a cluster to cancel a launch.
pub(super) fn order_cancel<P: Store + Clock>(
    store: &P,
    cluster: &ClusterName,
    launch: LaunchId,
) -> Result<(), StoreError> {
    Orders::of(store, cluster).give(Order::Cancel(launch), |_| Ok(Vec::new()))
}
