//! How the clusters of a history are reached.

use gha_slurm_core::cluster::digest;
use gha_slurm_core::testing::Memory;
use proptest::prelude::*;

/// The names of clusters, in their order.
pub(crate) const CLUSTERS: [&str; 2] = ["alps", "eiger"];
/// So long a cluster of several may be silent, in minutes.
const SILENT_MINUTES: u64 = 5;

/// How a cluster is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Its gateway is called.
    Push,
    /// So many gateways of it call.
    Fetch(usize),
}

/// One cluster or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) first: Reach,
    pub(crate) second: Option<Reach>,
    /// Whether the one with the shortest queue comes first, and not the first of the list.
    pub(crate) shortest: bool,
    /// Whether webhooks are read from GitHub's list, and none is received.
    pub(crate) polled: bool,
}

impl Setup {
    /// What an application has of which nothing is said.
    pub(crate) const PUSHED: Self = Self { first: Reach::Push, second: None, shortest: false, polled: false };
    /// One cluster with one gateway that fetches.
    pub(crate) const FETCHED: Self = Self { first: Reach::Fetch(1), ..Self::PUSHED };

    pub(crate) fn clusters(self) -> Vec<Reach> {
        [Some(self.first), self.second].into_iter().flatten().collect()
    }

    /// The cluster whose gateway is called.
    pub(crate) fn pushed(self) -> Option<usize> {
        self.clusters().iter().position(|reach| *reach == Reach::Push)
    }

    /// Sets the variables; `limit` is the profile's.
    pub(crate) fn configure(self, platform: &Memory, limit: Option<u32>) {
        let mut profile = "[[profile]]\nname = 'all'\nlabels = ['self-hosted', 'slurm']\n".to_owned();
        if let Some(limit) = limit {
            profile += &format!("max_running = {limit}\n");
        }
        if self.second.is_some() {
            let choose = if self.shortest { "shortest" } else { "order" };
            profile += &format!("clusters = ['alps', 'eiger']\nchoose = '{choose}'\n");
        }
        platform.set_variable("profiles", Some(&profile));
        if self.polled {
            platform.set_variable("webhooks", Some("poll"));
        }
        if (Self { polled: false, ..self }) == Self::PUSHED {
            return;
        }
        let one = |(name, reach): (&str, Reach)| {
            let way = match reach {
                Reach::Push => "reach = 'push'".to_owned(),
                Reach::Fetch(_) => format!("reach = 'fetch'\nsecret_sha256 = '{}'", digest(&secret(name))),
            };
            format!("[[cluster]]\nname = '{name}'\n{way}\nsilent_after_minutes = {SILENT_MINUTES}\n")
        };
        let clusters: String = CLUSTERS.into_iter().zip(self.clusters()).map(one).collect();
        platform.set_variable("clusters", Some(&clusters));
    }
}

/// The secret of a cluster's gateways.
pub(crate) fn secret(cluster: &str) -> String {
    format!("the-secret-of-the-cluster-{cluster}-0123456789")
}

/// Clusters of which at least one fetches.
pub(crate) fn fetching() -> impl Strategy<Value = Setup> {
    let fetch = || (1..=2usize).prop_map(Reach::Fetch);
    let two = prop_oneof![
        fetch().prop_map(|fetch| (Reach::Push, fetch)),
        fetch().prop_map(|fetch| (fetch, Reach::Push)),
        (fetch(), fetch()),
    ];
    prop_oneof![
        fetch().prop_map(|first| Setup { first, ..Setup::PUSHED }),
        (two, any::<bool>()).prop_map(|((first, second), shortest)| Setup {
            first,
            second: Some(second),
            shortest,
            ..Setup::PUSHED
        }),
    ]
}
