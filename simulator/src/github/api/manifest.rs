//! Registering an App from a manifest, as a browser and the API see it: the posted form, the page that asks, the code,
//! its conversion, and the page that installs the App.

use std::sync::Arc;

use axum::extract::{Form, Path, Query, State as Axum};
use axum::http::header::{CONTENT_SECURITY_POLICY, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use jwt_simple::prelude::RS256KeyPair;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::answer::{Answer, Refusal};
use super::app::resource;
use super::origin::origin;
use crate::github::state::Shared;
use crate::github::state::app::{App, INSTALLATION};
use crate::github::state::manifest::{MAX_NAME, Manifest};
use crate::random::random_text;

const CODE_SECONDS: u64 = 3600;

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!("<!DOCTYPE html><meta charset=utf-8><title>{title}</title><h1>{title}</h1>{body}");
    let policy = [(CONTENT_SECURITY_POLICY, "default-src 'none'")];
    (status, policy, Html(html)).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[derive(Deserialize)]
pub(crate) struct Posted {
    manifest: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Asked {
    state: Option<String>,
}

/// `POST /settings/apps/new`
pub(crate) async fn personal(
    Axum(shared): Axum<Arc<Shared>>,
    Query(asked): Query<Asked>,
    Form(posted): Form<Posted>,
) -> Response {
    show(&shared, "octocat", asked, posted)
}

/// `POST /organizations/{org}/settings/apps/new`
pub(crate) async fn organization(
    Axum(shared): Axum<Arc<Shared>>,
    Path(organization): Path<String>,
    Query(asked): Query<Asked>,
    Form(posted): Form<Posted>,
) -> Response {
    if !shared.state().repositories.all().any(|found| found.owner().eq_ignore_ascii_case(&organization)) {
        return page(StatusCode::NOT_FOUND, "Not Found", "");
    }
    show(&shared, &organization, asked, posted)
}

/// The page that asks whether to make the App.
fn show(shared: &Shared, owner: &str, asked: Asked, posted: Posted) -> Response {
    let manifest = posted.manifest.as_deref().unwrap_or_default();
    let checked = serde_json::from_str::<Manifest>(manifest)
        .map_err(|error| error.to_string())
        .and_then(|manifest| manifest.check().map(|()| manifest));
    let manifest = match checked {
        Ok(manifest) => manifest,
        Err(why) => {
            let why =
                format!("<p>The configuration does not appear to be a valid GitHub App manifest.<p>{}", escaped(&why));
            return page(StatusCode::UNPROCESSABLE_ENTITY, "Invalid GitHub App configuration", &why);
        }
    };
    let token = random_text(20);
    let name = escaped(manifest.name.as_deref().unwrap_or_default());
    let body = format!(
        "<form method=post action=/settings/apps/manifest><input type=hidden name=token value={token}>\
         <label>GitHub App name <input name=name value=\"{name}\" maxlength={MAX_NAME}></label>\
         <button id=create>Create GitHub App for {}</button></form>",
        escaped(owner)
    );
    shared.state().registrations.pending.insert(token, (manifest, owner.to_owned(), asked.state));
    page(StatusCode::OK, "Create GitHub App", &body)
}

#[derive(Deserialize)]
pub(crate) struct Confirmed {
    token: String,
    name: String,
}

/// `POST /settings/apps/manifest`: the App is made, and the browser goes back with a code.
pub(crate) async fn create(Axum(shared): Axum<Arc<Shared>>, Form(confirmed): Form<Confirmed>) -> Response {
    let key = tokio::task::spawn_blocking(|| RS256KeyPair::generate(2048).unwrap()).await.unwrap();
    let mut state = shared.state();
    if state.apps.iter().any(|app| app.name.eq_ignore_ascii_case(&confirmed.name)) {
        return page(StatusCode::UNPROCESSABLE_ENTITY, "Create GitHub App", "Name is already in use");
    }
    let Some((manifest, owner, client_state)) = state.registrations.pending.remove(&confirmed.token) else {
        return page(StatusCode::NOT_FOUND, "Not Found", "");
    };
    let id = state.next_id() % 1_000_000;
    let slug = confirmed.name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let webhook_active = manifest.hook_attributes.as_ref().is_some_and(|hook| hook.active.unwrap_or(true));
    let hook = manifest.hook_attributes.and_then(|hook| hook.url).unwrap_or_default();
    state.apps.push(App {
        id,
        name: confirmed.name,
        slug,
        owner,
        key,
        webhook_secret: random_text(40).to_lowercase(),
        webhook_url: hook,
        webhook_active,
        setup_url: manifest.setup_url.unwrap_or_default(),
        permissions: manifest.default_permissions,
        events: manifest.default_events,
    });
    let code = random_text(40).to_lowercase();
    let end = state.now() + CODE_SECONDS;
    state.registrations.codes.insert(code.clone(), (id, end));
    let mut back = Url::parse(&manifest.redirect_url.unwrap_or_default()).unwrap();
    back.query_pairs_mut().append_pair("code", &code);
    if let Some(client_state) = client_state {
        back.query_pairs_mut().append_pair("state", &client_state);
    }
    (StatusCode::FOUND, [(LOCATION, back.to_string())]).into_response()
}

/// `POST /app-manifests/{code}/conversions`: once per code, within an hour.
pub(crate) async fn convert(Axum(shared): Axum<Arc<Shared>>, Path(code): Path<String>, headers: HeaderMap) -> Answer {
    let mut state = shared.state();
    let (id, end) = state.registrations.codes.remove(&code).ok_or_else(Refusal::not_found)?;
    let app = state.apps.iter().find(|app| app.id == id && !state.expired(end)).ok_or_else(Refusal::not_found)?;
    let mut shown = resource(app, &origin(&headers));
    let secrets = json!({
        "client_secret": random_text(40), "webhook_secret": app.webhook_secret, "pem": app.key.to_pem().unwrap(),
    });
    for (name, value) in secrets.as_object().into_iter().flatten() {
        shown[name] = Value::clone(value);
    }
    Ok((StatusCode::CREATED, axum::Json(shown)))
}

/// `GET /apps/{slug}/installations/new`: for all repositories there are.
pub(crate) async fn installation_page(Axum(shared): Axum<Arc<Shared>>, Path(slug): Path<String>) -> Response {
    let state = shared.state();
    if !state.apps.iter().any(|app| app.slug == slug) {
        return page(StatusCode::NOT_FOUND, "Not Found", "");
    }
    let repositories: Vec<_> = state.repositories.all().map(|found| format!("<li>{}", escaped(&found.name))).collect();
    let body =
        format!("<ul>{}</ul><form method=post><button id=install>Install</button></form>", repositories.concat());
    page(StatusCode::OK, "Install", &body)
}

/// `POST /apps/{slug}/installations/new`
pub(crate) async fn install(Axum(shared): Axum<Arc<Shared>>, Path(slug): Path<String>) -> Response {
    let mut state = shared.state();
    let Some(app) = state.apps.iter().find(|app| app.slug == slug).cloned() else {
        return page(StatusCode::NOT_FOUND, "Not Found", "");
    };
    state.install(app.id, INSTALLATION);
    match Url::parse(&app.setup_url) {
        Ok(mut back) => {
            let installation = INSTALLATION.to_string();
            back.query_pairs_mut().append_pair("installation_id", &installation).append_pair("setup_action", "install");
            (StatusCode::FOUND, [(LOCATION, back.to_string())]).into_response()
        }
        Err(_) => page(StatusCode::OK, "Installed", ""),
    }
}
