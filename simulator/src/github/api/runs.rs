//! Runs of workflows, as their last attempt or any other one.
//!
//! Source: GitHub Docs, "REST API endpoints for workflow runs".

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Axum};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::caller::{Allowed, ReadActions};
use crate::clock::rfc3339;
use crate::github::context::head_repository;
use crate::github::state::commit::SHA;
use crate::github::state::job::JobStatus;
use crate::github::state::repository::Repository;
use crate::github::state::run::{Head, Kind, Run};
use crate::github::state::runner::Owner;
use crate::github::state::{PAGES, Shared, State};

/// A repository as it stands in a run: whether it is private, but not its visibility.
fn minimal(repository: &Repository) -> Value {
    let mut shown = repository.resource();
    shown.as_object_mut().into_iter().for_each(|fields| drop(fields.remove("visibility")));
    shown
}

/// `status` and `conclusion` of an attempt, by its jobs.
fn words(state: &State, id: u64, attempt: u64) -> (&'static str, Option<&str>) {
    let jobs: Vec<_> = state.jobs.values().filter(|job| job.run == id && job.attempt == attempt).collect();
    let all = |status: &str| jobs.iter().all(|job| job.status.words().0 == status);
    if all("completed") {
        let ended = |word: &str| jobs.iter().any(|job| job.status == JobStatus::Completed(word.to_owned()));
        let worst = ["failure", "cancelled"].into_iter().find(|word| ended(word));
        return ("completed", Some(worst.unwrap_or("success")));
    }
    let known = ["waiting", "queued"].into_iter().find(|status| all(status));
    (known.unwrap_or("in_progress"), None)
}

fn resource(state: &State, id: u64, run: &Run, attempt: u64) -> Value {
    let (branch, head) = run.shown_head();
    let (status, conclusion) = words(state, id, attempt);
    let repository = state.repositories.get(run.repository_id).unwrap();
    let head_repository = match head {
        Head::Own => minimal(repository),
        Head::Fork(fork) => state.repositories.get(fork).map_or(Value::Null, minimal),
        Head::Deleted => head_repository(state, run, head),
    };
    // GitHub names none for a fork's.
    let of_pull_request = matches!(run.kind(), Kind::PullRequest | Kind::PullRequestTarget) && head == Head::Own;
    let pull_requests = if of_pull_request {
        json!([{"id": run.number, "number": run.number, "head": {"ref": branch}, "base": {"ref": run.base}}])
    } else {
        json!([])
    };
    let page = format!("{PAGES}/{}/actions/runs/{id}", repository.name);
    json!({
        "id": id, "name": "CI", "node_id": "WFR_x", "event": run.event, "status": status, "conclusion": conclusion,
        "run_number": run.number, "run_attempt": attempt, "workflow_id": 1, "path": run.workflow,
        "display_title": "A commit", "head_branch": branch, "head_sha": run.shown_sha(), "html_url": page,
        "actor": run.actor.resource(), "triggering_actor": run.triggering_actor(attempt).resource(),
        "repository": minimal(repository), "head_repository": head_repository, "pull_requests": pull_requests,
        "referenced_workflows": run.referenced.iter().map(|path| json!({"path": path, "sha": SHA})).collect::<Vec<_>>(),
        "created_at": rfc3339(run.created_at), "run_started_at": rfc3339(run.created_at),
    })
}

#[derive(Deserialize)]
pub(crate) struct OfId {
    id: u64,
    attempt: Option<u64>,
}

/// `GET /repos/{owner}/{repo}/actions/runs/{id}` and `…/attempts/{attempt}`
pub(crate) async fn show(
    Axum(shared): Axum<Arc<Shared>>,
    allowed: Allowed<ReadActions>,
    Path(OfId { id, attempt }): Path<OfId>,
) -> Answer {
    let state = shared.state();
    let run = state.runs.get(&id).filter(|run| Owner::Repository(run.repository_id) == allowed.owner);
    let run = run.ok_or_else(Refusal::not_found)?;
    let attempt = attempt.unwrap_or(run.attempts());
    if !(1..=run.attempts()).contains(&attempt) {
        return Err(Refusal::not_found());
    }
    Ok((StatusCode::OK, Json(resource(&state, id, run, attempt))))
}
