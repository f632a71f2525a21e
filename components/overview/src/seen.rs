//! What surrounds jobs and is the same for many of them: what the operator stopped, which clusters there are, and which of
//! those are silent. In one call each is looked up once, and only if a job depends on it.

use std::collections::{HashMap, HashSet};

use gha_slurm_core::cluster::{Cluster, Clusters};
use gha_slurm_core::ledger::{Heard, JobRecord, LaunchRecord, Ledger, Stopped, Stops};
use gha_slurm_core::ports::{Clock, Store, StoreError, Variables};
use gha_slurm_protocol::identity::{ClusterName, RepositoryName};

use super::clusters::{Silence, named, written_cluster};
use super::{JobSummary, State, Why};

/// What was looked up so far.
pub(crate) struct Seen {
    clusters: Option<Clusters>,
    stops: HashMap<RepositoryName, Option<Stopped>>,
    heard: HashMap<ClusterName, Option<Heard>>,
}

impl Seen {
    /// Nothing yet. Clusters that cannot be read have no names.
    pub(crate) fn by<V: Variables>(variables: &V) -> Self {
        Self { clusters: named(variables).ok().flatten(), stops: HashMap::new(), heard: HashMap::new() }
    }

    /// The cluster of a launch of a job, where clusters have names.
    pub(crate) fn cluster_of(&self, record: &JobRecord, launch: &LaunchRecord) -> Option<ClusterName> {
        let clusters = self.clusters.as_ref()?;
        record.view.requested.as_ref()?;
        written_cluster(record, launch).or_else(|| Some(clusters.first()?.name.clone()))
    }

    /// The cluster of that name, if it is configured.
    pub(crate) fn cluster(&self, name: &ClusterName) -> Option<&Cluster> {
        self.clusters.as_ref()?.get(name)
    }

    /// Says of the jobs whose launch is not submitted what keeps all launches of their repository, or else of their
    /// cluster: a stop, a cluster that is silent.
    pub(crate) fn tell<P: Store + Clock>(&mut self, platform: &P, jobs: &mut [JobSummary]) -> Result<(), StoreError> {
        self.tell_silences(platform, jobs)?;
        self.tell_stops(platform, jobs)
    }

    fn tell_silences<P: Store + Clock>(&mut self, platform: &P, jobs: &mut [JobSummary]) -> Result<(), StoreError> {
        let offered = |job: &JobSummary| job.state == State::Offered;
        let names = jobs.iter().filter(|job| offered(job)).filter_map(|job| job.cluster.as_ref());
        let new: HashSet<&ClusterName> = names.filter(|name| !self.heard.contains_key(*name)).collect();
        if !new.is_empty() {
            let new: Vec<ClusterName> = new.into_iter().cloned().collect();
            let heard = Ledger(platform).heard_of(&new)?;
            self.heard.extend(new.into_iter().zip(heard));
        }
        let now = platform.unix_seconds();
        for job in jobs.iter_mut().filter(|job| offered(job)) {
            let Some(cluster) = job.cluster.as_ref().and_then(|name| self.cluster(name)) else { continue };
            let heard = self.heard.get(&cluster.name).and_then(Option::as_ref).map(|heard| heard.at);
            // To fetch is to be heard of, which is not always written down at once.
            let fetched = match &job.why {
                Some(Why::Fetched { at, .. }) => Some(*at),
                _ => None,
            };
            if let Some(silence) = Silence::of(cluster, heard.max(fetched), now) {
                job.why = Some(Why::ClusterSilent(silence));
            }
        }
        Ok(())
    }

    fn tell_stops<P: Store + Clock>(&mut self, platform: &P, jobs: &mut [JobSummary]) -> Result<(), StoreError> {
        let unsubmitted = |job: &JobSummary| {
            matches!(job.state, State::InLine | State::Unsubmitted | State::Offered | State::Refused)
        };
        let repositories = jobs.iter().filter(|job| unsubmitted(job)).filter_map(|job| job.repository.as_ref());
        let new: HashSet<&RepositoryName> = repositories.filter(|name| !self.stops.contains_key(*name)).collect();
        if !new.is_empty() {
            let new: Vec<&RepositoryName> = new.into_iter().collect();
            let found = Stops(platform).stopped_each(&new)?;
            self.stops.extend(new.into_iter().cloned().zip(found));
        }
        for job in jobs.iter_mut().filter(|job| unsubmitted(job)) {
            if let Some(Some(stopped)) = job.repository.as_ref().and_then(|name| self.stops.get(name)) {
                job.why = Some(Why::Stopped(*stopped));
            }
        }
        Ok(())
    }
}
