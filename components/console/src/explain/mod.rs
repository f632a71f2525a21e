//! Why a job does not run, in plain words: at which step it is, what keeps it there, and what to do.
//!
//! What is known of a job comes from the facts; of one that left none, because no profile takes it or because its
//! webhook never came, GitHub tells, and the profiles are asked again. The gateway says what Slurm does with it. Each of
//! the two is asked within a short time, and left out where it does not answer.

pub(crate) mod known;
mod text;
mod unknown;

use std::time::Duration;

use gha_slurm_core::github::client::{GitHub, GitHubError, JobInfo};
use gha_slurm_core::github::credentials::Credentials;
use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_core::settings::Settings;
use gha_slurm_protocol::identity::{JobId, RepositoryName};
use serde::{Deserialize, Serialize};

/// For all that GitHub is asked.
const GITHUB_BUDGET: Duration = Duration::from_secs(12);
/// For each question to the gateway.
pub(crate) const GATEWAY_DEADLINE: Duration = Duration::from_secs(3);
/// A run may have hundreds of jobs.
const MOST_JOBS: usize = 20;

/// What keeps a job, as a word for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No profile has all of its labels.
    NoProfile,
    /// A profile has its labels, and is not for its repository.
    RepositoryNotAllowed,
    /// A dynamic label asks for more than its profile gives.
    LabelRefused,
    /// The App is not installed for the repository.
    NotInstalled,
    /// GitHub holds it back itself: an approval, a concurrency group.
    HeldByGithub,
    /// It is ours, and no webhook about it was received.
    NoWebhook,
    /// GitHub must confirm first that the old job is still queued.
    Unconfirmed,
    /// Its profile runs as many launches as it may.
    AtCap,
    /// The gateway cannot be reached, or fails.
    GatewayDown,
    /// The gateway or Slurm refuses the launch as it is.
    GatewayRefuses,
    /// Its launch is on its way to the gateway.
    Submitting,
    /// Slurm's queue holds its Slurm job.
    SlurmPending,
    /// Its Slurm job runs, and has not fetched its credential.
    SlurmRunning,
    /// Its Slurm job is over, and never fetched its credential.
    SlurmEnded,
    /// Its launch is at the gateway, and nothing is known of the Slurm job.
    Submitted,
    /// GitHub gave no credential for its runner.
    CredentialRefused,
    /// Its runner has its credential and starts.
    RunnerStarting,
    /// Its runner was given to another job; it waits for the next.
    RunnerTaken,
    /// It had all the launches that it may have.
    GivenUp,
    /// It runs.
    Running,
    /// It came to its end.
    Done,
    /// It waited for longer than GitHub keeps a job queued.
    Expired,
    /// Nothing is known of it.
    Unknown,
}

/// One job explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The job, if it is known which.
    pub job: Option<JobId>,
    /// Its name in the workflow, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What keeps it.
    pub cause: Cause,
    /// The same in a sentence.
    pub headline: String,
    /// What is known besides.
    pub details: Vec<String>,
    /// What to do; empty when there is nothing to be done.
    pub advice: Vec<String>,
}

/// The answer to a question about a job or a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The repository that was asked about.
    pub repository: RepositoryName,
    /// The id that was asked about.
    pub id: u64,
    /// Whether it is a run's.
    pub run: bool,
    /// The job, or the jobs of the run.
    pub jobs: Vec<Explanation>,
    /// What could not be found out, and why.
    pub notes: Vec<String>,
}

/// Explains the job, or each job of the run, with this id.
pub fn explain<P: Platform>(platform: &P, repository: &RepositoryName, id: u64) -> Result<Explained, StoreError> {
    let mut explained =
        Explained { repository: repository.clone(), id, run: false, jobs: Vec::new(), notes: Vec::new() };
    if let Some(one) = of_facts(platform, repository, JobId(id), None)? {
        explained.jobs.push(one);
        return Ok(explained);
    }
    match ask_github(platform, repository, id) {
        Ok((run, jobs)) => {
            explained.run = run;
            if jobs.len() > MOST_JOBS {
                explained.notes.push(format!("the run has {} jobs; these are the first {MOST_JOBS}", jobs.len()));
            }
            for info in jobs.iter().take(MOST_JOBS) {
                let one = match of_facts(platform, repository, info.id, Some(info))? {
                    Some(one) => one,
                    None => unknown::explain(platform, repository, info),
                };
                explained.jobs.push(one);
            }
        }
        Err(error) => explained.jobs.push(unknown::without_github(repository, id, &error)),
    }
    Ok(explained)
}

/// A job by its facts, if there are any, and if it is this repository's.
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

/// The job with this id, or the jobs of the run with this id.
fn ask_github<P: Platform>(
    platform: &P,
    repository: &RepositoryName,
    id: u64,
) -> Result<(bool, Vec<JobInfo>), unknown::Unasked> {
    let settings = Settings(platform).github().map_err(GitHubError::from)?;
    let github = GitHub::new(platform, settings, GITHUB_BUDGET);
    let found =
        Credentials::new(platform, &github).as_app(|jwt| Ok((github.installation(jwt, repository)?, jwt.clone())));
    let (installation, jwt) = match found {
        Err(GitHubError::NotFound(_)) => return Err(unknown::Unasked::NotInstalled),
        other => other?,
    };
    let token = github
        .installation_token(&jwt, installation, repository, gha_slurm_core::github::client::Permission::ActionsRead)?
        .token;
    match github.job(&token, repository, JobId(id)) {
        Ok(info) => Ok((false, vec![info])),
        Err(GitHubError::NotFound(_)) => match github.run_jobs(&token, repository, id) {
            Ok(jobs) => Ok((true, jobs)),
            Err(GitHubError::NotFound(_)) => Err(unknown::Unasked::NoSuchJob),
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
