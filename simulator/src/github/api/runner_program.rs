//! What the runner program speaks with GitHub, under `/_runner`: a protocol of the simulator's own, because the real one
//! is not public. What it grants is strict: one job for an ephemeral runner, one start for a JIT configuration.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Axum};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use crate::github::dispatch::{Registration, assign, connect, enrol, finish};
use crate::github::state::Shared;
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

pub(crate) async fn next_job(Axum(shared): Axum<Arc<Shared>>, Path(id): Path<u64>) -> Json<Value> {
    let job = shared.state().runners.iter().find(|runner| runner.id == id).and_then(|runner| runner.job);
    Json(json!({ "job": job }))
}

pub(crate) async fn done(Axum(shared): Axum<Arc<Shared>>, Path(id): Path<u64>) -> StatusCode {
    let job = shared.state().runners.iter().find(|runner| runner.id == id).and_then(|runner| runner.job);
    let Some(job) = job else { return StatusCode::NOT_FOUND };
    finish(&shared, job, "success");
    webhook::notify(&shared, job, "completed").await;
    StatusCode::NO_CONTENT
}

pub(crate) async fn remove(Axum(shared): Axum<Arc<Shared>>, Path(id): Path<u64>) -> StatusCode {
    shared.state().runners.retain(|runner| runner.id != id);
    StatusCode::NO_CONTENT
}
