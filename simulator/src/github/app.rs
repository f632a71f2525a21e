//! Apps: who they are at GitHub, and what each may ask about itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State as Axum;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jwt_simple::prelude::RS256KeyPair;
use serde_json::{Value, json};

use super::api::{Answer, respond};
use super::auth::app;
use super::{APP_ID, GitHub, Shared, State};

/// A GitHub App.
#[derive(Clone)]
pub(super) struct App {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) slug: String,
    pub(super) owner: String,
    pub(super) key: RS256KeyPair,
    pub(super) webhook_secret: String,
    pub(super) webhook_url: String,
    pub(super) setup_url: String,
    pub(super) permissions: BTreeMap<String, String>,
    pub(super) events: Vec<String>,
}

impl App {
    /// The App that most tests begin with: registered by hand, all in order.
    pub(super) fn registered(key: RS256KeyPair, webhook_secret: &str) -> Self {
        let permissions = [("administration", "write"), ("actions", "read"), ("metadata", "read")];
        Self {
            id: APP_ID.parse().unwrap(),
            name: "gha-slurm".to_owned(),
            slug: "gha-slurm".to_owned(),
            owner: "octo-org".to_owned(),
            key,
            webhook_secret: webhook_secret.to_owned(),
            webhook_url: String::new(),
            setup_url: String::new(),
            permissions: permissions.map(|(name, level)| (name.to_owned(), level.to_owned())).into(),
            events: vec!["workflow_job".to_owned()],
        }
    }

    pub(super) fn may_administer(&self) -> bool {
        self.permissions.get("administration").is_some_and(|level| level == "write")
    }

    /// As `GET /app` and the conversion of a manifest show it.
    pub(super) fn shown(&self, origin: &str) -> Value {
        json!({
            "id": self.id, "slug": self.slug, "node_id": "MDExOkludGVncmF0aW9uMQ==", "name": self.name,
            "client_id": format!("Iv1.{:016x}", self.id), "owner": {"login": self.owner},
            "html_url": format!("{origin}/apps/{}", self.slug), "external_url": "", "description": null,
            "permissions": self.permissions, "events": self.events,
        })
    }
}

impl State {
    /// The App of the one installation; before there is one, the first.
    pub(super) fn app(&self) -> Option<&App> {
        self.apps.iter().find(|app| app.id == self.installed_app).or_else(|| self.apps.first())
    }

    pub(super) fn app_mut(&mut self) -> Option<&mut App> {
        let id = self.app()?.id;
        self.apps.iter_mut().find(|app| app.id == id)
    }
}

impl GitHub {
    /// Takes a permission from the App, or changes its level.
    pub fn set_permission(&self, name: &str, level: Option<&str>) {
        let mut state = self.shared.state();
        let permissions = &mut state.app_mut().unwrap().permissions;
        match level {
            Some(level) => permissions.insert(name.to_owned(), level.to_owned()),
            None => permissions.remove(name),
        };
    }

    /// Sets what the App's webhook tells of.
    pub fn set_events(&self, events: &[&str]) {
        self.shared.state().app_mut().unwrap().events = events.iter().map(|event| (*event).to_owned()).collect();
    }

    /// The names of all Apps.
    pub fn apps(&self) -> Vec<String> {
        self.shared.state().apps.iter().map(|app| app.name.clone()).collect()
    }
}

/// `GET /app`
pub(super) async fn show(Axum(shared): Axum<Arc<Shared>>, headers: HeaderMap) -> Response {
    let answer = || -> Answer {
        let app = app(&shared, &headers)?;
        let mut shown = app.shown(&super::origin(&headers));
        let state = shared.state();
        shown["installations_count"] = json!(u8::from(state.installed_app == app.id && !state.installed.is_empty()));
        Ok((StatusCode::OK, Json(shown)))
    };
    respond(answer())
}

/// `GET /app/hook/config`
pub(super) async fn hook_config(Axum(shared): Axum<Arc<Shared>>, headers: HeaderMap) -> Response {
    let answer = || -> Answer {
        let app = app(&shared, &headers)?;
        let shown = json!({
            "content_type": "json", "insecure_ssl": "0", "secret": "********", "url": app.webhook_url,
        });
        Ok((StatusCode::OK, Json(shown)))
    };
    respond(answer())
}
