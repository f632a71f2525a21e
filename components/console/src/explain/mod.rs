//! Why a job does not run: at which step it is, what keeps it there, and what to do.
//!
//! The facts say what is known about a job. If there are none, because no profile serves it or because its webhook never
//! came, GitHub is asked about it, and the profiles are tried again. The gateway says what Slurm does with it. Both get
//! little time, and are left out if they do not answer.
//!
//! What was found is a [`finding::Finding`]; [`words`] turns it into sentences at the very end.

mod finding;
mod known;
pub(crate) mod slurm;
mod text;
mod unknown;
mod words;

use std::time::Duration;

use gha_slurm_core::github::client::{At, GitHub, GitHubError, JobInfo, Permission};
use gha_slurm_core::github::credentials::Credentials;
use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_core::settings::Settings;
use gha_slurm_protocol::identity::{JobId, RepositoryName};
use serde::{Deserialize, Serialize};

/// For all questions to GitHub.
const GITHUB_BUDGET: Duration = Duration::from_secs(12);
/// A run may have hundreds of jobs.
const MOST_JOBS: usize = 20;

/// What keeps a job from running, as a word for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Cause {
    /// No profile has all of its labels.
    NoProfile,
    /// A profile has its labels, but does not allow its repository.
    RepositoryNotAllowed,
    /// A profile has its labels, but does not allow that its repository is public.
    PublicNotAllowed,
    /// GitHub was asked about its run, and the rules of its profile do not allow it.
    Denied,
    /// A dynamic label asks for more than its profile gives.
    LabelRefused,
    /// The App is not installed for the repository.
    NotInstalled,
    /// GitHub holds it back itself: an approval, a concurrency group.
    HeldByGithub,
    /// A profile serves it, but no webhook for it was received.
    NoWebhook,
    /// GitHub has to confirm first that the old job is still queued.
    Unconfirmed,
    /// The operator stopped launches, of its repository or of all.
    Stopped,
    /// Its profile has as many launches as it may have.
    AtCap,
    /// The gateway cannot be reached, or fails.
    GatewayDown,
    /// The gateway or Slurm refuses the launch as it is.
    GatewayRefuses,
    /// Its launch is being submitted to the gateway.
    Submitting,
    /// Its launch waits for a gateway of its cluster to fetch it, which asks every few seconds.
    Offered,
    /// Its launch waits for a gateway of its cluster to fetch it, and none asks.
    ClusterSilent,
    /// No cluster takes it: its profile or its launch names one that is not configured, or it asks for more than a launch
    /// may have there.
    NoCluster,
    /// Its Slurm job waits in Slurm's queue.
    SlurmPending,
    /// Its Slurm job is running, but has not fetched its credential.
    SlurmRunning,
    /// Its Slurm job has ended, and never fetched its credential.
    SlurmEnded,
    /// The gateway accepted its launch, and nothing is known about the Slurm job.
    Submitted,
    /// GitHub gave no credential for its runner.
    CredentialRefused,
    /// Its runner got its credential and is starting.
    RunnerStarting,
    /// Another job took its runner; it waits for the next one.
    RunnerTaken,
    /// It had as many launches as a job may have.
    GivenUp,
    /// It is running.
    Running,
    /// It ended.
    Done,
    /// It was queued for longer than GitHub keeps a job.
    Expired,
    /// Nothing is known about it.
    Unknown,
}

/// One job explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Explanation {
    /// The job, if it is known.
    pub job: Option<JobId>,
    /// Its name in the workflow, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What keeps it from running.
    pub cause: Cause,
    /// The same in a sentence.
    pub headline: String,
    /// What else is known.
    pub details: Vec<String>,
    /// What to do; empty if there is nothing to do.
    pub advice: Vec<String>,
}

/// The answer to a question about a job or a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Explained {
    /// The repository that was asked about.
    pub repository: RepositoryName,
    /// The ID that was asked about.
    pub id: u64,
    /// Whether it is the ID of a run.
    pub run: bool,
    /// The job, or the jobs of the run.
    pub jobs: Vec<Explanation>,
    /// What could not be found out, and why.
    pub notes: Vec<String>,
}

/// Explains the job, or each job of the run, with this ID.
pub fn explain<P: Platform>(platform: &P, repository: &RepositoryName, id: u64) -> Result<Explained, StoreError> {
    let mut explained =
        Explained { repository: repository.clone(), id, run: false, jobs: Vec::new(), notes: Vec::new() };
    if let Some(one) = of_facts(platform, repository, JobId(id), None)? {
        explained.jobs.push(one);
        return Ok(explained);
    }
    match ask_github(platform, repository, id) {
        Ok(Asked { public, run, jobs }) => {
            explained.run = run;
            if jobs.len() > MOST_JOBS {
                explained.notes.push(format!("the run has {} jobs; these are the first {MOST_JOBS}", jobs.len()));
            }
            for info in jobs.iter().take(MOST_JOBS) {
                let one = match of_facts(platform, repository, info.id, Some(info))? {
                    Some(one) => one,
                    None => unknown::explain(platform, repository, public, info),
                };
                explained.jobs.push(one);
            }
        }
        Err(error) => explained.jobs.push(unknown::without_github(repository, id, error)),
    }
    Ok(explained)
}

/// A job by its facts, if there are any and it belongs to this repository.
fn of_facts<P: Platform>(
    platform: &P,
    repository: &RepositoryName,
    job: JobId,
    info: Option<&JobInfo>,
) -> Result<Option<Explanation>, StoreError> {
    let Some(detail) = gha_slurm_overview::job(platform, job)? else { return Ok(None) };
    let same = |of: &RepositoryName| of.to_string().eq_ignore_ascii_case(&repository.to_string());
    match &detail.summary.repository {
        Some(of) if !same(of) => Ok(None),
        _ => {
            let mut one = known::explain(platform, &detail)?;
            one.name = info.map(|info| info.name.clone()).or(one.name);
            Ok(Some(one))
        }
    }
}

/// What GitHub said.
struct Asked {
    /// Whether the repository is public, if GitHub says so.
    public: Option<bool>,
    /// Whether the ID is that of a run.
    run: bool,
    jobs: Vec<JobInfo>,
}

/// The job with this ID, or the jobs of the run with this ID.
fn ask_github<P: Platform>(platform: &P, repository: &RepositoryName, id: u64) -> Result<Asked, unknown::Unasked> {
    let settings = Settings(platform).github().map_err(GitHubError::from)?;
    let github = GitHub::new(platform, settings, GITHUB_BUDGET);
    let found = Credentials::new(platform, &github)
        .as_app(|jwt| Ok((github.installation(jwt, At::Name(repository))?, jwt.clone())));
    let (installation, jwt) = match found {
        Err(GitHubError::NotFound(_)) => return Err(unknown::Unasked::NotInstalled),
        other => other?,
    };
    let (found, public) = match github.repository(&jwt, installation, repository) {
        Err(GitHubError::NotFound(_)) => return Err(unknown::Unasked::NotInstalled),
        other => other?,
    };
    let token = github.installation_token(&jwt, installation, found, Permission::ActionsRead)?;
    match github.job(&token, At::Id(found), JobId(id)) {
        Ok(info) => Ok(Asked { public, run: false, jobs: vec![info] }),
        Err(GitHubError::NotFound(_)) => match github.run_jobs(&token, At::Id(found), id) {
            Ok(jobs) => Ok(Asked { public, run: true, jobs }),
            Err(GitHubError::NotFound(_)) => Err(unknown::Unasked::NoSuchJob),
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
