//! Jobs of workflows.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Axum};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::caller::{Allowed, ReadActions};
use crate::clock::rfc3339;
use crate::github::state::Shared;
use crate::github::state::job::Job;
use crate::github::state::run::Run;
use crate::github::state::runner::Owner;

fn resource(id: u64, job: &Job, run: &Run) -> Value {
    let (status, conclusion) = job.status.words();
    json!({
        "id": id, "run_id": job.run, "run_attempt": job.attempt, "head_branch": run.shown_head().0, "head_sha": run.shown_sha(), "name": "build", "status": status, "conclusion": conclusion,
        "labels": job.labels, "runner_id": job.runner.as_ref().map(|(id, _)| id),
        "runner_group_id": job.runner_group.as_ref().map(|(id, _)| id),
        "runner_group_name": job.runner_group.as_ref().map(|(_, name)| name),
        "runner_name": job.runner.as_ref().map(|(_, name)| name), "created_at": rfc3339(job.created_at),
    })
}

#[derive(Deserialize)]
pub(crate) struct OfId {
    id: u64,
}

/// `GET /repos/{owner}/{repo}/actions/jobs/{id}`
pub(crate) async fn show(
    Axum(shared): Axum<Arc<Shared>>,
    allowed: Allowed<ReadActions>,
    Path(OfId { id }): Path<OfId>,
) -> Answer {
    let state = shared.state();
    let job = state.jobs.get(&id).filter(|job| Owner::Repository(job.repository_id) == allowed.owner);
    let job = job.ok_or_else(Refusal::not_found)?;
    Ok((StatusCode::OK, Json(resource(id, job, &state.runs[&job.run]))))
}

/// `GET /repos/{owner}/{repo}/actions/runs/{id}/jobs`
pub(crate) async fn of_run(
    Axum(shared): Axum<Arc<Shared>>,
    allowed: Allowed<ReadActions>,
    Path(OfId { id }): Path<OfId>,
) -> Answer {
    let state = shared.state();
    let run = state.runs.get(&id).filter(|run| Owner::Repository(run.repository_id) == allowed.owner);
    let run = run.ok_or_else(Refusal::not_found)?;
    // `filter=latest`, as GitHub has it unless it is asked for all.
    let latest = |found: &(&u64, &Job)| found.1.run == id && found.1.attempt == run.attempts();
    let jobs: Vec<Value> = state.jobs.iter().filter(latest).map(|(id, job)| resource(*id, job, run)).collect();
    Ok((StatusCode::OK, Json(json!({"total_count": jobs.len(), "jobs": jobs}))))
}
