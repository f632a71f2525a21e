//! The Slurm clusters that the application serves, and which of them a launch goes to.
//!
//! A cluster is reached in one of two ways: its gateway is called ("push"), or its gateway calls, because nothing may reach
//! it from outside ("fetch"). A launch belongs to one cluster for its whole life. When that one is silent, the launch is
//! given up, its token with it, and its job gets another launch at the next cluster; so no job is ever with two.

mod choice;
mod definition;

pub use self::choice::{Choose, NoCluster, Placement};
pub use self::definition::{ClusterLimits, Definition, Definitions, How, digest};

use gha_slurm_protocol::identity::{ClusterName, LaunchId};

use crate::ledger::{Ledger, Requested};
use crate::ports::{Clock, Store, StoreError};
use crate::settings::GatewaySettings;

/// Gateways that fetch ask every few seconds, which is written down less often. A cluster that was not heard of for so long
/// is told of as silent.
pub const SILENT_SECONDS: u64 = 2 * 60;

/// A cluster, as a component sees it.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Its name.
    pub name: ClusterName,
    /// How it is reached.
    pub reach: Reach,
    /// How long it may be silent, or refuse, before what it did not submit goes to another cluster, in seconds.
    pub silent_after: u64,
    /// What one launch may ask for there.
    pub limits: ClusterLimits,
}

/// How a component reaches a cluster.
#[derive(Debug, Clone)]
pub enum Reach {
    /// It calls the gateway.
    Push(GatewaySettings),
    /// It leaves what is to be done where the gateway fetches it.
    Fetch,
    /// Another component calls the gateway; this one has not the secret for it.
    Elsewhere,
}

/// All clusters, in the order of the configuration; never empty.
#[derive(Debug, Clone)]
pub struct Clusters(Vec<Cluster>);

impl Clusters {
    pub(crate) fn new(clusters: Vec<Cluster>) -> Self {
        Self(clusters)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Cluster> {
        self.0.iter()
    }

    /// The one of that name.
    pub fn get(&self, name: &ClusterName) -> Option<&Cluster> {
        self.0.iter().find(|cluster| cluster.name == *name)
    }

    /// The one where jobs go whose profile names none: the first.
    pub fn first(&self) -> Option<&Cluster> {
        self.0.first()
    }

    /// The cluster of a launch; `None` when its name is not one of the configuration (any more).
    pub fn of_launch<P: Store + Clock>(
        &self,
        store: &P,
        launch: LaunchId,
        requested: &Requested,
    ) -> Result<Option<&Cluster>, StoreError> {
        Ok(match Ledger(store).cluster_of(launch, requested)? {
            Some(name) => self.get(&name),
            // Made when no cluster had a name.
            None => self.get(&ClusterName::default()).or_else(|| self.first()),
        })
    }
}
