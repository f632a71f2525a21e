//! How the client calls this server.

use axum::http::HeaderMap;

pub(crate) fn origin(headers: &HeaderMap) -> String {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("http://{host}")
}
