//! Leaving a launch where a gateway that fetches finds it.
//!
//! To offer a launch is an attempt to submit it, as a call of a gateway is; its outcome comes with a gateway's report. A
//! launch that is offered stays so until a gateway has it, or says that it will not.

use gha_slurm_protocol::identity::{ClusterName, LaunchId};

use crate::ledger::keys::{self, LaunchFact};
use crate::ledger::{Ledger, Offered, Order, Orders, encode};
use crate::ports::{Clock, Store, StoreError};

/// What was offered so long ago is looked for in the list of its cluster: it may have been lost on the way there.
const OFFER_SECONDS: u64 = 4 * 60;
/// A cluster that asks does so every few seconds.
const ASKS_SECONDS: u64 = 2 * 60;

/// Offers a launch to a cluster.
pub(super) fn offer<P: Store + Clock>(
    store: &P,
    cluster: &ClusterName,
    launch: LaunchId,
    attempt: u64,
) -> Result<(), StoreError> {
    let at = store.unix_seconds();
    Orders::submits(store, cluster).give(Order::Submit(launch), |order| {
        Ok(vec![encode(&keys::launch(launch, LaunchFact::Offered), &Offered { order, attempt, at })?])
    })
}

/// Whether a launch waits to be fetched, or is with a gateway that fetched it. One that waits for long is not offered anew as
/// long as its order stands: it would lose its place to those that came later.
pub(super) fn is_offered<P: Store + Clock>(
    store: &P,
    cluster: &ClusterName,
    launch: LaunchId,
) -> Result<bool, StoreError> {
    let Some(offered) = Ledger(store).launch(launch).offered()? else { return Ok(false) };
    let young = store.unix_seconds() < offered.at.saturating_add(OFFER_SECONDS);
    Ok(young || !asks(store, cluster)? || Orders::submits(store, cluster).stands(offered.order)?)
}

/// Whether a cluster asks for what it is to do.
pub(super) fn asks<P: Store + Clock>(store: &P, cluster: &ClusterName) -> Result<bool, StoreError> {
    let now = store.unix_seconds();
    Ok(Ledger(store).heard(cluster)?.is_some_and(|heard| now < heard.at.saturating_add(ASKS_SECONDS)))
}

/// Orders a cluster to cancel a launch, unless the last order to do so stands.
pub(super) fn order_cancel<P: Store + Clock>(
    store: &P,
    cluster: &ClusterName,
    launch: LaunchId,
) -> Result<(), StoreError> {
    let orders = Orders::cancels(store, cluster);
    if let Some(number) = Ledger(store).launch(launch).cancelling()?
        && orders.stands(number)?
    {
        return Ok(());
    }
    orders
        .give(Order::Cancel(launch), |number| Ok(vec![encode(&keys::launch(launch, LaunchFact::Cancelling), &number)?]))
}
