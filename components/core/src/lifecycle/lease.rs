//! Handing launches to a gateway that fetches.
//!
//! Each launch is handed out under a lease: for that time, and as long as clocks may differ beyond it, no other gateway of
//! the cluster gets it. A lease that ran out without a report is given again, with the word that somebody may have submitted
//! it. A launch that nothing needs any more is not handed out, whatever was true when it was offered.

use std::time::Duration;

use gha_slurm_protocol::exchange::{Leased as Lease, MOST_LAUNCHES, Orders as Handed};
use gha_slurm_protocol::identity::{ClusterName, JobId, LaunchId};
use gha_slurm_protocol::secret::Secret;

use super::submit::{Destination, start_of};
use super::{Fault, Need};
use crate::cluster::Reach;
use crate::launch_token::CLOCK_TOLERANCE_SECONDS;
use crate::ledger::{
    Asking, Claim, FailureKind, Heard, Leased, Ledger, Numbered, OnTheWay, Open, Order, Orders, Stops,
};
use crate::ports::{Platform, Random, StoreError};

/// How long a gateway has for a launch, in seconds.
pub const LEASE_SECONDS: u64 = 120;
/// An order to cancel is repeated so often until it is reported as carried out.
const CANCEL_AGAIN_SECONDS: u64 = 60;
/// So long an order to cancel is for the gateway alone that had the launch. After that it is known whether that one asks.
const HOLDER_SECONDS: u64 = 60 + CLOCK_TOLERANCE_SECONDS;
/// So many orders are looked at in one step.
const WINDOW: usize = 128;
/// So many are looked at for one request.
const PAGE: usize = 8 * WINDOW;
/// So many orders to cancel go out at once.
const MOST_CANCELLATIONS: usize = 256;

/// Who asks for launches.
#[derive(Debug, Clone, Copy)]
pub struct Leaser<'a> {
    /// Its cluster.
    pub cluster: &'a ClusterName,
    /// The cluster's secret, which it gave: the keys of its launch tokens are derived from it.
    pub secret: &'a Secret,
    /// Its own name.
    pub gateway: &'a str,
    /// Which gateways of the cluster ask.
    pub heard: &'a Heard,
}

/// What is to be done with an order.
enum Verdict {
    /// Nothing, now or ever.
    Done,
    /// Nothing now.
    Later,
    Launch(Box<Lease>),
    Cancel(LaunchId),
}

/// Hands a gateway what its cluster is to do: what is to be cancelled, and launches, as many as it has room for. `asking` is
/// what is known of its cluster.
pub fn hand_out<P: Platform>(
    platform: &P,
    destination: &Destination,
    leaser: Leaser<'_>,
    asking: &Asking,
    room: u32,
) -> Result<Handed, Fault> {
    let room = usize::try_from(room).unwrap_or(usize::MAX).min(MOST_LAUNCHES);
    let mut handing = Handing { platform, destination, leaser, room, handed: Handed::default(), fault: None };
    // Of cancels each has the same chance, because those in front may wait for a gateway that is away. Launches go out in
    // their order.
    let first = some_page(platform, asking.cancels.count());
    for (orders, open, first) in [
        (Orders::cancels(platform, leaser.cluster), &asking.cancels, first),
        (Orders::submits(platform, leaser.cluster), &asking.submits, 0),
    ] {
        if let Err(error) = handing.go_through(&orders, open, first) {
            handing.fault = Some(error.into());
        }
    }
    let Handing { handed, fault, .. } = handing;
    // A hint, for which nothing that was leased is kept back.
    let asked = if handed.cancel.is_empty() { Ok(()) } else { Ledger(platform).record_all_asked(&handed.cancel) };
    match asked.map_err(Fault::from).err().or(fault) {
        Some(fault) if handed.launches.is_empty() && handed.cancel.is_empty() => Err(fault),
        _ => Ok(handed),
    }
}

/// Where to begin in a list that is longer than what one request looks at.
fn some_page(random: &impl Random, count: usize) -> usize {
    let pages = count.div_ceil(PAGE);
    if pages <= 1 {
        return 0;
    }
    let mut bytes = [0; 4];
    random.fill(&mut bytes);
    let pages = u64::from(u32::try_from(pages).unwrap_or(u32::MAX));
    let page = (u64::from(u32::from_le_bytes(bytes)) * pages) >> u32::BITS;
    usize::try_from(page).unwrap_or(0).saturating_mul(PAGE)
}

/// What is handed out for one request.
struct Handing<'a, P> {
    platform: &'a P,
    destination: &'a Destination,
    leaser: Leaser<'a>,
    room: usize,
    handed: Handed,
    fault: Option<Fault>,
}

impl<P: Platform> Handing<'_, P> {
    /// Goes through a page of a list, from its order of that index on.
    fn go_through(&mut self, orders: &Orders<'_, P>, open: &Open, first: usize) -> Result<(), StoreError> {
        let ledger = Ledger(self.platform);
        let (mut looked, mut done): (Vec<Numbered>, Vec<i64>) = (Vec::new(), Vec::new());
        let mut numbers = open.numbers().skip(first).take(PAGE);
        loop {
            let window: Vec<i64> = numbers.by_ref().take(WINDOW).collect();
            if window.is_empty() || self.destination.late(self.platform) {
                break;
            }
            let some = orders.read(&window)?;
            let given: Vec<(i64, Order)> =
                some.iter().filter_map(|(number, order)| Some((*number, (*order)?))).collect();
            let launches: Vec<LaunchId> = given.iter().map(|(_, order)| order.launch()).collect();
            for (order, known) in given.into_iter().zip(ledger.on_the_way(&launches)?) {
                // One whose facts cannot be read, which the console and the metrics tell of, keeps no other from its turn.
                if let Ok(known) = known {
                    done.extend(self.judge(order, &known).then_some(order.0));
                }
            }
            looked.extend(some);
            // Where there is no room, little is looked up of what is to be submitted.
            if orders.wait_for_room() && self.is_full() {
                break;
            }
        }
        // Only from the beginning on is it known which were not looked at.
        orders.forget(open, if first == 0 { &looked } else { &[] }, &done)
    }

    fn is_full(&self) -> bool {
        self.handed.launches.len() >= self.room || self.destination.late(self.platform)
    }

    /// Hands out what an order is about, if it is time for it. Returns whether the order is done.
    fn judge(&mut self, order: (i64, Order), known: &OnTheWay) -> bool {
        let full = self.is_full();
        let handed = &mut self.handed;
        match look(self.platform, self.destination, self.leaser, order, known, full) {
            Ok(Verdict::Done) => return true,
            Ok(Verdict::Later) => {}
            Ok(Verdict::Launch(lease)) => handed.launches.push(*lease),
            Ok(Verdict::Cancel(launch)) => {
                if handed.cancel.len() < MOST_CANCELLATIONS && !handed.cancel.contains(&launch) {
                    handed.cancel.push(launch);
                }
            }
            // Nor does a failure keep another from its turn.
            Err(error) => self.fault = Some(error),
        }
        false
    }
}

/// Keeps in mind which clusters may have orders, for when they are not configured any more.
pub fn remember_clusters<P: Platform>(platform: &P, destination: &Destination) -> Result<Vec<ClusterName>, StoreError> {
    let ledger = Ledger(platform);
    let mut all = ledger.clusters_with_orders()?;
    let fetch = destination.clusters.iter().filter(|cluster| matches!(cluster.reach, Reach::Fetch));
    let new: Vec<ClusterName> =
        fetch.map(|cluster| &cluster.name).filter(|name| !all.contains(name)).cloned().collect();
    if !new.is_empty() {
        all.extend(new);
        ledger.record_clusters_with_orders(&all)?;
    }
    Ok(all)
}

/// Forgets the orders of jobs that were deleted: a cluster that asks no more does nothing about its own, whether it is silent,
/// was renamed or is called by now.
pub fn trim_orders<P: Platform>(platform: &P, destination: &Destination) -> Result<(), Fault> {
    let remembered = remember_clusters(platform, destination)?;
    let mut names = remembered.clone();
    names.extend(destination.clusters.iter().map(|cluster| cluster.name.clone()));
    names.sort();
    names.dedup();
    let mut left = Vec::new();
    for name in names {
        let mut empty = true;
        for orders in Orders::all(platform, &name) {
            empty &= trim_list(platform, destination, &orders)?;
        }
        let fetches = destination.clusters.get(&name).is_some_and(|cluster| matches!(cluster.reach, Reach::Fetch));
        if remembered.contains(&name) && (fetches || !empty) {
            left.push(name);
        }
    }
    if left.len() < remembered.len() {
        Ledger(platform).record_clusters_with_orders(&left)?;
    }
    Ok(())
}

/// Returns whether nothing is left.
fn trim_list<P: Platform>(platform: &P, destination: &Destination, orders: &Orders<'_, P>) -> Result<bool, Fault> {
    let open = orders.open()?;
    let (mut looked, mut done): (Vec<Numbered>, Vec<i64>) = (Vec::new(), Vec::new());
    let mut numbers = open.numbers();
    loop {
        let window: Vec<i64> = numbers.by_ref().take(WINDOW).collect();
        if window.is_empty() || destination.late(platform) {
            break;
        }
        let some = orders.read(&window)?;
        let given: Vec<(i64, Order)> = some.iter().filter_map(|(number, order)| Some((*number, (*order)?))).collect();
        let jobs: Vec<JobId> = given.iter().map(|(_, order)| order.launch().job).collect();
        for ((number, _), view) in given.iter().zip(Ledger(platform).views(&jobs)?) {
            done.extend(view.requested.is_none().then_some(*number));
        }
        looked.extend(some);
    }
    orders.forget(&open, &looked, &done)?;
    Ok(orders.open()?.is_empty())
}

fn look<P: Platform>(
    platform: &P,
    destination: &Destination,
    leaser: Leaser<'_>,
    (number, order): (i64, Order),
    known: &OnTheWay,
    full: bool,
) -> Result<Verdict, Fault> {
    let now = platform.unix_seconds();
    match order {
        Order::Cancel(launch) => cancel(platform, leaser, launch, known),
        Order::Submit(_) if known.is_settled() => Ok(Verdict::Done),
        // A later attempt, or a second one of two that offered it at once, stands elsewhere in the list.
        Order::Submit(_) if known.offered.as_ref().is_none_or(|offered| offered.order != number) => Ok(Verdict::Done),
        Order::Submit(_) if full => Ok(Verdict::Later),
        Order::Submit(_) if is_with_another(known, leaser, now) => Ok(Verdict::Later),
        Order::Submit(launch) => lease(platform, destination, leaser, launch, known),
    }
}

/// Whether a launch is still somebody's. Who has the lease may have it again earlier than others, because it knows what it
/// does already: when the lease ran out by any clock, or at once, when it gave the launch back and that was offered anew.
fn is_with_another(known: &OnTheWay, leaser: Leaser<'_>, now: u64) -> bool {
    let Some(leased) = &known.leased else { return false };
    let ran_out = leased.at.saturating_add(LEASE_SECONDS);
    if leased.gateway == leaser.gateway {
        return now < ran_out && known.offered.as_ref().is_none_or(|offered| offered.at <= leased.at);
    }
    now < ran_out.saturating_add(CLOCK_TOLERANCE_SECONDS)
}

/// An order to cancel is for the gateway that had the launch, as long as that one asks: another one knows nothing of it.
fn cancel<P: Platform>(platform: &P, leaser: Leaser<'_>, launch: LaunchId, known: &OnTheWay) -> Result<Verdict, Fault> {
    let now = platform.unix_seconds();
    // A runner that registered while its launch was withdrawn may have a job: it ends by itself.
    if known.cancelled || known.ended || known.registered {
        return Ok(Verdict::Done);
    }
    if known.asked.is_some_and(|asked| now < asked.saturating_add(CANCEL_AGAIN_SECONDS)) {
        return Ok(Verdict::Later);
    }
    let holder = known.leased.as_ref().map_or(leaser.gateway, |leased| &leased.gateway);
    let fresh = known.given_up.is_some_and(|at| now < at.saturating_add(HOLDER_SECONDS));
    if holder != leaser.gateway && (fresh || leaser.heard.asks(holder, now)) {
        return Ok(Verdict::Later);
    }
    // Nothing is known of it any more, and so nobody could be told that it was cancelled.
    if Ledger(platform).job(launch.job).requested()?.is_none() {
        return Ok(Verdict::Done);
    }
    Ok(Verdict::Cancel(launch))
}

fn lease<P: Platform>(
    platform: &P,
    destination: &Destination,
    leaser: Leaser<'_>,
    launch: LaunchId,
    known: &OnTheWay,
) -> Result<Verdict, Fault> {
    let ledger = Ledger(platform);
    let facts = ledger.launch(launch);
    let view = ledger.job(launch.job).view()?;
    let Some(requested) = &view.requested else { return Ok(Verdict::Done) };
    if !Need(platform).needed(launch)? || Stops(platform).stopped(&requested.repository)?.is_some() {
        // It is offered again after the stop, or when its job waits again, as one does that was held back.
        if let Some(offered) = &known.offered {
            facts.submissions().record_given_up(offered.attempt)?;
        }
        facts.forget_offered()?;
        return Ok(Verdict::Done);
    }
    let leases = facts.leases();
    if let Some(leased) = &known.leased
        && leases.failure(leased.number)?.is_none()
    {
        leases.record_failed(leased.number, FailureKind::Away, "no report came before the lease ran out")?;
    }
    let lasts = Duration::from_secs(LEASE_SECONDS + CLOCK_TOLERANCE_SECONDS);
    let Claim::Won(lease) = leases.claim(lasts)? else { return Ok(Verdict::Later) };
    // A report may have come, or the launch may have been moved, since it was looked at.
    for known in ledger.on_the_way(&[launch])? {
        if known?.is_settled() {
            return Ok(Verdict::Done);
        }
    }
    let at = platform.unix_seconds();
    facts.record_leased(&Leased { gateway: leaser.gateway.to_owned(), number: lease, at })?;
    let attempt = known.offered.as_ref().map_or(1, |offered| offered.attempt);
    let start = start_of(platform, destination, launch, requested, (leaser.cluster, leaser.secret))?;
    let again = lease > 1 || attempt > 1;
    Ok(Verdict::Launch(Box::new(Lease { start, lease_seconds: LEASE_SECONDS, again })))
}
