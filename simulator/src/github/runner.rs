//! What the runner program speaks with GitHub, under `/_runner`: a protocol of the simulator's own, because the real one
//! is not public. What it grants is strict: one job for an ephemeral runner, one start for a JIT config.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Axum};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Answer, respond};
use super::auth::refuse;
use super::jobs::{Runner, assign, finish};
use super::{GitHub, Shared, expired, webhooks};
use crate::event::Event;

#[derive(Deserialize)]
pub(super) struct Registration {
    repository: String,
    token: String,
    name: String,
    labels: Vec<String>,
}

impl GitHub {
    /// Registers a runner, as the runner program would.
    pub fn register_runner(&self, registration: &Value) -> bool {
        let registered =
            serde_json::from_value(registration.clone()).is_ok_and(|asked| enrol(&self.shared, &asked).is_ok());
        assign(&self.shared);
        registered
    }
}

/// `config.sh --url … --token … --name … --labels … --ephemeral`
pub(super) async fn register(Axum(shared): Axum<Arc<Shared>>, Json(asked): Json<Registration>) -> Response {
    let response = respond(enrol(&shared, &asked));
    assign(&shared);
    response
}

fn enrol(shared: &Shared, asked: &Registration) -> Answer {
    let mut state = shared.state();
    let valid = state
        .registration_tokens
        .get(&asked.token)
        .is_some_and(|(repository, end)| *repository == asked.repository && !expired(*end));
    if !valid {
        return Err(refuse(StatusCode::NOT_FOUND, "Not Found"));
    }
    // `--replace`: a runner of the same name gives way.
    state.runners.retain(|runner| runner.name != asked.name);
    let id = state.next_id();
    let (name, labels) = (asked.name.clone(), asked.labels.clone());
    state.runners.push(Runner { id, name, repository: asked.repository.clone(), labels, job: None, online: true });
    drop(state);
    shared.events.emit(Event::RunnerRegistered { name: asked.name.clone(), labels: asked.labels.clone() });
    Ok((StatusCode::CREATED, Json(json!({"id": id}))))
}

#[derive(Deserialize)]
pub(super) struct Start {
    encoded_jit_config: String,
}

/// `run.sh --jitconfig …`
pub(super) async fn start(Axum(shared): Axum<Arc<Shared>>, Json(asked): Json<Start>) -> Response {
    let answer = || -> Answer {
        let mut state = shared.state();
        let id = state.jit_configs.remove(&asked.encoded_jit_config);
        let runner = id.and_then(|id| state.runners.iter_mut().find(|runner| runner.id == id));
        let runner = runner.ok_or_else(|| refuse(StatusCode::NOT_FOUND, "Not Found"))?;
        runner.online = true;
        let (id, name, labels) = (runner.id, runner.name.clone(), runner.labels.clone());
        drop(state);
        shared.events.emit(Event::RunnerRegistered { name, labels });
        Ok((StatusCode::OK, Json(json!({"id": id}))))
    };
    let response = respond(answer());
    assign(&shared);
    response
}

pub(super) async fn next_job(Axum(shared): Axum<Arc<Shared>>, Path(id): Path<u64>) -> Json<Value> {
    let job = shared.state().runners.iter().find(|runner| runner.id == id).and_then(|runner| runner.job);
    Json(json!({ "job": job }))
}

pub(super) async fn done(Axum(shared): Axum<Arc<Shared>>, Path(id): Path<u64>) -> StatusCode {
    let job = shared.state().runners.iter().find(|runner| runner.id == id).and_then(|runner| runner.job);
    let Some(job) = job else { return StatusCode::NOT_FOUND };
    finish(&shared, job, "success");
    webhooks::notify(&shared, job, "completed").await;
    StatusCode::NO_CONTENT
}

pub(super) async fn remove(Axum(shared): Axum<Arc<Shared>>, Path(id): Path<u64>) -> StatusCode {
    shared.state().runners.retain(|runner| runner.id != id);
    StatusCode::NO_CONTENT
}
