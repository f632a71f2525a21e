//! The REST API of the fake GitHub: what holds for every request, and what the App asks for.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State as Axum};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::{Need, Refusal, app, check_headers, permitted, refuse};
use super::jobs::Runner;
use super::{Endpoint, Fault, INSTALLATION, InstallationToken, Shared, hook, manifest, run_of, runner};
use crate::event::Event;
use crate::{random_text, rfc3339, unix_seconds};

const HOUR: u64 = 3600;

pub(super) type Answer = Result<(StatusCode, Json<Value>), Refusal>;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let api = Router::new()
        .route("/app/installations/{id}/access_tokens", post(access_tokens))
        .route("/repos/{owner}/{repo}/installation", get(installation))
        .route("/repos/{owner}/{repo}/actions/runners/registration-token", post(registration_token))
        .route("/repos/{owner}/{repo}/actions/runners/generate-jitconfig", post(jit_config))
        .route("/repos/{owner}/{repo}/actions/runners/{id}", delete(remove_runner))
        .route("/repos/{owner}/{repo}/actions/jobs/{id}", get(job))
        .route("/repos/{owner}/{repo}/actions/runs/{id}/jobs", get(run_jobs))
        .route("/app", get(super::app::show))
        .route("/app/hook/config", get(super::app::hook_config))
        .route("/app-manifests/{code}/conversions", post(manifest::convert))
        .route("/app/hook/deliveries", get(hook::deliveries))
        .route("/app/hook/deliveries/{id}/attempts", post(hook::redeliver))
        .fallback(async || error(&refuse(StatusCode::NOT_FOUND, "Not Found")))
        .layer(from_fn_with_state(Arc::clone(&shared), every_request));
    Router::new()
        .route("/_runner/register", post(runner::register))
        .route("/_runner/start", post(runner::start))
        .route("/_runner/{id}/job", get(runner::next_job))
        .route("/_runner/{id}/done", post(runner::done))
        .route("/_runner/{id}/remove", post(runner::remove))
        .route("/settings/apps/new", post(manifest::personal))
        .route("/organizations/{org}/settings/apps/new", post(manifest::organization))
        .route("/settings/apps/manifest", post(manifest::create))
        .route("/apps/{slug}/installations/new", get(manifest::installation_page).post(manifest::install))
        .merge(api)
        .with_state(shared)
}

fn error((status, message): &Refusal) -> Response {
    let body =
        json!({"message": message, "documentation_url": "https://docs.github.com/rest", "status": status.as_str()});
    (*status, Json(body)).into_response()
}

/// Records each request, checks what GitHub asks of all, and plays the faults.
async fn every_request(Axum(shared): Axum<Arc<Shared>>, request: Request, next: Next) -> Response {
    let line = format!("{} {}", request.method(), request.uri().path());
    let fault = {
        let mut state = shared.state();
        state.requests.push(line.clone());
        let endpoint = endpoint_of(request.uri().path());
        let due = state.faults.iter().position(|(at, _)| Some(*at) == endpoint);
        due.map(|index| state.faults.remove(index).1)
    };
    let mut response = match (check_headers(request.headers()), fault) {
        (Err(refusal), _) => error(&refusal),
        (Ok(()), Some(fault)) => play(fault).await,
        (Ok(()), None) => next.run(request).await,
    };
    let now = i64::try_from(shared.state().now()).unwrap();
    let date = chrono::DateTime::from_timestamp(now, 0).unwrap().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    response.headers_mut().insert("date", date.parse().unwrap());
    if response.status().as_u16() >= 400 {
        let message = response.status().canonical_reason().unwrap_or_default().to_owned();
        shared.events.emit(Event::Refused { request: line, status: response.status().as_u16(), message });
    }
    response
}

fn endpoint_of(path: &str) -> Option<Endpoint> {
    match path {
        _ if path.ends_with("/access_tokens") => Some(Endpoint::AccessTokens),
        _ if path.ends_with("/installation") => Some(Endpoint::Installation),
        _ if path.ends_with("/registration-token") => Some(Endpoint::RegistrationToken),
        _ if path.ends_with("/generate-jitconfig") => Some(Endpoint::JitConfig),
        _ if path.contains("/actions/runners/") => Some(Endpoint::RemoveRunner),
        _ if path.contains("/actions/jobs/") => Some(Endpoint::Job),
        "/app" => Some(Endpoint::App),
        "/app/hook/config" => Some(Endpoint::HookConfig),
        _ if path.ends_with("/conversions") => Some(Endpoint::Conversion),
        "/app/hook/deliveries" => Some(Endpoint::Deliveries),
        _ if path.ends_with("/attempts") => Some(Endpoint::Redelivery),
        _ => None,
    }
}

async fn play(fault: Fault) -> Response {
    let limited = |name: &'static str, value: u64| {
        let mut response = error(&refuse(StatusCode::FORBIDDEN, "You have exceeded a rate limit"));
        response.headers_mut().insert(name, value.into());
        response
    };
    match fault {
        Fault::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap();
            error(&refuse(status, status.canonical_reason().unwrap_or_default()))
        }
        Fault::PrimaryRateLimit { reset_in } => {
            let mut response = limited("x-ratelimit-reset", unix_seconds() + reset_in);
            response.headers_mut().insert("x-ratelimit-remaining", 0.into());
            response
        }
        Fault::SecondaryRateLimit { retry_after } => limited("retry-after", retry_after),
        Fault::Garbage => (StatusCode::CREATED, "<html>so many octocats").into_response(),
        Fault::Stall(time) => {
            tokio::time::sleep(time).await;
            error(&refuse(StatusCode::BAD_GATEWAY, "Bad Gateway"))
        }
    }
}

pub(super) fn respond(answer: Answer) -> Response {
    match answer {
        Ok(answer) => answer.into_response(),
        Err(refusal) => error(&refusal),
    }
}

#[derive(Deserialize, Default)]
struct Narrowing {
    repositories: Option<Vec<String>>,
    permissions: Option<std::collections::BTreeMap<String, String>>,
}

async fn access_tokens(
    Axum(shared): Axum<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = || -> Answer {
        let caller = app(&shared, &headers)?;
        let narrowing: Narrowing = if body.is_empty() {
            Narrowing::default()
        } else {
            serde_json::from_slice(&body).map_err(|_| refuse(StatusCode::BAD_REQUEST, "Problems parsing JSON"))?
        };
        let mut state = shared.state();
        if id != INSTALLATION.to_string() || state.installed.is_empty() || state.installed_app != caller.id {
            return Err(refuse(StatusCode::NOT_FOUND, "Not Found"));
        }
        if state.suspended {
            return Err(refuse(StatusCode::FORBIDDEN, "This installation has been suspended"));
        }
        let unprocessable = |message| Err(refuse(StatusCode::UNPROCESSABLE_ENTITY, message));
        let mut repositories = BTreeSet::new();
        for name in narrowing.repositories.iter().flatten() {
            match state.installed.iter().find(|full| full.ends_with(&format!("/{name}"))) {
                Some(full) => repositories.insert(full.clone()),
                None => {
                    let message = "There is at least one repository that does not exist or is not accessible to the \
                                   parent installation.";
                    return unprocessable(message);
                }
            };
        }
        if narrowing.repositories.is_none() {
            repositories = state.installed.clone();
        }
        let asked = narrowing.permissions.unwrap_or_default();
        let administers = asked.get("administration").map_or(asked.is_empty(), |level| level == "write");
        let unknown = asked.keys().any(|name| !["administration", "actions", "metadata"].contains(&name.as_str()));
        if unknown || (asked.contains_key("administration") && !caller.may_administer()) {
            return unprocessable("The permissions requested are not granted to this installation.");
        }
        let token = format!("ghs_{}", random_text(516));
        let expires_at = unix_seconds() + HOUR;
        let names: Vec<_> = repositories.iter().cloned().collect();
        let administers = administers && caller.may_administer();
        let reads_actions = asked.is_empty() || asked.contains_key("actions");
        let granted = InstallationToken { repositories, administers, reads_actions, expires_at };
        state.installation_tokens.insert(token.clone(), granted);
        drop(state);
        shared.events.emit(Event::InstallationToken { repositories: names });
        let body = json!({"token": token, "expires_at": rfc3339(expires_at), "permissions": asked});
        Ok((StatusCode::CREATED, Json(body)))
    };
    respond(answer())
}

async fn installation(
    Axum(shared): Axum<Arc<Shared>>,
    Path((owner, repo)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let answer = || -> Answer {
        let caller = app(&shared, &headers)?;
        let state = shared.state();
        if state.installed_app != caller.id || !state.installed.contains(&format!("{owner}/{repo}")) {
            return Err(refuse(StatusCode::NOT_FOUND, "Not Found"));
        }
        Ok((StatusCode::OK, Json(json!({"id": INSTALLATION, "app_id": caller.id, "repository_selection": "selected"}))))
    };
    respond(answer())
}

async fn registration_token(
    Axum(shared): Axum<Arc<Shared>>,
    Path((owner, repo)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let repository = format!("{owner}/{repo}");
    let answer = || -> Answer {
        let mut state = shared.state();
        permitted(&state, &headers, &repository, Need::Administration)?;
        let token = format!("A{}", random_text(28));
        let expires_at = unix_seconds() + HOUR;
        state.registration_tokens.insert(token.clone(), (repository.clone(), expires_at));
        drop(state);
        shared.events.emit(Event::RegistrationToken { repository: repository.clone() });
        Ok((StatusCode::CREATED, Json(json!({"token": token, "expires_at": rfc3339(expires_at)}))))
    };
    respond(answer())
}

#[derive(Deserialize)]
struct JitRequest {
    name: String,
    runner_group_id: u64,
    labels: Vec<String>,
}

async fn jit_config(
    Axum(shared): Axum<Arc<Shared>>,
    Path((owner, repo)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let repository = format!("{owner}/{repo}");
    let answer = || -> Answer {
        let mut state = shared.state();
        permitted(&state, &headers, &repository, Need::Administration)?;
        let asked: JitRequest = serde_json::from_slice(&body)
            .map_err(|_| refuse(StatusCode::UNPROCESSABLE_ENTITY, "Invalid request: name, runner_group_id, labels"))?;
        if asked.labels.is_empty() || asked.labels.len() > 100 {
            return Err(refuse(StatusCode::UNPROCESSABLE_ENTITY, "labels must have 1 to 100 entries"));
        }
        if asked.runner_group_id != 1 {
            return Err(refuse(StatusCode::NOT_FOUND, "Not Found"));
        }
        if state.runners.iter().any(|runner| runner.name == asked.name) {
            return Err(refuse(StatusCode::CONFLICT, "Already exists - A runner with this name already exists"));
        }
        let id = state.next_id();
        let config = crate::runner::jit_configuration(&format!("https://github.com/{repository}"), &random_text(60));
        state.jit_configs.insert(config.clone(), id);
        let runner = json!({"id": id, "name": asked.name, "os": "unknown", "status": "offline", "busy": false});
        let (name, labels) = (asked.name, asked.labels);
        state.runners.push(Runner {
            id,
            name: name.clone(),
            repository: repository.clone(),
            labels,
            job: None,
            online: false,
        });
        drop(state);
        shared.events.emit(Event::JitConfig { repository: repository.clone(), runner: name });
        Ok((StatusCode::CREATED, Json(json!({"runner": runner, "encoded_jit_config": config}))))
    };
    respond(answer())
}

async fn remove_runner(
    Axum(shared): Axum<Arc<Shared>>,
    Path((owner, repo, id)): Path<(String, String, u64)>,
    headers: HeaderMap,
) -> Response {
    let repository = format!("{owner}/{repo}");
    let remove = || -> Result<(), Refusal> {
        let mut state = shared.state();
        permitted(&state, &headers, &repository, Need::Administration)?;
        let of_id = |runner: &Runner| runner.id == id && runner.repository == repository;
        let index = state.runners.iter().position(of_id);
        let index = index.ok_or_else(|| refuse(StatusCode::NOT_FOUND, "Not Found"))?;
        if state.runners[index].job.is_some() {
            let name = &state.runners[index].name;
            let message = format!("Runner \"{name}\" is currently running a job and cannot be deleted.");
            return Err(refuse(StatusCode::UNPROCESSABLE_ENTITY, &message));
        }
        state.jit_configs.retain(|_, runner| *runner != id);
        state.runners.remove(index);
        Ok(())
    };
    match remove() {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => error(&refusal),
    }
}

async fn job(
    Axum(shared): Axum<Arc<Shared>>,
    Path((owner, repo, id)): Path<(String, String, u64)>,
    headers: HeaderMap,
) -> Response {
    let repository = format!("{owner}/{repo}");
    let answer = || -> Answer {
        let state = shared.state();
        permitted(&state, &headers, &repository, Need::Actions)?;
        let job = state.jobs.get(&id).filter(|job| job.repository == repository);
        let job = job.ok_or_else(|| refuse(StatusCode::NOT_FOUND, "Not Found"))?;
        Ok((StatusCode::OK, Json(job.resource(id))))
    };
    respond(answer())
}

async fn run_jobs(
    Axum(shared): Axum<Arc<Shared>>,
    Path((owner, repo, run)): Path<(String, String, u64)>,
    headers: HeaderMap,
) -> Response {
    let repository = format!("{owner}/{repo}");
    let answer = || -> Answer {
        let state = shared.state();
        permitted(&state, &headers, &repository, Need::Actions)?;
        let found = state.jobs.iter().filter(|(id, job)| run_of(**id) == run && job.repository == repository);
        let jobs: Vec<Value> = found.map(|(id, job)| job.resource(*id)).collect();
        if jobs.is_empty() {
            return Err(refuse(StatusCode::NOT_FOUND, "Not Found"));
        }
        Ok((StatusCode::OK, Json(json!({"total_count": jobs.len(), "jobs": jobs}))))
    };
    respond(answer())
}
