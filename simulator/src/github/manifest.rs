//! Registering an App from a manifest, as a browser and the API see it: the posted form, the page that asks, the code,
//! its conversion, and the page that installs the App.
//!
//! Sources: GitHub Docs, "Registering a GitHub App from a manifest"; the messages are those that GitHub's page shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Form, Path, Query, State as Axum};
use axum::http::header::{CONTENT_SECURITY_POLICY, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use jwt_simple::prelude::RS256KeyPair;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::api::{Answer, respond};
use super::app::App;
use super::auth::refuse;
use super::{GitHub, INSTALLATION, Shared, expired, origin};
use crate::{random_text, unix_seconds};

const CODE_SECONDS: u64 = 3600;
const MAX_NAME: usize = 34;
/// What each permission may be, of those that an App of this kind could want, and the events that it covers.
const PERMISSIONS: &[(&str, &[&str], &[&str])] = &[
    ("administration", &["read", "write"], &["repository", "branch_protection_rule"]),
    ("actions", &["read", "write"], &["workflow_job", "workflow_run"]),
    ("checks", &["read", "write"], &["check_run", "check_suite"]),
    ("contents", &["read", "write"], &["push", "release"]),
    ("metadata", &["read"], &["star", "watch"]),
    ("organization_self_hosted_runners", &["read", "write"], &[]),
];

/// A manifest that is being looked at, and an App whose code was not exchanged yet.
#[derive(Default)]
pub(super) struct Registrations {
    /// By the page's token: manifest, owner, and the client's `state`.
    pending: BTreeMap<String, (Manifest, String, Option<String>)>,
    /// By code: the App's id, and the code's end.
    codes: BTreeMap<String, (u64, u64)>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: Option<String>,
    url: Option<String>,
    hook_attributes: Option<Hook>,
    redirect_url: Option<String>,
    setup_url: Option<String>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default, rename = "public")]
    _public: bool,
    #[serde(default)]
    default_permissions: BTreeMap<String, String>,
    #[serde(default)]
    default_events: Vec<String>,
}

/// Without a secret: GitHub makes that itself.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hook {
    url: Option<String>,
    #[serde(default, rename = "active")]
    _active: Option<bool>,
}

impl Manifest {
    fn check(&self) -> Result<(), String> {
        let is_url = |text: &str| Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if self.url.is_none() || self.hook_attributes.as_ref().is_some_and(|hook| hook.url.is_none()) {
            return Err("Error: \"url\" wasn't supplied.".to_owned());
        }
        if self.redirect_url.is_none() {
            return Err("Error: \"redirect_url\" wasn't supplied.".to_owned());
        }
        let hook = self.hook_attributes.as_ref().and_then(|hook| hook.url.as_ref());
        for url in [self.url.as_ref(), hook, self.redirect_url.as_ref(), self.setup_url.as_ref()].into_iter().flatten()
        {
            if !is_url(url) {
                return Err(format!("{url} is not a valid URL"));
            }
        }
        if self.name.as_ref().is_some_and(|name| name.chars().count() > MAX_NAME) {
            return Err(format!("Name is too long (maximum is {MAX_NAME} characters)"));
        }
        let known = |name: &str| PERMISSIONS.iter().find(|(known, ..)| *known == name);
        for (name, level) in &self.default_permissions {
            if known(name).is_none_or(|(_, levels, _)| !levels.contains(&level.as_str())) {
                return Err(format!("Default permission records resource is not included in the list: {name} {level}"));
            }
        }
        for event in &self.default_events {
            if !PERMISSIONS.iter().any(|(.., events)| events.contains(&event.as_str())) {
                return Err(format!("Default events unsupported: {event}"));
            }
            let covers = |name: &String| known(name).is_some_and(|(.., events)| events.contains(&event.as_str()));
            if !self.default_permissions.keys().any(covers) {
                return Err(format!("Default events are not supported by permissions: {event}"));
            }
        }
        Ok(())
    }
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!("<!DOCTYPE html><meta charset=utf-8><title>{title}</title><h1>{title}</h1>{body}");
    let policy = [(CONTENT_SECURITY_POLICY, "default-src 'none'")];
    (status, policy, Html(html)).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[derive(Deserialize)]
pub(super) struct Posted {
    manifest: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Asked {
    state: Option<String>,
}

/// `POST /settings/apps/new`
pub(super) async fn personal(
    Axum(shared): Axum<Arc<Shared>>,
    Query(asked): Query<Asked>,
    Form(posted): Form<Posted>,
) -> Response {
    show(&shared, "octocat", asked, posted)
}

/// `POST /organizations/{org}/settings/apps/new`
pub(super) async fn organization(
    Axum(shared): Axum<Arc<Shared>>,
    Path(organization): Path<String>,
    Query(asked): Query<Asked>,
    Form(posted): Form<Posted>,
) -> Response {
    let owns = format!("{organization}/").to_lowercase();
    if !shared.state().repositories.keys().any(|name| name.to_lowercase().starts_with(&owns)) {
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
pub(super) struct Confirmed {
    token: String,
    name: String,
}

/// `POST /settings/apps/manifest`: the App is made, and the browser goes back with a code.
pub(super) async fn create(Axum(shared): Axum<Arc<Shared>>, Form(confirmed): Form<Confirmed>) -> Response {
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
    let hook = manifest.hook_attributes.and_then(|hook| hook.url).unwrap_or_default();
    state.apps.push(App {
        id,
        name: confirmed.name,
        slug,
        owner,
        key,
        webhook_secret: random_text(40).to_lowercase(),
        webhook_url: hook,
        setup_url: manifest.setup_url.unwrap_or_default(),
        permissions: manifest.default_permissions,
        events: manifest.default_events,
    });
    let code = random_text(40).to_lowercase();
    state.registrations.codes.insert(code.clone(), (id, unix_seconds() + CODE_SECONDS));
    let mut back = Url::parse(&manifest.redirect_url.unwrap_or_default()).unwrap();
    back.query_pairs_mut().append_pair("code", &code);
    if let Some(client_state) = client_state {
        back.query_pairs_mut().append_pair("state", &client_state);
    }
    (StatusCode::FOUND, [(LOCATION, back.to_string())]).into_response()
}

/// `POST /app-manifests/{code}/conversions`: once per code, within an hour.
pub(super) async fn convert(Axum(shared): Axum<Arc<Shared>>, Path(code): Path<String>, headers: HeaderMap) -> Response {
    let answer = || -> Answer {
        let mut state = shared.state();
        let found = state.registrations.codes.remove(&code).filter(|(_, end)| !expired(*end));
        let (id, _) = found.ok_or_else(|| refuse(StatusCode::NOT_FOUND, "Not Found"))?;
        let app =
            state.apps.iter().find(|app| app.id == id).ok_or_else(|| refuse(StatusCode::NOT_FOUND, "Not Found"))?;
        let mut shown = app.shown(&origin(&headers));
        let secrets = json!({
            "client_secret": random_text(40), "webhook_secret": app.webhook_secret, "pem": app.key.to_pem().unwrap(),
        });
        for (name, value) in secrets.as_object().into_iter().flatten() {
            shown[name] = Value::clone(value);
        }
        Ok((StatusCode::CREATED, axum::Json(shown)))
    };
    respond(answer())
}

/// `GET /apps/{slug}/installations/new`: for all repositories there are.
pub(super) async fn installation_page(Axum(shared): Axum<Arc<Shared>>, Path(slug): Path<String>) -> Response {
    let state = shared.state();
    if !state.apps.iter().any(|app| app.slug == slug) {
        return page(StatusCode::NOT_FOUND, "Not Found", "");
    }
    let repositories: Vec<_> = state.repositories.keys().map(|name| format!("<li>{}", escaped(name))).collect();
    let body =
        format!("<ul>{}</ul><form method=post><button id=install>Install</button></form>", repositories.concat());
    page(StatusCode::OK, "Install", &body)
}

/// `POST /apps/{slug}/installations/new`
pub(super) async fn install(Axum(shared): Axum<Arc<Shared>>, Path(slug): Path<String>) -> Response {
    let mut state = shared.state();
    let Some(app) = state.apps.iter().find(|app| app.slug == slug).cloned() else {
        return page(StatusCode::NOT_FOUND, "Not Found", "");
    };
    state.installed_app = app.id;
    state.installed = state.repositories.keys().cloned().collect();
    match Url::parse(&app.setup_url) {
        Ok(mut back) => {
            let installation = INSTALLATION.to_string();
            back.query_pairs_mut().append_pair("installation_id", &installation).append_pair("setup_action", "install");
            (StatusCode::FOUND, [(LOCATION, back.to_string())]).into_response()
        }
        Err(_) => page(StatusCode::OK, "Installed", ""),
    }
}

impl GitHub {
    /// Makes every code that was not exchanged yet as old as GitHub lets it become.
    pub fn expire_codes(&self) {
        self.shared.state().registrations.codes.values_mut().for_each(|(_, end)| *end = 0);
    }
}
