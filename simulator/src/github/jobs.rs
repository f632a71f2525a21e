//! Jobs and runners. A queued job goes to any idle runner of its repository that has all of its labels, as at GitHub:
//! not to the runner that was started for it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Delivery, GitHub, Shared, webhooks};
use crate::event::Event;
use crate::unix_seconds;

/// A job of a workflow.
#[derive(Debug, Clone)]
pub struct Job {
    /// `owner/name`
    pub repository: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Its state.
    pub status: JobStatus,
    /// The runner that has it: id and name.
    pub runner: Option<(u64, String)>,
    pub(super) created_at: u64,
}

/// The id of the workflow run that a job is the only one of.
pub fn run_of(job: u64) -> u64 {
    job + RUNS
}

/// Runs and jobs have ids of their own.
const RUNS: u64 = 1_000_000_000;

/// A job's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobStatus {
    /// It waits for a runner.
    Queued,
    /// A runner has it.
    InProgress,
    /// It has this conclusion.
    Completed(String),
}

pub(super) struct Runner {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) repository: String,
    pub(super) labels: Vec<String>,
    pub(super) job: Option<u64>,
    /// A runner of a JIT config is known before it connects.
    pub(super) online: bool,
}

impl Job {
    /// The job as the REST API gives it.
    pub(super) fn resource(&self, id: u64) -> Value {
        let (status, conclusion) = match &self.status {
            JobStatus::Queued => ("queued", None),
            JobStatus::InProgress => ("in_progress", None),
            JobStatus::Completed(conclusion) => ("completed", Some(conclusion)),
        };
        json!({
            "id": id, "run_id": run_of(id), "name": "build", "status": status, "conclusion": conclusion,
            "labels": self.labels, "runner_name": self.runner.as_ref().map(|(_, name)| name),
            "created_at": crate::rfc3339(self.created_at),
        })
    }
}

impl GitHub {
    /// Queues a job and sends its webhook; the delivery is `None` when it was lost.
    pub async fn queue_job(&self, repository: &str, labels: &[&str]) -> (u64, Option<Delivery>) {
        let id = {
            let mut state = self.shared.state();
            let id = state.next_id();
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            let created_at = unix_seconds();
            let job =
                Job { repository: repository.to_owned(), labels, status: JobStatus::Queued, runner: None, created_at };
            state.jobs.insert(id, job);
            id
        };
        let delivery = webhooks::notify(&self.shared, id, "queued").await;
        assign(&self.shared);
        (id, delivery)
    }

    /// Cancels a job and sends its webhook.
    pub async fn cancel_job(&self, id: u64) -> Option<Delivery> {
        finish(&self.shared, id, "cancelled");
        webhooks::notify(&self.shared, id, "completed").await
    }

    /// Sends a webhook about a job as it is, whatever the action says.
    pub async fn notify(&self, id: u64, action: &str) -> Option<Delivery> {
        webhooks::notify(&self.shared, id, action).await
    }

    /// A job as GitHub sees it.
    pub fn job(&self, id: u64) -> Option<Job> {
        self.shared.state().jobs.get(&id).cloned()
    }
}

/// Gives every queued job to a fitting idle runner, if there is one.
pub(super) fn assign(shared: &Arc<Shared>) {
    let mut assigned = Vec::new();
    {
        let mut state = shared.state();
        let state = &mut *state;
        for (id, job) in &mut state.jobs {
            if job.status != JobStatus::Queued {
                continue;
            }
            let has = |runner: &Runner, label: &String| runner.labels.iter().any(|own| own.eq_ignore_ascii_case(label));
            let fits = |runner: &&mut Runner| {
                runner.online
                    && runner.job.is_none()
                    && runner.repository == job.repository
                    && job.labels.iter().all(|label| has(runner, label))
            };
            if let Some(runner) = state.runners.iter_mut().find(fits) {
                runner.job = Some(*id);
                job.status = JobStatus::InProgress;
                job.runner = Some((runner.id, runner.name.clone()));
                assigned.push((*id, runner.name.clone()));
            }
        }
    }
    for (job, runner) in assigned {
        shared.events.emit(Event::JobAssigned { job, runner });
        let shared = Arc::clone(shared);
        tokio::spawn(async move { webhooks::notify(&shared, job, "in_progress").await });
    }
}

/// Ends a job. An ephemeral runner goes with it.
pub(super) fn finish(shared: &Arc<Shared>, id: u64, conclusion: &str) {
    let mut state = shared.state();
    let Some(job) = state.jobs.get_mut(&id) else { return };
    job.status = JobStatus::Completed(conclusion.to_owned());
    state.runners.retain(|runner| runner.job != Some(id));
    drop(state);
    shared.events.emit(Event::JobFinished { job: id, conclusion: conclusion.to_owned() });
}
