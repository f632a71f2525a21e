//! What holds for every request to the REST API: it is recorded, checked for what GitHub asks of all, counted against a
//! rate limit, and perhaps made to fail.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State as Axum};
use axum::http::header::{DATE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::answer::{Refusal, Words};
use super::caller::counted;
use super::conditional::Conditional;
use crate::clock::http_date;
use crate::event::Event;
use crate::github::state::Shared;
use crate::github::state::endpoint::Endpoint;
use crate::github::state::fault::Fault;
use crate::github::state::limit::{Caller, PRIMARY, Quota, RateLimit};

const HOUR: Duration = Duration::from_secs(3600);
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

pub(crate) async fn every_request(Axum(shared): Axum<Arc<Shared>>, request: Request, next: Next) -> Response {
    let line = format!("{} {}", request.method(), request.uri().path());
    let endpoint = endpoint_of(&request);
    let conditional = Conditional::of(&request);
    let (caller, limit, mut quota, fault, now) = {
        let mut state = shared.state();
        state.requests.push(line.clone());
        if let Some(endpoint) = endpoint {
            state.calls.entry(endpoint).or_default().total += 1;
        }
        let caller = counted(&state, request.headers());
        let (limit, quota) = match caller {
            Some(caller) => state.limits.count(caller, &line),
            None => (None, Quota { used: 1, reset_in: HOUR }),
        };
        let fault = endpoint.and_then(|endpoint| state.faults.of_call(endpoint));
        (caller, limit, quota, fault, state.now())
    };
    let mut response = match (check_headers(request.headers()), limit, fault) {
        (Err(refusal), ..) => refusal.into_response(),
        (_, Some(limit), _) => limited(limit, caller).into_response(),
        (_, None, Some(fault)) => play(fault, caller, now).await,
        (_, None, None) => {
            let response = next.run(request).await;
            match conditional {
                Some(conditional) => conditional.answer(response).await,
                None => response,
            }
        }
    };
    if response.status() == StatusCode::NOT_MODIFIED {
        let mut state = shared.state();
        if let Some(endpoint) = endpoint {
            state.calls.entry(endpoint).or_default().not_modified += 1;
        }
        if let Some(caller) = caller {
            quota = state.limits.uncount(caller);
        }
    }
    let headers = response.headers_mut();
    let reset = now + quota.reset_in.as_secs();
    for (name, value) in [("x-ratelimit-limit", PRIMARY), ("x-ratelimit-used", quota.used)] {
        headers.insert(HeaderName::from_static(name), value.into());
    }
    // A fault has said so itself.
    headers.entry(REMAINING).or_insert((PRIMARY - quota.used).into());
    headers.entry(RESET).or_insert(reset.into());
    headers.insert("x-ratelimit-resource", "core".parse().unwrap());
    headers.insert(DATE, http_date(now).parse().unwrap());
    if response.status().as_u16() >= 400 {
        let status = response.status();
        let words = response.extensions_mut().remove::<Words>().map(|words| words.0);
        let message = words.unwrap_or_else(|| status.canonical_reason().unwrap_or_default().to_owned());
        shared.events.emit(Event::Refused { request: line, status: status.as_u16(), message });
    }
    response
}

/// What GitHub asks of any request.
fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.get("user-agent").is_none_or(|agent| agent.is_empty()) {
        return Err(Refusal::forbidden(
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent header",
        ));
    }
    match headers.get("x-github-api-version").map(|version| version.as_bytes()) {
        None | Some(b"2022-11-28" | b"2026-03-10") => Ok(()),
        Some(_) => Err(Refusal::new(StatusCode::BAD_REQUEST, "The specified API version is not supported")),
    }
}

fn endpoint_of(request: &Request) -> Option<Endpoint> {
    let path = request.extensions().get::<MatchedPath>()?.as_str();
    let owners = ["/repos/{owner}/{repo}", "/repositories/{repository_id}", "/orgs/{org}"];
    let path = owners.iter().find_map(|owner| path.strip_prefix(owner)).unwrap_or(path);
    match (request.method(), path) {
        (_, "/app/installations/{id}/access_tokens") => Some(Endpoint::AccessTokens),
        (_, "/installation") => Some(Endpoint::Installation),
        (_, "/actions/runners/registration-token") => Some(Endpoint::RegistrationToken),
        (_, "/actions/runners/generate-jitconfig") => Some(Endpoint::JitConfig),
        (_, "/actions/runners") => Some(Endpoint::Runners),
        (&Method::DELETE, "/actions/runners/{id}") => Some(Endpoint::RemoveRunner),
        (_, "/actions/runner-groups" | "/actions/runner-groups/{id}") => Some(Endpoint::RunnerGroups),
        (_, "/actions/runs/{id}" | "/actions/runs/{id}/attempts/{attempt}") => Some(Endpoint::Run),
        (_, "/actions/jobs/{id}") => Some(Endpoint::Job),
        (_, "/statuses/{sha}") => Some(Endpoint::CommitStatus),
        (_, "/commits/{sha}/statuses") => Some(Endpoint::CommitStatuses),
        (_, "/app") => Some(Endpoint::App),
        (_, "/app/hook/config") => Some(Endpoint::HookConfig),
        (_, "/app-manifests/{code}/conversions") => Some(Endpoint::Conversion),
        (_, "/app/hook/deliveries") => Some(Endpoint::Deliveries),
        (_, "/app/hook/deliveries/{id}") => Some(Endpoint::Delivery),
        (_, "/app/hook/deliveries/{id}/attempts") => Some(Endpoint::Redelivery),
        _ => None,
    }
}

fn limited(limit: RateLimit, caller: Option<Caller>) -> Refusal {
    match limit {
        RateLimit::Primary { .. } => Refusal::forbidden(match caller {
            Some(Caller::Installation(id)) => format!(
                "API rate limit exceeded for installation ID {id}. If you reach out to GitHub Support for help, please \
                 include the request ID 0000:SIMULATED."
            ),
            _ => "API rate limit exceeded for app.".to_owned(),
        }),
        RateLimit::Secondary { status, retry_after, .. } => {
            let message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. If \
                           you reach out to GitHub Support for help, please include the request ID 0000:SIMULATED.";
            let refusal = Refusal::new(StatusCode::from_u16(status).unwrap(), message);
            match retry_after {
                Some(seconds) => refusal.with(RETRY_AFTER, &seconds.to_string()),
                None => refusal,
            }
        }
    }
}

async fn play(fault: Fault, caller: Option<Caller>, now: u64) -> Response {
    match fault {
        Fault::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap();
            Refusal::new(status, status.canonical_reason().unwrap_or_default()).into_response()
        }
        Fault::Refused(status, message) => Refusal::new(StatusCode::from_u16(status).unwrap(), message).into_response(),
        Fault::PrimaryRateLimit { reset_in } => limited(RateLimit::Primary { reset_in: HOUR }, caller)
            .with(REMAINING, "0")
            .with(RESET, &(now + reset_in).to_string())
            .into_response(),
        Fault::SecondaryRateLimit { retry_after } => {
            let (lasts, retry_after) = (Duration::ZERO, Some(retry_after));
            limited(RateLimit::Secondary { status: 403, lasts, retry_after }, caller).into_response()
        }
        Fault::Garbage => (StatusCode::CREATED, "<html>so many octocats").into_response(),
        Fault::Stall(time) => {
            tokio::time::sleep(time).await;
            Refusal::new(StatusCode::BAD_GATEWAY, "Bad Gateway").into_response()
        }
    }
}
