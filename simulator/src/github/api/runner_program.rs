//! What the runner program speaks with GitHub, under `/_runner`: a protocol of the simulator's own, because the real one
//! is not public. What it grants is strict: one job for an ephemeral runner, one start for a JIT configuration.

use std::fmt::Display;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Axum};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use crate::github::context;
use crate::github::dispatch::{Registration, assign, connect, enrol, finish};
use crate::github::state::{Shared, State};
use crate::github::webhook;

/// `config.sh --url … --token … --name … --labels … --ephemeral`
pub(crate) async fn register(Axum(shared): Axum<Arc<Shared>>, Json(asked): Json<Registration>) -> Answer {
    let id = enrol(&shared, &asked).ok_or_else(Refusal::not_found)?;
    assign(&shared);
    Ok((StatusCode::CREATED, Json(json!({"id": id}))))
}

#[derive(Deserialize)]
pub(crate) struct Start {
    encoded_jit_config: String,
}

/// `run.sh --jitconfig …`
pub(crate) async fn start(Axum(shared): Axum<Arc<Shared>>, Json(asked): Json<Start>) -> Answer {
    let id = connect(&shared, &asked.encoded_jit_config).ok_or_else(Refusal::not_found)?;
    assign(&shared);
    Ok((StatusCode::OK, Json(json!({"id": id}))))
}

/// The job that a runner has.
fn job_of(state: &State, runner: u64) -> Option<u64> {
    state.runners.iter().find(|found| found.id == runner).and_then(|runner| runner.job)
}

pub(crate) async fn next_job(Axum(shared): Axum<Arc<Shared>>, Path(id): Path<u64>) -> Json<Value> {
    Json(json!({ "job": job_of(&shared.state(), id) }))
}

/// The `github` context as variables.
pub(crate) async fn context(Axum(shared): Axum<Arc<Shared>>, Path(id): Path<u64>) -> Result<String, Refusal> {
    let state = shared.state();
    let job = job_of(&state, id).ok_or_else(Refusal::not_found)?;
    Ok(lines(&context::variables(&state, job)))
}

/// What started the workflow, in GitHub's shape.
pub(crate) async fn event(Axum(shared): Axum<Arc<Shared>>, Path(id): Path<u64>) -> Answer {
    let state = shared.state();
    let job = job_of(&state, id).ok_or_else(Refusal::not_found)?;
    Ok((StatusCode::OK, Json(context::event(&state, job))))
}

/// The workflow's own `env:`.
pub(crate) async fn env(Axum(shared): Axum<Arc<Shared>>, Path(id): Path<u64>) -> Result<String, Refusal> {
    let state = shared.state();
    let job = job_of(&state, id).ok_or_else(Refusal::not_found)?;
    Ok(lines(&state.run_of(job).env))
}

fn lines<N: Display>(variables: &[(N, String)]) -> String {
    variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// A line of the job's log.
pub(crate) async fn log(Axum(shared): Axum<Arc<Shared>>, Path(id): Path<u64>, line: String) -> StatusCode {
    let mut state = shared.state();
    let Some(job) = job_of(&state, id) else { return StatusCode::NOT_FOUND };
    state.jobs.entry(job).and_modify(|job| job.log.push(line));
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
pub(crate) struct Done {
    conclusion: String,
}

pub(crate) async fn done(
    Axum(shared): Axum<Arc<Shared>>,
    Path(id): Path<u64>,
    ended: Option<Json<Done>>,
) -> StatusCode {
    let Some(job) = job_of(&shared.state(), id) else { return StatusCode::NOT_FOUND };
    finish(&shared, job, ended.as_ref().map_or("success", |ended| &ended.conclusion));
    webhook::notify(&shared, job, "completed").await;
    StatusCode::NO_CONTENT
}

pub(crate) async fn remove(Axum(shared): Axum<Arc<Shared>>, Path(id): Path<u64>) -> StatusCode {
    shared.state().runners.retain(|runner| runner.id != id);
    StatusCode::NO_CONTENT
}
