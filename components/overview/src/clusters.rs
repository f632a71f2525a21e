//! The Slurm clusters: how each is reached, when it was last heard of, and what waits for it.
//!
//! A cluster whose gateway is called shows by its answers whether it is there. One whose gateways ask is silent when they
//! do not, and nothing else tells of it.

use std::fmt;

use gha_slurm_core::cluster::{Cluster, Clusters, How, Reach, SILENT_SECONDS};
use gha_slurm_core::ledger::{Heard, JobRecord, LaunchRecord, Ledger, LostReason};
use gha_slurm_core::ports::{Clock, Store, StoreError, Variables};
use gha_slurm_core::settings::{SettingError, Settings};
use gha_slurm_protocol::exchange::QueueLength;
use gha_slurm_protocol::identity::ClusterName;
use serde::Serialize;

use super::State;
use super::rows::Row;

/// A cluster. Times are Unix times in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClusterSummary {
    /// Its name.
    pub cluster: ClusterName,
    /// How it is reached: `push`, its gateway is called; `fetch`, its gateways ask.
    pub reach: How,
    /// When one of its gateways last asked, or the one that is called last took a launch; null if never. It is written down
    /// now and then, so it may be 20 s behind, and a minute where the gateway is called.
    pub heard_at: Option<u64>,
    /// Whether its gateways should ask, and have not done so for two minutes.
    pub silent: bool,
    /// How long it may be silent before launches that it has not submitted go to another cluster, in seconds.
    pub silent_after: u64,
    /// How many jobs wait for it to take their launch.
    pub waiting: u64,
    /// How many Slurm jobs of ours it has, as its gateways last said; null if they do not say.
    pub queue: Option<QueueLength>,
    /// Its gateways that asked lately, the last one first; empty where the gateway is called.
    pub gateways: Vec<GatewaySummary>,
}

/// A gateway that asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GatewaySummary {
    /// Its own name.
    pub gateway: String,
    /// When it last asked, as a Unix time in seconds.
    pub heard_at: u64,
    /// How many Slurm jobs of ours it said that it has; null if it does not say.
    pub queue: Option<QueueLength>,
}

/// A cluster whose gateways should ask, and do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// The cluster.
    pub cluster: ClusterName,
    /// For how many seconds; `None` if none of them ever asked.
    pub seconds: Option<u64>,
}

impl Silence {
    /// Of a cluster that was last heard of then, if it is silent.
    pub(crate) fn of(cluster: &Cluster, heard_at: Option<u64>, now: u64) -> Option<Self> {
        let seconds = heard_at.map(|at| now.saturating_sub(at));
        let silent = matches!(cluster.reach, Reach::Fetch) && seconds.is_none_or(|seconds| seconds >= SILENT_SECONDS);
        silent.then(|| Self { cluster: cluster.name.clone(), seconds })
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, seconds } = self;
        match seconds {
            None => write!(f, "cluster {cluster} has never asked for launches"),
            Some(seconds @ ..7200) => write!(f, "cluster {cluster} has not asked for {} min", seconds / 60),
            Some(seconds @ 7200..172_800) => write!(f, "cluster {cluster} has not asked for {} h", seconds / 3600),
            Some(seconds) => write!(f, "cluster {cluster} has not asked for {} d", seconds / 86_400),
        }
    }
}

/// The clusters that the variable `clusters` names; `None` where it names none, and the one cluster needs no name.
pub fn named<V: Variables>(variables: &V) -> Result<Option<Clusters>, SettingError> {
    let definitions = Settings(variables).cluster_definitions()?;
    Ok(definitions.have_names().then(|| definitions.without_gateways()))
}

/// Whether the gateways of a cluster should ask, and do not.
pub fn silence<P: Store + Clock + Variables>(platform: &P, name: &ClusterName) -> Result<Option<Silence>, StoreError> {
    let Some(clusters) = named(platform).ok().flatten() else { return Ok(None) };
    let Some(cluster) = clusters.get(name) else { return Ok(None) };
    let heard = Ledger(platform).heard(name)?.map(|heard| heard.at);
    Ok(Silence::of(cluster, heard, platform.unix_seconds()))
}

/// The cluster that a launch is for, as its job's facts say; `None` where its job needed none by name.
pub(crate) fn written_cluster(record: &JobRecord, launch: &LaunchRecord) -> Option<ClusterName> {
    let all = &record.view.requested.as_ref()?.clusters;
    let moved = |before: &&LaunchRecord| before.lost.as_ref().is_some_and(|lost| lost.reason == LostReason::Moved);
    match all.as_slice() {
        [] => None,
        [only] => Some(only.clone()),
        several => launch.cluster.clone().or_else(|| {
            let before = record.launches.iter().take_while(|before| before.id != launch.id);
            several.iter().cycle().nth(before.filter(moved).count()).cloned()
        }),
    }
}

/// The clusters, in the order of the configuration; `rows` are the jobs.
pub fn summaries<P: Store + Clock>(
    platform: &P,
    clusters: &Clusters,
    rows: &[Row],
) -> Result<Vec<ClusterSummary>, StoreError> {
    let names: Vec<ClusterName> = clusters.iter().map(|cluster| cluster.name.clone()).collect();
    let heard = Ledger(platform).heard_of(&names)?;
    let now = platform.unix_seconds();
    let waits = |row: &&Row| matches!(row.state, State::Offered | State::Unsubmitted | State::Refused);
    Ok(clusters
        .iter()
        .zip(heard)
        .map(|(cluster, heard)| {
            let waiting = rows.iter().filter(waits).filter(|row| *row.cluster == *cluster.name.as_str()).count();
            ClusterSummary::of(cluster, heard.as_ref(), u64::try_from(waiting).unwrap_or(u64::MAX), now)
        })
        .collect())
}

impl ClusterSummary {
    fn of(cluster: &Cluster, heard: Option<&Heard>, waiting: u64, now: u64) -> Self {
        let heard_at = heard.map(|heard| heard.at);
        let (reach, gateways) = match cluster.reach {
            Reach::Fetch => (How::Fetch, heard.map(|heard| heard.gateways.as_slice()).unwrap_or_default()),
            Reach::Push(_) | Reach::Elsewhere => (How::Push, &[][..]),
        };
        let gateway = |one: &gha_slurm_core::ledger::HeardGateway| GatewaySummary {
            gateway: one.name.clone(),
            heard_at: one.at,
            queue: one.queue,
        };
        Self {
            cluster: cluster.name.clone(),
            reach,
            heard_at,
            silent: Silence::of(cluster, heard_at, now).is_some(),
            silent_after: cluster.silent_after,
            waiting,
            queue: heard.filter(|_| !gateways.is_empty()).and_then(Heard::queue),
            gateways: gateways.iter().map(gateway).collect(),
        }
    }
}
