//! Jobs of workflows.

use super::account::Person;

/// A job of a workflow.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its repository's id.
    pub repository_id: u64,
    /// Its labels.
    pub labels: Vec<String>,
    /// Its state.
    pub status: JobStatus,
    /// The runner that has it: id and name.
    pub runner: Option<(u64, String)>,
    /// The group of that runner: id and name.
    pub runner_group: Option<(u64, String)>,
    /// The environment whose protection rules it has to pass.
    pub environment: Option<String>,
    /// The run that it is of, and which attempt of that.
    pub run: u64,
    /// Counts from 1.
    pub attempt: u64,
    /// Who the webhooks about it name.
    pub(crate) sender: Person,
    /// What its steps and hooks wrote.
    pub(crate) log: Vec<String>,
    pub(crate) created_at: u64,
}

/// A job's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobStatus {
    /// It waits for an approval; no runner gets it.
    Waiting,
    /// It waits for a runner.
    Queued,
    /// A runner has it.
    InProgress,
    /// It has this conclusion.
    Completed(String),
}

impl JobStatus {
    /// That of a new job.
    pub(crate) fn first(environment: Option<&String>) -> Self {
        if environment.is_some() { Self::Waiting } else { Self::Queued }
    }

    /// GitHub's `status` and `conclusion`.
    pub(crate) fn words(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Waiting => ("waiting", None),
            Self::Queued => ("queued", None),
            Self::InProgress => ("in_progress", None),
            Self::Completed(conclusion) => ("completed", Some(conclusion)),
        }
    }
}

/// The id of the workflow run that a job began.
pub fn run_of(job: u64) -> u64 {
    job + RUNS
}

/// Runs and jobs have ids of their own.
const RUNS: u64 = 1_000_000_000;
