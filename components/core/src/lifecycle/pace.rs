//! How many calls of the gateway are on the way at once.
//!
//! After an outage everything that waited comes at once. One after the other that takes minutes; all together it drowns
//! the gateway, or the Slurm behind it. So a run begins with some, goes wider while all goes well, and halves what it
//! sends when the gateway has enough.

use gha_slurm_protocol::identity::ClusterName;

use super::Fault;
use super::progress::{Delay, Progress};
use crate::cluster::{Clusters, Reach};
use crate::ledger::FailureKind;

const FIRST_WIDTH: usize = 16;
const WIDEST: usize = 32;
/// A webhook has a few seconds.
const OF_A_WEBHOOK: usize = 4;
/// So many rounds of nothing but failures, and the gateway is away for this run.
const LOST_ROUNDS: u32 = 2;

/// The pace of one run, for the gateway of each cluster by itself: one that is away holds up no other.
#[derive(Debug)]
pub struct Pace {
    first: usize,
    widest: usize,
    gateways: Vec<(ClusterName, OfGateway)>,
}

#[derive(Debug, Clone, Copy)]
struct OfGateway {
    width: usize,
    lost_rounds: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { first: FIRST_WIDTH, widest: WIDEST, gateways: Vec::new() }
    }
}

impl Pace {
    /// That of a webhook, which is to be answered first of all.
    pub fn of_a_webhook() -> Self {
        Self { first: OF_A_WEBHOOK, widest: OF_A_WEBHOOK, gateways: Vec::new() }
    }

    /// How many may be on the way at once to all gateways together.
    pub fn widest(&self) -> usize {
        self.widest
    }

    /// How many may be on the way at once to the gateway of a cluster.
    pub fn width(&self, cluster: &ClusterName) -> usize {
        self.of(cluster).map_or(self.first, |gateway| gateway.width)
    }

    /// Whether a cluster's gateway is away, as far as this run is concerned.
    pub fn stopped(&self, cluster: &ClusterName) -> bool {
        self.of(cluster).is_some_and(|gateway| gateway.lost_rounds >= LOST_ROUNDS)
    }

    /// Whether all gateways that are called are away.
    pub(super) fn all_stopped(&self, clusters: &Clusters) -> bool {
        clusters.iter().all(|cluster| matches!(cluster.reach, Reach::Push(_)) && self.stopped(&cluster.name))
    }

    /// Learns from the results of one round.
    pub(super) fn observe<'a>(&mut self, round: impl Iterator<Item = (&'a ClusterName, &'a Result<Progress, Fault>)>) {
        let mut calls: Vec<(&ClusterName, usize, usize)> = Vec::new();
        for (cluster, result) in round {
            let away = matches!(
                result,
                Ok(Progress::Deferred(_, Delay::Failed(failure))) if failure.kind == FailureKind::Away
            );
            match calls.iter_mut().find(|(name, ..)| *name == cluster) {
                Some((_, all, failed)) => (*all, *failed) = (*all + 1, *failed + usize::from(away)),
                None => calls.push((cluster, 1, usize::from(away))),
            }
        }
        for (cluster, all, failed) in calls {
            self.learn(cluster, all, failed);
        }
    }

    fn of(&self, cluster: &ClusterName) -> Option<&OfGateway> {
        self.gateways.iter().find(|(name, _)| name == cluster).map(|(_, gateway)| gateway)
    }

    /// Learns that of so many calls of a cluster's gateway some failed because it was away or had enough.
    pub fn learn(&mut self, cluster: &ClusterName, calls: usize, failed: usize) {
        if calls == 0 {
            return;
        }
        let (first, widest) = (self.first, self.widest);
        if self.of(cluster).is_none() {
            self.gateways.push((cluster.clone(), OfGateway { width: first, lost_rounds: 0 }));
        }
        let Some((_, gateway)) = self.gateways.iter_mut().find(|(name, _)| name == cluster) else { return };
        gateway.width = if failed == 0 { widest.min(gateway.width * 2) } else { (gateway.width / 2).max(1) };
        gateway.lost_rounds = if failed == calls { gateway.lost_rounds + 1 } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_widens_while_all_goes_well_and_halves_when_the_gateway_has_enough() {
        let (mut pace, alps) = (Pace::default(), ClusterName::default());
        let other: ClusterName = "other".parse().unwrap();
        pace.learn(&alps, 16, 0);
        pace.learn(&alps, 32, 0);
        assert_eq!(pace.width(&alps), 32);
        pace.learn(&alps, 32, 1);
        assert_eq!((pace.width(&alps), pace.stopped(&alps)), (16, false));
        for _ in 0..9 {
            pace.learn(&alps, 16, 15);
        }
        assert_eq!((pace.width(&alps), pace.stopped(&alps)), (1, false));
        pace.learn(&alps, 1, 1);
        pace.learn(&alps, 1, 1);
        assert!(pace.stopped(&alps));
        assert_eq!((pace.width(&other), pace.stopped(&other)), (16, false), "another one goes on");
    }
}
