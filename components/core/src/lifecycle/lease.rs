//! Handing launches to a gateway that fetches.
//!
//! Each launch is handed out under a lease: for that time no other gateway of the cluster gets it. A lease that ran out
//! without a report is given again, with the word that somebody may have submitted it. A launch that nothing needs any more
//! is not handed out, whatever was true when it was offered.

use std::time::Duration;

use gha_slurm_protocol::exchange::{Leased as Lease, MOST_LAUNCHES, Orders as Handed};
use gha_slurm_protocol::identity::{ClusterName, LaunchId};
use gha_slurm_protocol::secret::Secret;

use super::submit::{Destination, start_of};
use super::{Fault, Need};
use crate::ledger::{Claim, FailureKind, Heard, Leased, Ledger, Numbered, OnTheWay, Order, Orders, Stops};
use crate::ports::Platform;

/// How long a gateway has for a launch, in seconds.
pub const LEASE_SECONDS: u64 = 120;
/// An order to cancel is repeated so often until it is reported as carried out.
const CANCEL_AGAIN_SECONDS: u64 = 60;
/// A gateway that fetched so lately still does.
const FETCHES_SECONDS: u64 = 2 * 60;
/// So many orders are looked at in one step.
const WINDOW: i64 = 128;
/// So many are looked at for one request.
const MOST_WINDOWS: usize = 8;
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
    /// The gateways of its cluster that fetched lately.
    pub heard: Option<&'a Heard>,
}

impl Leaser<'_> {
    /// Whether something is for another gateway of the cluster, of this name.
    fn leaves_to(self, gateway: &str, now: u64) -> bool {
        let fetches = |heard: &Heard| {
            let one = heard.gateways.iter().find(|one| one.name == gateway);
            one.is_some_and(|one| now < one.at.saturating_add(FETCHES_SECONDS))
        };
        gateway != self.gateway && self.heard.is_some_and(fetches)
    }
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

/// Hands a gateway what its cluster is to do: launches, as many as it has room for, and what is to be cancelled. `open` are
/// the numbers of the orders that may be open.
pub fn hand_out<P: Platform>(
    platform: &P,
    destination: &Destination,
    leaser: Leaser<'_>,
    open: std::ops::RangeInclusive<i64>,
    room: u32,
) -> Result<Handed, Fault> {
    let room = usize::try_from(room).unwrap_or(usize::MAX).min(MOST_LAUNCHES);
    let orders = Orders::of(platform, leaser.cluster);
    let mut handed = Handed::default();
    let (mut looked, mut done): (Vec<Numbered>, Vec<i64>) = (Vec::new(), Vec::new());
    let (mut from, last) = open.into_inner();
    let mut fault = None;
    for _ in 0..MOST_WINDOWS {
        if from > last || destination.late(platform) {
            break;
        }
        let some = orders.read(from..=last.min(from + WINDOW - 1))?;
        let launches: Vec<LaunchId> = some.iter().filter_map(|(_, order)| Some((*order)?.launch())).collect();
        let mut known = Ledger(platform).on_the_way(&launches)?.into_iter();
        for (number, order) in &some {
            let Some(order) = order else { continue };
            let Some(known) = known.next() else { break };
            let full = handed.launches.len() >= room;
            match look(platform, destination, leaser, (*number, *order), &known, full) {
                Ok(Verdict::Done) => done.push(*number),
                Ok(Verdict::Later) => {}
                Ok(Verdict::Launch(lease)) => handed.launches.push(*lease),
                Ok(Verdict::Cancel(launch)) if handed.cancel.len() < MOST_CANCELLATIONS => handed.cancel.push(launch),
                Ok(Verdict::Cancel(_)) => {}
                // What cannot be read must not keep those behind it from their turn.
                Err(error) => fault = Some(error),
            }
        }
        from += WINDOW;
        looked.extend(some);
    }
    Ledger(platform).record_all_asked(&handed.cancel)?;
    orders.forget(&looked, &done)?;
    match fault {
        Some(fault) if handed.launches.is_empty() && handed.cancel.is_empty() => Err(fault),
        _ => Ok(handed),
    }
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
        Order::Cancel(_) if known.cancelled => Ok(Verdict::Done),
        Order::Cancel(_) if known.asked.is_some_and(|asked| now < asked.saturating_add(CANCEL_AGAIN_SECONDS)) => {
            Ok(Verdict::Later)
        }
        // Only the gateway that had the launch knows its Slurm job, as long as there is that one.
        Order::Cancel(_) if known.leased.as_ref().is_some_and(|leased| leaser.leaves_to(&leased.gateway, now)) => {
            Ok(Verdict::Later)
        }
        Order::Cancel(launch) => Ok(Verdict::Cancel(launch)),
        Order::Submit(_) if known.is_settled() => Ok(Verdict::Done),
        // A later attempt, or a second one of two that offered it at once, stands elsewhere in the list.
        Order::Submit(_) if known.offered.as_ref().is_none_or(|offered| offered.order != number) => Ok(Verdict::Done),
        Order::Submit(_) if full => Ok(Verdict::Later),
        Order::Submit(_) if known.leased.as_ref().is_some_and(|leased| now < lease_end(leased)) => Ok(Verdict::Later),
        Order::Submit(launch) => lease(platform, destination, leaser, launch, known),
    }
}

/// When a lease runs out, in seconds of Unix time.
fn lease_end(leased: &Leased) -> u64 {
    leased.at.saturating_add(LEASE_SECONDS)
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
    if !Need(platform).needed(launch)? {
        // Should its job wait again, as one that was held back does, it is offered again.
        facts.forget_offered()?;
        return Ok(Verdict::Done);
    }
    if Stops(platform).stopped(&requested.repository)?.is_some() {
        return Ok(Verdict::Later);
    }
    let leases = facts.leases();
    if let Some(leased) = &known.leased {
        leases.record_failed(leased.number, FailureKind::Away, "no report came before the lease ran out")?;
    }
    let Claim::Won(lease) = leases.claim(Duration::from_secs(LEASE_SECONDS))? else { return Ok(Verdict::Later) };
    // A report may have come, or the launch may have been moved, since it was looked at.
    if ledger.on_the_way(&[launch])?.iter().any(OnTheWay::is_settled) {
        return Ok(Verdict::Done);
    }
    let at = platform.unix_seconds();
    facts.record_leased(&Leased { gateway: leaser.gateway.to_owned(), number: lease, at })?;
    let attempt = known.offered.as_ref().map_or(1, |offered| offered.attempt);
    let start = start_of(platform, destination, launch, requested, (leaser.cluster, leaser.secret))?;
    let again = lease > 1 || attempt > 1;
    Ok(Verdict::Launch(Box::new(Lease { start, lease_seconds: LEASE_SECONDS, again })))
}
