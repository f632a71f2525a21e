//! The App's own webhook at GitHub's API: the list of deliveries, and having one repeated.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State as Axum};
use axum::http::header::LINK;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Answer, respond};
use super::auth::{app, refuse};
use super::{Shared, webhooks};

#[derive(Deserialize)]
pub(super) struct Page {
    #[serde(default = "default_page")]
    per_page: usize,
    cursor: Option<u64>,
}

fn default_page() -> usize {
    30
}

/// `GET /app/hook/deliveries`: newest first, the next page by the `cursor` of the `Link` header.
pub(super) async fn deliveries(
    Axum(shared): Axum<Arc<Shared>>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Response {
    if let Err(refusal) = app(&shared, &headers) {
        return respond(Err(refusal));
    }
    if page.per_page == 0 || page.per_page > 100 {
        return respond(Err(refuse(StatusCode::UNPROCESSABLE_ENTITY, "per_page must be 1 to 100")));
    }
    let state = shared.state();
    let older = |id: u64| page.cursor.is_none_or(|cursor| id < cursor);
    let mut remaining = state.deliveries.iter().rev().filter(|delivery| older(delivery.id));
    let listed: Vec<_> = remaining.by_ref().take(page.per_page).collect();
    let next = remaining.next().and_then(|_| listed.last()).map(|last| last.id);
    let body: Vec<Value> = listed.into_iter().map(webhooks::Delivery::listed).collect();
    let mut response = Json(body).into_response();
    if let Some(cursor) = next {
        let origin = super::origin(&headers);
        let url = format!("{origin}/app/hook/deliveries?per_page={}&cursor={cursor}", page.per_page);
        response.headers_mut().insert(LINK, format!("<{url}>; rel=\"next\"").parse().unwrap());
    }
    response
}

/// `POST /app/hook/deliveries/{id}/attempts`: accepted at once, sent after that.
pub(super) async fn redeliver(Axum(shared): Axum<Arc<Shared>>, Path(id): Path<u64>, headers: HeaderMap) -> Response {
    let answer = || -> Answer {
        app(&shared, &headers)?;
        let state = shared.state();
        let delivery = state.deliveries.iter().find(|delivery| delivery.id == id).cloned();
        drop(state);
        let delivery = delivery.ok_or_else(|| refuse(StatusCode::NOT_FOUND, "Not Found"))?;
        let shared = Arc::clone(&shared);
        tokio::spawn(async move { webhooks::redeliver(&shared, &delivery).await });
        Ok((StatusCode::ACCEPTED, Json(json!({}))))
    };
    respond(answer())
}
