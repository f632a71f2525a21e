//! What happens to every request: whether its head is acceptable, whether its sender has the secret, and what is counted
//! and written down of it.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::Response;

use super::serving::Peer;
use super::{Edge, Reason, message};
use crate::audit::{Event, Outcome, Record, Subject};
use crate::config::Config;

/// A route's name in the metrics.
fn name(route: Option<&MatchedPath>) -> &'static str {
    match route.map(MatchedPath::as_str) {
        Some("/runner/start") => "start",
        Some("/runner/cancel") => "cancel",
        Some("/runner/{launch}") => "state",
        Some("/api/reload") => "reload",
        Some("/healthz") => "healthz",
        Some("/metrics") => "metrics",
        _ => "other",
    }
}

/// Answers what has no secret by itself, without its body.
pub(super) async fn observe(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let route = name(request.extensions().get::<MatchedPath>());
    let address = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical());
    let response = if !has_one_host(&request) {
        message(StatusCode::BAD_REQUEST, "a request names one host")
    } else if !may(route, request.headers(), &edge.service.config()) {
        // The original's words, for a wrong token too.
        message(StatusCode::UNAUTHORIZED, "auth-token missing")
    } else {
        next.run(request).await
    };
    edge.metrics.count(route, response.status().as_u16());
    write_down(&edge, route, address, &response);
    response
}

/// RFC 9112, 3.2. With two of them a proxy and this gateway may each read another.
fn has_one_host(request: &Request) -> bool {
    match request.headers().get_all(header::HOST).iter().count() {
        0 => request.version() < Version::HTTP_11,
        count => count == 1,
    }
}

fn may(route: &str, headers: &HeaderMap, config: &Config) -> bool {
    if route == "healthz" || route == "metrics" && config.open_metrics {
        return true;
    }
    let mut presented = headers.get_all("auth-token").iter();
    let (Some(token), None) = (presented.next(), presented.next()) else { return false };
    token.to_str().is_ok_and(|token| config.secrets.admit(token))
}

/// The audit log has all that changes something, and all that was refused.
fn write_down(edge: &Edge, route: &str, address: Option<std::net::IpAddr>, response: &Response) {
    let status = response.status();
    let event = match route {
        "start" => Event::Launch,
        "cancel" => Event::Cancel,
        "reload" => Event::Reload,
        _ if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST) => Event::Request,
        _ => return,
    };
    let told = response.extensions().get::<Outcome>().copied();
    let outcome = told.unwrap_or(match status {
        StatusCode::UNAUTHORIZED => Outcome::Unauthorized,
        _ if status.is_success() => Outcome::Done,
        _ if status.is_server_error() => Outcome::Unavailable,
        _ => Outcome::Refused,
    });
    let unknown = Subject::default();
    let subject = response.extensions().get::<Subject>().unwrap_or(&unknown);
    let reason = response.extensions().get::<Reason>().map(|reason| reason.0.as_str());
    edge.service.audit().write(&Record { event, outcome, status: status.as_u16(), address, subject, reason });
}
