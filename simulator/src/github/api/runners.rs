//! Self-hosted runners of a repository or an organization: their credentials, their list, and their end.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State as Axum};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::caller::{Allowed, ReadRunners, WriteRunners};
use crate::clock::rfc3339;
use crate::event::Event;
use crate::github::state::group::DEFAULT_GROUP;
use crate::github::state::runner::{Owner, Runner};
use crate::github::state::{Shared, State};
use crate::random::random_text;

const HOUR: u64 = 3600;
const MAX_LABELS: usize = 100;
const MAX_LABEL: usize = 256;
const MAX_NAME: usize = 64;

fn check_enabled(state: &State, owner: &Owner) -> Result<(), Refusal> {
    match owner {
        Owner::Repository(id) if state.repositories.get(*id).is_some_and(|found| found.runners_disabled) => {
            Err(Refusal::forbidden("Repository level self-hosted runners are disabled on this repository."))
        }
        _ => Ok(()),
    }
}

/// `POST …/actions/runners/registration-token`
pub(crate) async fn registration_token(Axum(shared): Axum<Arc<Shared>>, allowed: Allowed<WriteRunners>) -> Answer {
    let mut state = shared.state();
    check_enabled(&state, &allowed.owner)?;
    let token = format!("A{}", random_text(28));
    let expires_at = state.now() + HOUR;
    let repository = state.name_of(&allowed.owner);
    state.registration_tokens.insert(token.clone(), (allowed.owner, expires_at));
    drop(state);
    shared.events.emit(Event::RegistrationToken { repository });
    Ok((StatusCode::CREATED, Json(json!({"token": token, "expires_at": rfc3339(expires_at)}))))
}

#[derive(Deserialize)]
struct JitRequest {
    name: String,
    runner_group_id: u64,
    labels: Vec<String>,
    #[serde(default = "default_folder")]
    work_folder: String,
}

fn default_folder() -> String {
    "_work".to_owned()
}

impl JitRequest {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        let invalid = |why: &str| Refusal::unprocessable(format!("Invalid request.\n\n{why}"));
        let body: Value =
            serde_json::from_slice(body).map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "Problems parsing JSON"))?;
        for name in ["name", "runner_group_id", "labels"] {
            if body[name].is_null() {
                return Err(invalid(&format!("\"{name}\" wasn't supplied.")));
            }
        }
        let asked: Self = serde_json::from_value(body).map_err(|error| invalid(&format!("{error}.")))?;
        let is_label = |label: &String| !label.is_empty() && label.chars().count() <= MAX_LABEL;
        if asked.labels.is_empty() || asked.labels.len() > MAX_LABELS {
            return Err(invalid("labels must have 1 to 100 entries."));
        }
        if !asked.labels.iter().all(is_label) {
            return Err(Refusal::unprocessable("Validation Failed: Labels is invalid"));
        }
        if asked.name.is_empty() || asked.name.chars().count() > MAX_NAME {
            return Err(Refusal::unprocessable("Validation Failed: Name is invalid"));
        }
        Ok(asked)
    }
}

/// `POST …/actions/runners/generate-jitconfig`
pub(crate) async fn jit_config(Axum(shared): Axum<Arc<Shared>>, allowed: Allowed<WriteRunners>, body: Bytes) -> Answer {
    let mut state = shared.state();
    if state.habits.no_jit {
        return Err(Refusal::not_found());
    }
    check_enabled(&state, &allowed.owner)?;
    let asked = JitRequest::read(&body)?;
    let known = match &allowed.owner {
        Owner::Organization(login) => state.groups.find(login, asked.runner_group_id).is_some(),
        Owner::Repository(_) => asked.runner_group_id == DEFAULT_GROUP,
    };
    if !known {
        return Err(Refusal::not_found());
    }
    if state.runner_named(&allowed.owner, &asked.name).is_some() {
        let message = format!("Already exists - A runner with the name {} already exists.", asked.name);
        return Err(Refusal::new(StatusCode::CONFLICT, message));
    }
    let repository = state.name_of(&allowed.owner);
    let (id, config) =
        state.make_jit_config(allowed.owner, &asked.name, asked.runner_group_id, asked.labels, &asked.work_folder);
    let runner = state.runners.iter().find(|runner| runner.id == id).map(resource);
    drop(state);
    shared.events.emit(Event::JitConfig { repository, runner: asked.name });
    Ok((StatusCode::CREATED, Json(json!({"runner": runner, "encoded_jit_config": config}))))
}

fn resource(runner: &Runner) -> Value {
    let labels = runner.labels.iter().enumerate();
    let labels: Vec<_> = labels.map(|(id, label)| json!({"id": id + 1, "name": label, "type": "custom"})).collect();
    json!({
        "id": runner.id, "runner_group_id": runner.group, "name": runner.name,
        "os": if runner.online { "linux" } else { "unknown" }, "status": if runner.online { "online" } else { "offline" },
        "busy": runner.job.is_some(), "ephemeral": true, "labels": labels,
    })
}

#[derive(Deserialize)]
pub(crate) struct Listing {
    name: Option<String>,
    #[serde(default = "default_per_page")]
    per_page: usize,
    #[serde(default = "default_page")]
    page: usize,
}

fn default_per_page() -> usize {
    30
}

fn default_page() -> usize {
    1
}

/// `GET …/actions/runners`
pub(crate) async fn list(
    Axum(shared): Axum<Arc<Shared>>,
    allowed: Allowed<ReadRunners>,
    Query(asked): Query<Listing>,
) -> Answer {
    let state = shared.state();
    let named = |runner: &&Runner| asked.name.as_ref().is_none_or(|name| *name == runner.name);
    let own = state.runners.iter().filter(|runner| runner.owner == allowed.owner);
    let found: Vec<Value> = own.filter(named).map(resource).collect();
    let per_page = asked.per_page.clamp(1, 100);
    let page: Vec<&Value> = found.iter().skip(per_page * asked.page.saturating_sub(1)).take(per_page).collect();
    Ok((StatusCode::OK, Json(json!({"total_count": found.len(), "runners": page}))))
}

#[derive(Deserialize)]
pub(crate) struct OfId {
    pub(crate) id: u64,
}

/// `GET …/actions/runners/{id}`
pub(crate) async fn show(
    Axum(shared): Axum<Arc<Shared>>,
    allowed: Allowed<ReadRunners>,
    Path(OfId { id }): Path<OfId>,
) -> Answer {
    let state = shared.state();
    let runner = state.runners.iter().find(|runner| runner.id == id && runner.owner == allowed.owner);
    Ok((StatusCode::OK, Json(runner.map(resource).ok_or_else(Refusal::not_found)?)))
}

/// `DELETE …/actions/runners/{id}`
pub(crate) async fn remove(
    Axum(shared): Axum<Arc<Shared>>,
    allowed: Allowed<WriteRunners>,
    Path(OfId { id }): Path<OfId>,
) -> Result<StatusCode, Refusal> {
    let mut state = shared.state();
    let index = state.runners.iter().position(|runner| runner.id == id && runner.owner == allowed.owner);
    let index = index.ok_or_else(Refusal::not_found)?;
    if state.runners[index].job.is_some() {
        let name = &state.runners[index].name;
        let message = format!("Runner \"{name}\" is currently running a job and cannot be deleted.");
        return Err(Refusal::unprocessable(message));
    }
    state.jit_configs.retain(|_, runner| *runner != id);
    state.runners.remove(index);
    Ok(StatusCode::NO_CONTENT)
}
