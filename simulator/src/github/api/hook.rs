//! The App's own webhook at GitHub's API: the list of deliveries, one of them in full, and having one repeated.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State as Axum};
use axum::http::header::LINK;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Refusal};
use super::caller::AsApp;
use super::origin::origin;
use crate::clock::rfc3339;
use crate::event::Event;
use crate::github::state::Shared;
use crate::github::state::delivery::Delivery;
use crate::github::webhook::{headers as sent_headers, redeliver as send_again};

/// Before the id in a cursor, so that none is guessed from ids.
const CURSOR: &str = "v1_";

#[derive(Deserialize)]
pub(crate) struct Page {
    #[serde(default = "default_page")]
    per_page: usize,
    cursor: Option<String>,
}

fn default_page() -> usize {
    30
}

/// An entry of the list.
fn resource(delivery: &Delivery) -> Value {
    let status = match delivery.status {
        0 => "failed to connect to host",
        200..=299 => "OK",
        _ => "Invalid HTTP Response",
    };
    let mut shown = json!({
        "id": delivery.id, "guid": delivery.guid, "delivered_at": rfc3339(delivery.delivered_at),
        "redelivery": delivery.redelivery, "duration": 0.1, "status": status, "status_code": delivery.status,
        "event": delivery.event, "action": delivery.action, "installation_id": delivery.installation_id,
        "repository_id": delivery.repository_id, "throttled_at": null,
    });
    for (field, value) in &delivery.shown.fields {
        shown[field] = value.clone();
    }
    shown
}

/// `GET /app/hook/deliveries`: newest first, the next page by the `cursor` of the `Link` header.
pub(crate) async fn list(
    Axum(shared): Axum<Arc<Shared>>,
    _: AsApp,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if page.per_page == 0 || page.per_page > 100 {
        return Err(Refusal::unprocessable("per_page must be 1 to 100"));
    }
    let after = match &page.cursor {
        None => None,
        Some(cursor) => {
            let id = cursor.strip_prefix(CURSOR).and_then(|id| id.parse::<u64>().ok());
            Some(id.ok_or_else(|| Refusal::unprocessable("Invalid cursor"))?)
        }
    };
    let state = shared.state();
    let mut rest = state.deliveries.kept(after, state.now());
    let listed: Vec<_> = rest.by_ref().take(page.per_page).collect();
    let next = rest.next().and_then(|_| listed.last()).map(|last| last.id);
    let body: Vec<Value> = listed.into_iter().map(resource).collect();
    let mut response = Json(body).into_response();
    if let Some(id) = next {
        let url = format!("{}/app/hook/deliveries?per_page={}&cursor={CURSOR}{id}", origin(&headers), page.per_page);
        response.headers_mut().insert(LINK, format!("<{url}>; rel=\"next\"").parse().unwrap());
    }
    Ok(response)
}

fn find(shared: &Shared, id: u64) -> Result<Delivery, Refusal> {
    let state = shared.state();
    state.deliveries.find(id, state.now()).cloned().ok_or_else(Refusal::not_found)
}

/// `GET /app/hook/deliveries/{id}`: with what was sent and what came back. The payload is the object, not the bytes that
/// were signed.
pub(crate) async fn show(Axum(shared): Axum<Arc<Shared>>, AsApp(app): AsApp, Path(id): Path<u64>) -> Answer {
    let delivery = find(&shared, id)?;
    if let Some(status) = delivery.shown.refused {
        let status = StatusCode::from_u16(status).unwrap();
        return Err(Refusal::new(status, status.canonical_reason().unwrap_or_default()));
    }
    let sent: Map<String, Value> =
        sent_headers(&app, &delivery).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let payload: Value = serde_json::from_str(&delivery.body).unwrap();
    let mut shown = resource(&delivery);
    shown["url"] = json!(app.webhook_url);
    shown["request"] = json!({"headers": sent, "payload": payload});
    if let Some(job) = delivery.job {
        let (action, bytes) = (delivery.action.clone(), delivery.body.len());
        shared.events.emit(Event::DeliveryRead { action, job, bytes });
    }
    let answered = delivery.status != 0;
    shown["response"] = json!({"headers": {}, "payload": answered.then(|| delivery.answer.to_string())});
    Ok((StatusCode::OK, Json(shown)))
}

/// `POST /app/hook/deliveries/{id}/attempts`: accepted at once, sent after that.
pub(crate) async fn redeliver(Axum(shared): Axum<Arc<Shared>>, _: AsApp, Path(id): Path<u64>) -> Answer {
    let delivery = find(&shared, id)?;
    tokio::spawn(async move { send_again(&shared, &delivery).await });
    Ok((StatusCode::ACCEPTED, Json(json!({}))))
}
