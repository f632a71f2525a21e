//! Repositories.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Axum;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::caller::{Allowed, ReadMetadata};
use crate::github::state::repository::Repository;
use crate::github::state::runner::Owner;
use crate::github::state::{PAGES, Shared};

pub(crate) fn resource(repository: &Repository) -> Value {
    json!({
        "id": repository.id, "full_name": repository.name, "name": repository.name.split_once('/').unwrap().1,
        "private": true, "html_url": format!("{PAGES}/{}", repository.name), "owner": {"login": repository.owner()},
    })
}

/// `GET /repos/{owner}/{repo}`
pub(crate) async fn show(Axum(shared): Axum<Arc<Shared>>, allowed: Allowed<ReadMetadata>) -> Answer {
    let state = shared.state();
    let repository = state.repositories.all().find(|found| Owner::Repository(found.id) == allowed.owner);
    let repository = repository.ok_or_else(Refusal::not_found)?;
    Ok((StatusCode::OK, Json(resource(repository))))
}
