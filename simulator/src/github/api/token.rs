//! Installations and their tokens.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State as Axum};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::caller::{AsApp, OfApp};
use crate::clock::rfc3339;
use crate::event::Event;
use crate::github::state::account::account_id;
use crate::github::state::permission::{Level, Permissions, allows};
use crate::github::state::repository::Repository;
use crate::github::state::token::InstallationToken;
use crate::github::state::{Shared, State};
use crate::random::random_text;

const HOUR: u64 = 3600;
/// As GitHub counts both kinds of names.
const MAX_REPOSITORIES: usize = 500;

/// `GET /repos/{owner}/{repo}/installation`
pub(crate) async fn installation(Axum(shared): Axum<Arc<Shared>>, OfApp { app, repository }: OfApp) -> Answer {
    let (kind, permissions) = (repository.resource()["owner"]["type"].clone(), shared.state().permissions(&app));
    let shown = json!({
        "id": repository.installation, "app_id": app.id, "app_slug": app.slug, "repository_selection": "selected",
        "account": {"login": repository.owner(), "id": account_id(repository.owner()), "type": kind},
        "target_type": kind, "permissions": permissions, "events": app.events,
        "suspended_at": null,
    });
    Ok((StatusCode::OK, Json(shown)))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Narrowing {
    repositories: Option<Vec<String>>,
    repository_ids: Option<Vec<u64>>,
    permissions: Option<Permissions>,
}

/// `POST /app/installations/{id}/access_tokens`
pub(crate) async fn access_tokens(
    Axum(shared): Axum<Arc<Shared>>,
    AsApp(app): AsApp,
    Path(installation): Path<u64>,
    body: Bytes,
) -> Answer {
    let narrowing = read(&body)?;
    let mut state = shared.state();
    let installed = state.installed_app == app.id && state.repositories.of(installation).next().is_some();
    if !installed {
        return Err(Refusal::not_found());
    }
    if state.suspended.contains(&installation) {
        return Err(Refusal::forbidden("This installation has been suspended"));
    }
    let repositories = covered(&state, installation, &narrowing)?;
    let permissions = granted(&state.permissions(&app), narrowing.permissions)?;
    let token = format!("ghs_{}", random_text(516));
    let expires_at = state.now() + HOUR;
    let mut shown = json!({"token": token, "expires_at": rfc3339(expires_at), "permissions": permissions});
    let known: Vec<_> = repositories.iter().filter_map(|id| state.repositories.get(*id)).collect();
    let names = known.iter().map(|repository| repository.name.clone()).collect();
    shown["repository_selection"] = json!("selected");
    if narrowing.repositories.is_some() || narrowing.repository_ids.is_some() {
        shown["repositories"] = known.into_iter().map(Repository::resource).collect::<Value>();
    }
    let made = InstallationToken::new(installation, repositories, permissions, expires_at, state.habits.token_lag);
    state.installation_tokens.insert(token, made);
    drop(state);
    shared.events.emit(Event::InstallationToken { repositories: names });
    Ok((StatusCode::CREATED, Json(shown)))
}

fn read(body: &[u8]) -> Result<Narrowing, Refusal> {
    if body.is_empty() {
        return Ok(Narrowing::default());
    }
    let body: Value =
        serde_json::from_slice(body).map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "Problems parsing JSON"))?;
    serde_json::from_value(body).map_err(|error| Refusal::unprocessable(format!("Invalid request.\n\n{error}.")))
}

/// The repositories that a token is for: all of the installation, or those that it was narrowed to.
fn covered(state: &State, installation: u64, narrowing: &Narrowing) -> Result<BTreeSet<u64>, Refusal> {
    if narrowing.repositories.is_none() && narrowing.repository_ids.is_none() {
        return Ok(state.repositories.of(installation).map(|repository| repository.id).collect());
    }
    let names = narrowing.repositories.iter().flatten();
    // By the name alone, without the owner.
    let by_name = names.map(|name| {
        let mut own = state.repositories.of(installation);
        own.find(|own| own.name.split_once('/').is_some_and(|(_, own)| own.eq_ignore_ascii_case(name)))
    });
    let ids = narrowing.repository_ids.iter().flatten();
    let by_id = ids.map(|id| state.repositories.of(installation).find(|own| own.id == *id));
    let found: Option<BTreeSet<u64>> = by_name.chain(by_id).map(|own| own.map(|own| own.id)).collect();
    let found = found.ok_or_else(|| {
        Refusal::unprocessable(
            "There is at least one repository that does not exist or is not accessible to the parent installation.",
        )
    })?;
    if found.len() > MAX_REPOSITORIES {
        return Err(Refusal::unprocessable("Too many repositories for installation."));
    }
    Ok(found)
}

/// The permissions that a token has: all of the installation's, or those that it was narrowed to. Metadata comes with any.
fn granted(held: &Permissions, asked: Option<Permissions>) -> Result<Permissions, Refusal> {
    let Some(mut asked) = asked.filter(|asked| !asked.is_empty()) else { return Ok(held.clone()) };
    for (name, level) in &asked {
        let level = match level.as_str() {
            "read" => Level::Read,
            "write" => Level::Write,
            other => {
                let message = format!("Invalid request.\n\n{other} is not a member of [\"read\", \"write\"].");
                return Err(Refusal::unprocessable(message));
            }
        };
        if !allows(held, name, level) {
            return Err(Refusal::unprocessable("The permissions requested are not granted to this installation."));
        }
    }
    asked.entry("metadata".to_owned()).or_insert_with(|| "read".to_owned());
    Ok(asked)
}
