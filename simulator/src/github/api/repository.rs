//! Repositories.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Axum;
use axum::http::StatusCode;

use super::answer::{Answer, Refusal};
use super::caller::{Allowed, ReadMetadata};
use crate::github::state::Shared;
use crate::github::state::runner::Owner;

/// `GET /repos/{owner}/{repo}`
pub(crate) async fn show(Axum(shared): Axum<Arc<Shared>>, allowed: Allowed<ReadMetadata>) -> Answer {
    let state = shared.state();
    let repository = state.repositories.all().find(|found| Owner::Repository(found.id) == allowed.owner);
    let repository = repository.ok_or_else(Refusal::not_found)?;
    Ok((StatusCode::OK, Json(repository.resource())))
}
