//! How this GitHub says no.

use axum::Json;
use axum::http::header::LOCATION;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// What a call of the REST API comes to.
pub(crate) type Answer = Result<(StatusCode, Json<Value>), Refusal>;

/// A refusal in GitHub's words. They also stand in the response's extensions, for the record of events.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    status: StatusCode,
    words: Words,
    /// What is wrong with which field.
    errors: Vec<Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// GitHub's message.
#[derive(Debug, Clone)]
pub(crate) struct Words(pub(crate) String);

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, words: Words(message.into()), errors: Vec::new(), headers: Vec::new() }
    }

    pub(crate) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// What is not there, and what the caller must not know to be there.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// A resource that cannot be as it was asked for.
    pub(crate) fn invalid(resource: &str, field: Option<&str>, message: &str) -> Self {
        let mut error = json!({"resource": resource, "code": "custom", "message": message});
        if let Some(field) = field {
            error["field"] = field.into();
        }
        Self { errors: vec![error], ..Self::unprocessable("Validation Failed") }
    }

    /// A path that was left for another.
    pub(crate) fn moved(status: StatusCode, location: &str) -> Self {
        Self::new(status, status.canonical_reason().unwrap_or_default()).with(LOCATION, location)
    }

    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.push((name, value.parse().unwrap()));
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({
            "message": self.words.0, "documentation_url": "https://docs.github.com/rest", "status": self.status.as_str(),
        });
        if !self.errors.is_empty() {
            body["errors"] = self.errors.into();
        }
        if let Some((_, location)) = self.headers.iter().find(|(name, _)| *name == LOCATION) {
            body["url"] = location.to_str().unwrap().into();
        }
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().extend(self.headers);
        response.extensions_mut().insert(self.words);
        response
    }
}
