//! What GitHub answers with, as far as it is read.

use std::collections::BTreeMap;
use std::fmt;

use gha_slurm_protocol::identity::{JobId, RepositoryName};
use gha_slurm_protocol::labels::LabelSet;
use gha_slurm_protocol::secret::Secret;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::identity::{InstallationId, RepositoryId, RunId, RunnerId};
use crate::policy::{Actor, Run};

/// How a call names a repository, or the organization that owns one. A repository's id outlives renames and transfers, so
/// its name is for what people ask about.
#[derive(Debug, Clone, Copy)]
pub enum At<'a> {
    /// `repositories/{id}`
    Id(RepositoryId),
    /// `repos/{owner}/{name}`
    Name(&'a RepositoryName),
    /// `orgs/{owner}`, of this repository.
    OwnerOf(&'a RepositoryName),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "repositories/{}", id.0),
            Self::Name(name) => write!(f, "repos/{name}"),
            Self::OwnerOf(name) => write!(f, "orgs/{}", name.owner()),
        }
    }
}

/// A token with its end, as GitHub hands it out (`ghs_…` for an installation, `A…` for a registration).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExpiringToken {
    /// The token.
    pub token: Secret,
    /// RFC 3339.
    pub expires_at: String,
}

/// What an installation token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Register runners of a repository.
    AdministrationWrite,
    /// Register runners of an organization.
    OrganizationRunnersWrite,
    /// See jobs.
    ActionsRead,
    /// Tell the author of a commit.
    StatusesWrite,
}

/// What is told about a commit, as the author sees it beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus {
    /// Whether what it tells of still lies ahead: `pending`, else `success`.
    pub pending: bool,
    /// What it is about; a later status of the same context replaces it.
    pub context: String,
    /// A sentence; GitHub takes 140 characters.
    pub description: String,
}

/// A token of one installation, narrowed to one permission and, unless that is an organization's, to one repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstallationToken {
    /// The token.
    pub(super) token: Secret,
    /// RFC 3339.
    pub(super) expires_at: String,
    /// Whose it is: GitHub limits the rate of calls by it.
    pub(super) installation: InstallationId,
    /// When it was made, in seconds of Unix time: a moment later not all of GitHub knows it.
    pub(super) made_at: u64,
}

/// A runner that GitHub knows before it starts.
#[derive(Debug, Clone)]
pub struct JitConfig {
    /// The secret that starts it, once.
    pub config: Secret,
    /// The runner's id, where GitHub tells it.
    pub runner: Option<RunnerId>,
}

/// A runner group of an organization.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RunnerGroup {
    pub(super) id: u64,
    pub(super) name: String,
    /// Whether runners are in it that name none.
    #[serde(default)]
    pub(super) default: bool,
    /// Whether it is the enterprise's.
    #[serde(default)]
    pub(super) inherited: bool,
}

/// A runner in GitHub's list.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ListedRunner {
    pub(super) id: RunnerId,
    pub(super) name: String,
    /// `online` or `offline`.
    pub(super) status: String,
    pub(super) busy: bool,
}

/// Where a job is, in GitHub's words.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// It waits for a runner.
    Queued,
    /// A runner took it.
    InProgress,
    /// It has a conclusion.
    Completed,
    /// GitHub itself holds it back: `waiting` for an approval, `pending`, `requested`, or a word that it added later.
    #[serde(untagged)]
    Held(String),
}

/// A job as GitHub shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct JobInfo {
    /// Its id.
    pub id: JobId,
    /// Its name in the workflow.
    #[serde(default)]
    pub name: String,
    /// The run that it is a job of.
    #[serde(default)]
    pub run_id: Option<RunId>,
    /// Where it is.
    pub status: JobStatus,
    /// Once completed.
    #[serde(default)]
    pub conclusion: Option<String>,
    /// The runner that took it.
    #[serde(default)]
    pub runner_name: Option<String>,
    /// The labels of its `runs-on`.
    #[serde(default)]
    pub labels: LabelSet,
    /// Its page.
    #[serde(default)]
    pub html_url: Option<Url>,
}

/// A workflow run as GitHub shows it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RunInfo {
    event: String,
    head_branch: Option<String>,
    path: Option<String>,
    #[serde(default = "first_attempt")]
    pub(super) run_attempt: u64,
    actor: Option<Actor>,
    triggering_actor: Option<Actor>,
    head_repository: Option<RunRepository>,
    repository: RunRepository,
}

/// The first attempt is what a server means that does not tell.
fn first_attempt() -> u64 {
    1
}

#[derive(Debug, Clone, Deserialize)]
struct RunRepository {
    id: RepositoryId,
    private: Option<bool>,
    visibility: Option<String>,
}

impl From<RunInfo> for Run {
    fn from(info: RunInfo) -> Self {
        let path = info.path.unwrap_or_default();
        // Where a run is of a reusable or required workflow, GitHub adds the ref.
        let workflow = path.split_once('@').map_or(&*path, |(path, _)| path).to_owned();
        let RunRepository { private, visibility, .. } = info.repository;
        Self {
            event: info.event,
            branch: info.head_branch.unwrap_or_default(),
            workflow,
            // What does not say that it is private counts as public.
            public: private != Some(true) || visibility.is_some_and(|visibility| visibility == "public"),
            head: info.head_repository.map(|head| head.id),
            actor: info.actor,
            triggering_actor: info.triggering_actor,
        }
    }
}

impl JobInfo {
    /// The repository that its page is below, with the repository's page: as GitHub names it now.
    pub fn repository(&self) -> Option<(RepositoryName, Url)> {
        let mut page = self.html_url.clone()?;
        let plain =
            matches!(page.scheme(), "http" | "https") && page.username().is_empty() && page.password().is_none();
        let mut path = page.path().strip_prefix('/')?.splitn(3, '/');
        let name = format!("{}/{}", path.next()?, path.next()?);
        let repository = RepositoryName::try_from(name).ok().filter(|_| plain && path.next().is_some())?;
        page.set_path(&repository.to_string());
        page.set_query(None);
        page.set_fragment(None);
        Some((repository, page))
    }
}

/// An App that was made of a manifest.
#[derive(Debug, Clone, Deserialize)]
pub struct ConvertedApp {
    /// Its id.
    pub id: u64,
    /// Its name in URLs.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// Its page at GitHub.
    pub html_url: Url,
    /// Its private key.
    pub pem: Secret,
    /// The secret of its webhook.
    pub webhook_secret: Option<Secret>,
    /// What it may do, by name.
    #[serde(default)]
    pub permissions: BTreeMap<String, String>,
}

/// An App as GitHub shows it to itself.
#[derive(Debug, Clone, Deserialize)]
pub struct AppState {
    /// Its name for people.
    pub name: String,
    /// Its page.
    pub html_url: String,
    /// What it may do, by name.
    pub permissions: BTreeMap<String, String>,
    /// What its webhook tells of.
    pub events: Vec<String>,
    /// On how many accounts it is installed, where GitHub says so.
    pub installations_count: Option<u64>,
}

/// Where an App's webhook goes.
#[derive(Debug, Clone, Deserialize)]
pub struct HookConfig {
    /// The URL, if there is one.
    pub url: Option<String>,
    /// `json` or `form`.
    pub content_type: Option<String>,
}
