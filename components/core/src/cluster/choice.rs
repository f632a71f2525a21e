//! In which order a job's clusters are tried.

use gha_slurm_protocol::identity::{ClusterName, JobId};
use gha_slurm_protocol::resources::Resources;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Clusters;
use crate::ledger::Ledger;
use crate::ports::{Clock, Store, StoreError};

/// Where the launches of a profile may go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// The clusters; none means the first that is configured.
    pub clusters: Vec<ClusterName>,
    /// Which of them.
    pub choose: Choose,
    /// By [`Choose::Weight`], a weight for each.
    pub weights: Vec<u32>,
}

/// By what a cluster is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Choose {
    /// The first that is not silent.
    #[default]
    Order,
    /// Each gets its share of the jobs.
    Weight,
    /// The one with the fewest jobs in its queue, as its gateways last said.
    Shortest,
}

/// Why a job goes to no cluster.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum NoCluster {
    /// A profile names one that is not configured.
    #[error("the variable clusters has no cluster {0}, which the profile names")]
    Unknown(ClusterName),
    /// It asks for more than any of them has.
    #[error("the job asks for more than a launch may have at {0}: see the limits in the variable clusters")]
    TooMuch(String),
    /// How long the queues are is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Placement {
    /// The clusters of a job in the order in which they are tried; empty where the one cluster needs no name.
    pub fn order<P: Store + Clock>(
        &self,
        store: &P,
        clusters: &Clusters,
        job: JobId,
        asked: &Resources,
    ) -> Result<Vec<ClusterName>, NoCluster> {
        let all: Vec<ClusterName> = match (self.clusters.is_empty(), clusters.first()) {
            (true, Some(first)) => vec![first.name.clone()],
            _ => self.clusters.clone(),
        };
        let mut fit = Vec::with_capacity(all.len());
        for (index, name) in all.iter().enumerate() {
            let cluster = clusters.get(name).ok_or_else(|| NoCluster::Unknown(name.clone()))?;
            if cluster.limits.allow(asked) {
                fit.push((name.clone(), self.weights.get(index).copied().unwrap_or(1)));
            }
        }
        if fit.is_empty() {
            let names: Vec<&str> = all.iter().map(ClusterName::as_str).collect();
            return Err(NoCluster::TooMuch(names.join(", ")));
        }
        match self.choose {
            _ if fit.len() == 1 => {}
            Choose::Order => {}
            Choose::Weight => by_weight(&mut fit, job),
            Choose::Shortest => {
                let names: Vec<ClusterName> = fit.iter().map(|(name, _)| name.clone()).collect();
                let heard = Ledger(store).heard_of(&names)?;
                let mut lengths: Vec<_> = fit.into_iter().zip(heard).collect();
                // What nobody tells of may be long. The sort keeps the order of those that are alike.
                lengths.sort_by_key(|(_, heard)| {
                    heard.as_ref().and_then(|heard| heard.queue()).map_or(u32::MAX, |queue| queue.pending)
                });
                fit = lengths.into_iter().map(|(cluster, _)| cluster).collect();
            }
        }
        // The usual one cluster is found without a name.
        let unnamed = clusters.iter().all(|cluster| cluster.name == ClusterName::default());
        Ok(if unnamed { Vec::new() } else { fit.into_iter().map(|(name, _)| name).collect() })
    }
}

/// Puts the one in front whose turn it is: by the job's ID, so that every replica chooses the same.
fn by_weight(fit: &mut [(ClusterName, u32)], job: JobId) {
    let all = fit.iter().fold(0_u64, |sum, (_, weight)| sum + u64::from(*weight));
    // Jobs of one run have neighbouring IDs.
    let mut turn = (job.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % all.max(1);
    for index in 0..fit.len() {
        let weight = fit.get(index).map_or(0, |(_, weight)| u64::from(*weight));
        if turn < weight {
            fit.rotate_left(index);
            return;
        }
        turn -= weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Definitions;
    use crate::ledger::Heard;
    use crate::testing::Memory;
    use gha_slurm_protocol::exchange::QueueLength;

    fn clusters() -> Clusters {
        let one = |name: &str, more: &str| {
            let digest = name.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
            format!("[[cluster]]\nname = '{name}'\nreach = 'fetch'\nsecret_sha256 = '{digest:0>64}'\n{more}\n")
        };
        let text = one("alps", "limits = { cpus = 8 }") + &one("eiger", "") + &one("tave", "");
        Definitions::parse(&text, 3).unwrap().without_gateways()
    }

    fn placed(platform: &Memory, placement: &Placement, job: u64, cpus: Option<&str>) -> Result<String, NoCluster> {
        let asked = Resources { cpus: cpus.and_then(|cpus| cpus.parse().ok()), ..Resources::default() };
        let order = placement.order(platform, &clusters(), JobId(job), &asked)?;
        Ok(order.iter().map(ClusterName::as_str).collect::<Vec<_>>().join(" "))
    }

    fn placement(choose: Choose, weights: &[u32]) -> Placement {
        let clusters = ["alps", "eiger"].map(|name| name.parse().unwrap()).to_vec();
        Placement { clusters, choose, weights: weights.to_vec() }
    }

    #[test]
    fn in_order_and_past_those_that_are_too_small() {
        let platform = Memory::new();
        let placed = |placement: &Placement, cpus| placed(&platform, placement, 1, cpus);
        assert_eq!(placed(&placement(Choose::Order, &[]), Some("8")).as_deref(), Ok("alps eiger"));
        assert_eq!(placed(&placement(Choose::Order, &[]), Some("9")).as_deref(), Ok("eiger"));
        assert_eq!(placed(&Placement::default(), None).as_deref(), Ok("alps"));
        let small = Placement { clusters: vec!["alps".parse().unwrap()], ..Placement::default() };
        assert_eq!(placed(&small, Some("9")), Err(NoCluster::TooMuch("alps".to_owned())));
        let unknown = Placement { clusters: vec!["x".parse().unwrap()], ..Placement::default() };
        assert_eq!(placed(&unknown, None), Err(NoCluster::Unknown("x".parse().unwrap())));
    }

    #[test]
    fn by_weight_each_gets_its_share() {
        let platform = Memory::new();
        let first = |job| placed(&platform, &placement(Choose::Weight, &[3, 1]), job, None).unwrap();
        let alps = (1..=4000).filter(|job| first(40_000_000_000 + job) == "alps eiger").count();
        assert!((2850..=3150).contains(&alps), "{alps} of 4000");
    }

    #[test]
    fn by_its_queue_the_shortest_comes_first_and_the_unknown_last() {
        let platform = Memory::new();
        let shortest = placement(Choose::Shortest, &[]);
        let hear = |name: &str, pending| {
            let heard = Heard::default().with("login1", Some(QueueLength { pending, running: 0 }), 1);
            Ledger(&platform).record_heard(&name.parse().unwrap(), &heard).unwrap();
        };
        assert_eq!(placed(&platform, &shortest, 1, None).as_deref(), Ok("alps eiger"));
        hear("eiger", 900);
        assert_eq!(placed(&platform, &shortest, 1, None).as_deref(), Ok("eiger alps"));
        hear("alps", 1);
        assert_eq!(placed(&platform, &shortest, 1, None).as_deref(), Ok("alps eiger"));
    }
}
