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
use crate::github::state::job::{Job, run_of};
use crate::github::state::runner::Owner;

fn resource(id: u64, job: &Job) -> Value {
    let (status, conclusion) = job.status.words();
    json!({
        "id": id, "run_id": run_of(id), "name": "build", "status": status, "conclusion": conclusion,
        "labels": job.labels, "runner_id": job.runner.as_ref().map(|(id, _)| id),
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
    Ok((StatusCode::OK, Json(resource(id, job.ok_or_else(Refusal::not_found)?))))
}

/// `GET /repos/{owner}/{repo}/actions/runs/{id}/jobs`
pub(crate) async fn of_run(
    Axum(shared): Axum<Arc<Shared>>,
    allowed: Allowed<ReadActions>,
    Path(OfId { id }): Path<OfId>,
) -> Answer {
    let state = shared.state();
    let of_run =
        |found: &(&u64, &Job)| run_of(*found.0) == id && Owner::Repository(found.1.repository_id) == allowed.owner;
    let jobs: Vec<Value> = state.jobs.iter().filter(of_run).map(|(id, job)| resource(*id, job)).collect();
    if jobs.is_empty() {
        return Err(Refusal::not_found());
    }
    Ok((StatusCode::OK, Json(json!({"total_count": jobs.len(), "jobs": jobs}))))
}
