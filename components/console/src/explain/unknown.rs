//! A job that left no facts here: what GitHub says about it, compared with the profiles.

use gha_slurm_core::cluster::NoCluster;
use gha_slurm_core::github::client::{GitHubError, JobInfo, JobStatus};
use gha_slurm_core::ports::{Clock, Store, Variables};
use gha_slurm_core::profile::{Match, NotOurs, Profiles, Wanted};
use gha_slurm_core::settings::{Settings, Webhooks};
use gha_slurm_protocol::identity::{JobId, RepositoryName};
use thiserror::Error;

use super::finding::{Besides, Finding, Nearest, Polled};
use super::{Explanation, words};

/// Why GitHub says nothing about a job.
#[derive(Debug, Error)]
pub(super) enum Unasked {
    /// 404 for the installation.
    #[error("the App is not installed for the repository")]
    NotInstalled,
    /// No job and no run has the ID.
    #[error("no such job or run")]
    NoSuchJob,
    /// It could not be asked.
    #[error(transparent)]
    Failed(#[from] GitHubError),
}

/// What can be said when GitHub says nothing.
pub(super) fn without_github(repository: &RepositoryName, id: u64, why: Unasked) -> Explanation {
    let (finding, job) = match why {
        Unasked::NotInstalled => (Finding::NotInstalled(repository.clone()), None),
        Unasked::NoSuchJob => (Finding::NoSuchJob { repository: repository.clone(), id }, None),
        Unasked::Failed(error) => (Finding::NotAsked { id, error }, Some(JobId(id))),
    };
    words::explanation(&finding, &Besides::default(), job, None)
}

/// A job that GitHub knows.
pub(super) fn explain<P: Store + Clock + Variables>(
    platform: &P,
    repository: &RepositoryName,
    public: Option<bool>,
    info: &JobInfo,
) -> Explanation {
    let finding = find(platform, repository, public, info);
    words::explanation(&finding, &Besides::default(), Some(info.id), Some(info.name.clone()))
}

fn find<P: Store + Clock + Variables>(
    platform: &P,
    repository: &RepositoryName,
    public: Option<bool>,
    info: &JobInfo,
) -> Finding {
    let runner = info.runner_name.clone().filter(|name| !name.is_empty());
    match &info.status {
        JobStatus::Completed => Finding::EndedUnseen { conclusion: info.conclusion.clone(), runner },
        JobStatus::InProgress => Finding::RunsUnseen { runner },
        JobStatus::Queued => match Settings(platform).profiles() {
            Ok(profiles) => queued(platform, &profiles, repository, public, info),
            Err(error) => Finding::ProfilesUnreadable(error),
        },
        JobStatus::Held(status) => Finding::HeldByGithub { status: status.clone() },
    }
}

fn queued<P: Store + Clock + Variables>(
    platform: &P,
    profiles: &Profiles,
    repository: &RepositoryName,
    public: Option<bool>,
    info: &JobInfo,
) -> Finding {
    let labels = info.labels.clone();
    let wanted = Wanted { public, ..Wanted::of(&info.labels, repository) };
    match profiles.find(wanted) {
        Err(error @ (NotOurs::NoLabels | NotOurs::NoLabel(_))) => Finding::NoLabels { problem: error.to_string() },
        Err(NotOurs::Labels(_)) => Finding::NoProfile { nearest: nearest(profiles, info), labels },
        Err(NotOurs::Repository { profile, repository }) => {
            Finding::RepositoryNotAllowed { profile, repository, labels }
        }
        Err(NotOurs::Public { profile, repository }) => Finding::PublicNotAllowed { profile, repository },
        Err(NotOurs::Dynamic { profile, label, problem }) => Finding::LabelRefused { profile, label, problem, labels },
        Ok(found) => match unplaced(platform, &found, info.id) {
            Some(problem) => Finding::NotPlaced { profile: found.profile, problem },
            None => Finding::NoWebhook { profile: found.profile, polled: polled(platform) },
        },
    }
}

/// `None` where webhooks are received, or nothing is known.
fn polled<P: Store + Clock>(platform: &P) -> Option<Polled> {
    let arrival = gha_slurm_overview::reading(platform).ok()??;
    let ago = |at: u64| platform.unix_seconds().saturating_sub(at);
    let polled =
        Polled { read_ago: ago(arrival.read_at), newest_ago: arrival.newest_at.map(ago), behind: arrival.behind };
    (arrival.mode == Webhooks::Poll).then_some(polled)
}

/// Why no cluster takes it, as far as that can be told.
fn unplaced<P: Store + Clock + Variables>(platform: &P, found: &Match, job: JobId) -> Option<NoCluster> {
    let clusters = Settings(platform).cluster_definitions().ok()?.without_gateways();
    match found.placement.order(platform, &clusters, job, &found.resources) {
        Ok(_) | Err(NoCluster::Store(_)) => None,
        Err(problem) => Some(problem),
    }
}

fn nearest(profiles: &Profiles, info: &JobInfo) -> Nearest {
    if info.labels.is_empty() {
        return Nearest::NoLabels;
    }
    match profiles.nearest(&info.labels) {
        Some((profile, lacking)) if lacking.len() < info.labels.iter().count() => {
            Nearest::Profile { name: profile.name.clone(), labels: profile.labels.clone(), lacking }
        }
        _ => Nearest::None { names: profiles.names().map(str::to_owned).collect() },
    }
}
