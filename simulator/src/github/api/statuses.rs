//! Statuses of commits.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State as Axum};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::caller::{Allowed, ReadStatuses, WriteStatuses};
use crate::clock::rfc3339;
use crate::event::Event;
use crate::github::state::commit::is_sha;
use crate::github::state::runner::Owner;
use crate::github::state::status::CommitStatus;
use crate::github::state::{Shared, State};

const STATES: [&str; 4] = ["error", "failure", "pending", "success"];
/// In characters.
const MAX_DESCRIPTION: usize = 140;
/// Of a commit and a context.
const MAX_STATUSES: usize = 1000;
const RESOURCE: &str = "Status";

#[derive(Deserialize)]
pub(crate) struct OfCommit {
    sha: String,
}

#[derive(Deserialize)]
struct Asked {
    state: String,
    target_url: Option<String>,
    description: Option<String>,
    #[serde(default = "default_context")]
    context: String,
}

fn default_context() -> String {
    "default".to_owned()
}

impl Asked {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        let invalid = |why: String| Refusal::unprocessable(format!("Invalid request.\n\n{why}"));
        let body: Value =
            serde_json::from_slice(body).map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "Problems parsing JSON"))?;
        match &body["state"] {
            Value::Null => return Err(invalid("\"state\" wasn't supplied.".to_owned())),
            Value::String(state) if STATES.contains(&state.as_str()) => {}
            other => return Err(invalid(format!("{other} is not a member of {STATES:?}."))),
        }
        let asked: Self = serde_json::from_value(body).map_err(|error| invalid(format!("{error}.")))?;
        let refused = |field, message| Err(Refusal::invalid(RESOURCE, Some(field), message));
        if asked.description.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION) {
            return refused("description", "description is too long (maximum is 140 characters)");
        }
        let is_link = |url: &String| url.starts_with("https://") || url.starts_with("http://");
        if !asked.target_url.as_ref().is_none_or(is_link) {
            return refused("target_url", "target_url must use http(s) scheme");
        }
        Ok(asked)
    }
}

/// The repository's id, when it has the commit.
fn repository_with(state: &State, owner: &Owner, sha: &str) -> Result<u64, Refusal> {
    let Owner::Repository(id) = *owner else { return Err(Refusal::not_found()) };
    if !state.has_commit(id, sha) {
        return Err(Refusal::unprocessable(format!("No commit found for SHA: {sha}")));
    }
    Ok(id)
}

fn resource(state: &State, status: &CommitStatus) -> Value {
    let at = rfc3339(status.created_at);
    let login = state.app().map(|app| format!("{}[bot]", app.slug));
    json!({
        "id": status.id, "node_id": "SC_x", "state": status.state, "description": status.description,
        "target_url": status.target_url, "context": status.context, "created_at": at, "updated_at": at,
        "creator": {"login": login, "type": "Bot"},
    })
}

/// `POST /repos/{owner}/{repo}/statuses/{sha}`
pub(crate) async fn create(
    Axum(shared): Axum<Arc<Shared>>,
    allowed: Allowed<WriteStatuses>,
    Path(OfCommit { sha }): Path<OfCommit>,
    body: Bytes,
) -> Answer {
    let asked = Asked::read(&body)?;
    let mut state = shared.state();
    if !is_sha(&sha) {
        return Err(Refusal::invalid(RESOURCE, Some("sha"), "sha must be a 40 character SHA1"));
    }
    let sha = sha.to_lowercase();
    let repository_id = repository_with(&state, &allowed.owner, &sha)?;
    let same = |status: &&CommitStatus| {
        status.repository_id == repository_id
            && status.sha == sha
            && status.context.eq_ignore_ascii_case(&asked.context)
    };
    if state.statuses.iter().filter(same).count() >= MAX_STATUSES {
        let message = "This SHA and context has reached the maximum number of statuses.";
        return Err(Refusal::invalid(RESOURCE, None, message));
    }
    let status = CommitStatus {
        id: state.next_id(),
        repository_id,
        sha: sha.clone(),
        state: asked.state,
        context: asked.context,
        description: asked.description,
        target_url: asked.target_url,
        created_at: state.now(),
    };
    let shown = resource(&state, &status);
    let event = Event::CommitStatus {
        repository: state.name_of(&allowed.owner),
        sha,
        state: status.state.clone(),
        context: status.context.clone(),
        description: status.description.clone().unwrap_or_default(),
    };
    state.statuses.push(status);
    drop(state);
    shared.events.emit(event);
    Ok((StatusCode::CREATED, Json(shown)))
}

#[derive(Deserialize)]
pub(crate) struct Page {
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

/// `GET /repos/{owner}/{repo}/commits/{sha}/statuses`: the newest first.
pub(crate) async fn list(
    Axum(shared): Axum<Arc<Shared>>,
    allowed: Allowed<ReadStatuses>,
    Path(OfCommit { sha }): Path<OfCommit>,
    Query(page): Query<Page>,
) -> Answer {
    let state = shared.state();
    let repository_id = repository_with(&state, &allowed.owner, &sha)?;
    let per_page = page.per_page.clamp(1, 100);
    let own = state.statuses.iter().rev().filter(|status| status.repository_id == repository_id && status.sha == sha);
    let shown = own.skip(per_page * page.page.saturating_sub(1)).take(per_page);
    let shown: Vec<Value> = shown.map(|status| resource(&state, status)).collect();
    Ok((StatusCode::OK, Json(json!(shown))))
}
