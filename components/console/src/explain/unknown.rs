//! A job that left no fact here: what GitHub says of it, held against the profiles.

use gha_slurm_core::github::client::{GitHubError, JobInfo, JobStatus};
use gha_slurm_core::ports::Variables;
use gha_slurm_core::profile::{NotOurs, Profiles};
use gha_slurm_core::settings::Settings;
use gha_slurm_protocol::identity::{JobId, RepositoryName};
use thiserror::Error;

use super::{Cause, Explanation};

/// Why GitHub did not tell of a job.
#[derive(Debug, Error)]
pub(super) enum Unasked {
    /// 404 for the installation.
    #[error("the App is not installed for the repository")]
    NotInstalled,
    /// No job and no run has the id.
    #[error("no such job or run")]
    NoSuchJob,
    /// It could not be asked.
    #[error(transparent)]
    Failed(#[from] GitHubError),
}

/// What can be said when GitHub tells nothing.
pub(super) fn without_github(repository: &RepositoryName, id: u64, why: &Unasked) -> Explanation {
    let job = None;
    let name = None;
    match why {
        Unasked::NotInstalled => Explanation {
            job,
            name,
            cause: Cause::NotInstalled,
            headline: format!("The App is not installed for {repository}, so GitHub tells it of no job there."),
            details: Vec::new(),
            advice: vec![
                "Install the App on the repository: at GitHub, the App's settings, \"Install App\". Where it is \
                 installed on selected repositories, add this one."
                    .to_owned(),
                "Or the name is misspelt, or the repository was renamed.".to_owned(),
            ],
        },
        Unasked::NoSuchJob => Explanation {
            job,
            name,
            cause: Cause::Unknown,
            headline: format!("GitHub knows no job and no run {id} in {repository}."),
            details: vec![
                "In https://github.com/o/r/actions/runs/RUN/job/JOB the ids stand as RUN and JOB; a re-run makes new \
                 jobs."
                    .to_owned(),
            ],
            advice: vec!["Take the id from the page of the job or of the run.".to_owned()],
        },
        Unasked::Failed(error) => Explanation {
            job: Some(JobId(id)),
            name,
            cause: Cause::Unknown,
            headline: format!("Nothing is known here of a job {id}, and GitHub could not be asked about it."),
            details: vec![error.to_string()],
            advice: vec![match error {
                GitHubError::Setting(_) => "Set that right, then ask again.".to_owned(),
                GitHubError::Unavailable { .. } => "Ask again in a minute.".to_owned(),
                _ => {
                    "The App needs the permission Actions (read) and an installation that is not suspended.".to_owned()
                }
            }],
        },
    }
}

/// A job that GitHub knows.
pub(super) fn explain<V: Variables>(platform: &V, repository: &RepositoryName, info: &JobInfo) -> Explanation {
    let (cause, headline, details, advice) = of_status(platform, repository, info);
    Explanation { job: Some(info.id), name: Some(info.name.clone()), cause, headline, details, advice }
}

type Parts = (Cause, String, Vec<String>, Vec<String>);

fn of_status<V: Variables>(platform: &V, repository: &RepositoryName, info: &JobInfo) -> Parts {
    let runner = info.runner_name.as_deref().filter(|name| !name.is_empty());
    let taken = |verb: &str| match runner {
        Some(name) => vec![format!("The runner {name} {verb} it. No webhook about it is kept here.")],
        None => vec!["No webhook about it is kept here.".to_owned()],
    };
    match &info.status {
        JobStatus::Completed => {
            let how = info.conclusion.as_deref().unwrap_or("without a conclusion");
            (Cause::Done, format!("The job is over: {how}."), taken("ran"), Vec::new())
        }
        JobStatus::InProgress => (Cause::Running, "The job runs.".to_owned(), taken("runs"), Vec::new()),
        JobStatus::Queued => match Settings(platform).profiles() {
            Ok(profiles) => queued(&profiles, repository, info),
            Err(error) => {
                let advice = vec!["Until then no job is launched.".to_owned()];
                (Cause::Unknown, format!("The profiles cannot be read: {error}"), Vec::new(), advice)
            }
        },
        JobStatus::Held(status) => (
            Cause::HeldByGithub,
            format!("GitHub itself holds the job back: its status is \"{status}\"."),
            vec!["It waits for an approval, for a concurrency group or for jobs that it needs.".to_owned()],
            vec!["See the run's page at GitHub; the job is launched as soon as GitHub queues it.".to_owned()],
        ),
    }
}

fn queued(profiles: &Profiles, repository: &RepositoryName, info: &JobInfo) -> Parts {
    match profiles.find(&info.labels, repository) {
        Err(error @ (NotOurs::NoLabels | NotOurs::NoLabel(_))) => {
            let advice = vec!["Change runs-on.".to_owned()];
            (Cause::NoProfile, format!("No profile takes the job: {error}."), Vec::new(), advice)
        }
        Err(NotOurs::Labels(labels)) => no_profile(profiles, info, &labels),
        Err(NotOurs::Repository { profile, repository }) => (
            Cause::RepositoryNotAllowed,
            format!("The profile {profile} has the job's labels, but is not for {repository}."),
            vec![format!("The job asks for {}.", info.labels)],
            vec![format!("Add {repository} to the profile's repositories, or use labels of another profile.")],
        ),
        Err(NotOurs::Dynamic { profile, label, problem }) => (
            Cause::LabelRefused,
            format!("The profile {profile} cannot serve the label {label}: {problem}."),
            vec![format!("The job asks for {}.", info.labels)],
            vec!["Ask for less in runs-on, or raise the limit under the profile's dynamic.".to_owned()],
        ),
        Ok(found) => (
            Cause::NoWebhook,
            format!("The profile {} takes the job, but no webhook about it was received.", found.profile),
            vec!["GitHub sends each webhook once. The periodic repair has failed ones sent again.".to_owned()],
            vec![
                "See the App's settings at GitHub, Advanced, Recent Deliveries: a delivery for this job, and the \
                 app's answer to it."
                    .to_owned(),
                "No delivery at all: the App must subscribe to the event \"Workflow job\", its webhook must be active, \
                 and its URL must be this app's /api/github/webhooks."
                    .to_owned(),
                "A failed delivery: see that the periodic repair runs (admin_token is set).".to_owned(),
            ],
        ),
    }
}

fn no_profile(profiles: &Profiles, info: &JobInfo, labels: &str) -> Parts {
    let mut details = Vec::new();
    let mut advice = Vec::new();
    if info.labels.is_empty() {
        details.push("The job has no labels at all.".to_owned());
    } else if let Some((profile, lacking)) = profiles.nearest(&info.labels)
        && lacking.len() < info.labels.iter().count()
    {
        details.push(format!(
            "The nearest profile is {}, with {}; it lacks {}.",
            profile.name,
            profile.labels.join(", "),
            lacking.join(", ")
        ));
        advice.push(format!(
            "Take {} out of runs-on, or add it to the labels of the profile {}.",
            lacking.join(", "),
            profile.name
        ));
    } else {
        let names: Vec<&str> = profiles.names().collect();
        details.push(format!("None of them is in any profile ({}).", names.join(", ")));
        advice.push("If the job is for GitHub's own runners, nothing is wrong here: GitHub runs it.".to_owned());
    }
    (Cause::NoProfile, format!("No profile has all of the job's labels: {labels}."), details, advice)
}
