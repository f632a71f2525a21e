//! What the App asks about itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Axum;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::answer::Answer;
use super::caller::AsApp;
use super::origin::origin;
use crate::github::state::Shared;
use crate::github::state::app::App;

/// As `GET /app` and the conversion of a manifest show it.
pub(crate) fn resource(app: &App, origin: &str) -> Value {
    json!({
        "id": app.id, "slug": app.slug, "node_id": "MDExOkludGVncmF0aW9uMQ==", "name": app.name,
        "client_id": format!("Iv1.{:016x}", app.id), "owner": {"login": app.owner},
        "html_url": format!("{origin}/apps/{}", app.slug), "external_url": "", "description": null,
        "permissions": app.permissions, "events": app.events,
    })
}

/// `GET /app`
pub(crate) async fn show(Axum(shared): Axum<Arc<Shared>>, AsApp(app): AsApp, headers: HeaderMap) -> Answer {
    let mut shown = resource(&app, &origin(&headers));
    let state = shared.state();
    let mut installations: Vec<u64> = state.repositories.all().filter_map(|found| found.installation).collect();
    installations.sort_unstable();
    installations.dedup();
    let count = if state.installed_app == app.id { installations.len() } else { 0 };
    shown["installations_count"] = json!(count);
    Ok((StatusCode::OK, Json(shown)))
}

/// `GET /app/hook/config`
pub(crate) async fn hook_config(AsApp(app): AsApp) -> Answer {
    let shown = json!({"content_type": "json", "insecure_ssl": "0", "secret": "********", "url": app.webhook_url});
    Ok((StatusCode::OK, Json(shown)))
}
