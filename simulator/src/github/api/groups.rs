//! Runner groups of an organization.
//!
//! Source: GitHub Docs, "REST API endpoints for self-hosted runner groups".

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State as Axum};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::caller::{Allowed, ReadRunners};
use super::origin::origin;
use super::runners::OfId;
use crate::github::state::Shared;
use crate::github::state::group::{Access, DEFAULT_GROUP, Group};
use crate::github::state::runner::Owner;

fn resource(group: &Group, base: &str) -> Value {
    let base = format!("{base}/{}", group.id);
    let mut shown = json!({
        "id": group.id, "name": group.name, "visibility": group.access.word(), "default": group.id == DEFAULT_GROUP,
        "runners_url": format!("{base}/runners"), "hosted_runners_url": format!("{base}/hosted-runners"),
        "inherited": false, "allows_public_repositories": group.allows_public, "restricted_to_workflows": false,
        "selected_workflows": [], "workflow_restrictions_read_only": false,
    });
    if matches!(group.access, Access::Selected(_)) {
        shown["selected_repositories_url"] = json!(format!("{base}/repositories"));
    }
    shown
}

fn organization(owner: &Owner) -> Result<&str, Refusal> {
    match owner {
        Owner::Organization(login) => Ok(login),
        Owner::Repository(_) => Err(Refusal::not_found()),
    }
}

#[derive(Deserialize)]
pub(crate) struct Listing {
    /// The repository's name without its owner.
    visible_to_repository: Option<String>,
    per_page: Option<usize>,
    page: Option<usize>,
}

/// `GET /orgs/{org}/actions/runner-groups`
pub(crate) async fn list(
    Axum(shared): Axum<Arc<Shared>>,
    allowed: Allowed<ReadRunners>,
    Query(asked): Query<Listing>,
    headers: HeaderMap,
) -> Answer {
    let login = organization(&allowed.owner)?;
    let mut guard = shared.state();
    let state = &mut *guard;
    let wanted = match &asked.visible_to_repository {
        Some(name) => {
            let repository = state.repositories.named(&format!("{login}/{name}"));
            Some(repository.ok_or_else(Refusal::not_found)?)
        }
        None => None,
    };
    let base = format!("{}/orgs/{login}/actions/runner-groups", origin(&headers));
    let visible = |group: &&mut Group| wanted.is_none_or(|repository| group.serves(repository));
    let found: Vec<Value> = state.groups.of(login).filter(visible).map(|group| resource(group, &base)).collect();
    let per_page = asked.per_page.unwrap_or(30).clamp(1, 100);
    let skipped = per_page * asked.page.unwrap_or(1).saturating_sub(1);
    let page: Vec<&Value> = found.iter().skip(skipped).take(per_page).collect();
    Ok((StatusCode::OK, Json(json!({"total_count": found.len(), "runner_groups": page}))))
}

/// `GET /orgs/{org}/actions/runner-groups/{id}`
pub(crate) async fn show(
    Axum(shared): Axum<Arc<Shared>>,
    allowed: Allowed<ReadRunners>,
    Path(OfId { id }): Path<OfId>,
    headers: HeaderMap,
) -> Answer {
    let login = organization(&allowed.owner)?;
    let base = format!("{}/orgs/{login}/actions/runner-groups", origin(&headers));
    let mut state = shared.state();
    let group = state.groups.find(login, id).ok_or_else(Refusal::not_found)?;
    Ok((StatusCode::OK, Json(resource(group, &base))))
}
