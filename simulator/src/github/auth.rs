//! Who calls: the App by its JWT, or by an installation token. Checked as GitHub checks it.

use axum::http::{HeaderMap, StatusCode};
use jwt_simple::prelude::{Duration, NoCustomClaims, RSAPublicKeyLike, VerificationOptions};

use super::app::App;
use super::{Shared, State, expired};

/// A refusal: status and GitHub's message.
pub(super) type Refusal = (StatusCode, String);

pub(super) fn refuse(status: StatusCode, message: &str) -> Refusal {
    (status, message.to_owned())
}

/// What GitHub asks of any request.
pub(super) fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.get("user-agent").is_none_or(|agent| agent.is_empty()) {
        let message =
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent header";
        return Err(refuse(StatusCode::FORBIDDEN, message));
    }
    match headers.get("x-github-api-version").map(|version| version.as_bytes()) {
        None | Some(b"2022-11-28" | b"2026-03-10") => Ok(()),
        Some(_) => Err(refuse(StatusCode::BAD_REQUEST, "The specified API version is not supported")),
    }
}

fn credential(headers: &HeaderMap) -> Result<&str, Refusal> {
    let value = headers.get("authorization").and_then(|value| value.to_str().ok());
    let (scheme, token) = value
        .and_then(|value| value.split_once(' '))
        .ok_or_else(|| refuse(StatusCode::UNAUTHORIZED, "Requires authentication"))?;
    if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") {
        Ok(token)
    } else {
        Err(refuse(StatusCode::UNAUTHORIZED, "Bad credentials"))
    }
}

/// The App's own JWT: RS256 by its key, its id as `iss`, and GitHub's time rules.
pub(super) fn app(shared: &Shared, headers: &HeaderMap) -> Result<App, Refusal> {
    let unauthorized = |message: &str| refuse(StatusCode::UNAUTHORIZED, message);
    let now = shared.state().now();
    // The time rules are checked below, with GitHub's messages.
    let options =
        VerificationOptions { time_tolerance: Some(Duration::from_days(1)), ..VerificationOptions::default() };
    let jwt = credential(headers)?;
    let apps = shared.state().apps.clone();
    let verified = apps.into_iter().find_map(|app| {
        let claims = app.key.public_key().verify_token::<NoCustomClaims>(jwt, Some(options.clone())).ok()?;
        Some((app, claims))
    });
    let (app, claims) = verified.ok_or_else(|| unauthorized("A JSON web token could not be decoded"))?;
    if claims.issuer != Some(app.id.to_string()) {
        return Err(unauthorized("Integration not found"));
    }
    match (claims.issued_at, claims.expires_at) {
        (Some(issued), Some(_)) if issued.as_secs() > now + 5 => Err(unauthorized(
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
        )),
        (Some(_), Some(expires)) if expires.as_secs() <= now => Err(unauthorized(
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        )),
        (Some(_), Some(expires)) if expires.as_secs() > now + 600 => {
            Err(unauthorized("'Expiration time' claim ('exp') is too far in the future"))
        }
        (Some(_), Some(_)) => Ok(app),
        _ => Err(unauthorized("A JSON web token must have 'iat' and 'exp'")),
    }
}

/// What a call takes.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Need {
    /// `administration: write`
    Administration,
    /// `actions: read`
    Actions,
}

/// An installation token that covers `repository` and has the permission.
pub(super) fn permitted(state: &State, headers: &HeaderMap, repository: &str, need: Need) -> Result<(), Refusal> {
    let token = state.installation_tokens.get(credential(headers)?).filter(|token| !expired(token.expires_at));
    let token = token.ok_or_else(|| refuse(StatusCode::UNAUTHORIZED, "Bad credentials"))?;
    if !token.repositories.contains(repository) || !state.installed.contains(repository) {
        return Err(refuse(StatusCode::NOT_FOUND, "Not Found"));
    }
    let has = match need {
        Need::Administration => token.administers,
        Need::Actions => token.reads_actions,
    };
    if !has {
        return Err(refuse(StatusCode::FORBIDDEN, "Resource not accessible by integration"));
    }
    Ok(())
}
