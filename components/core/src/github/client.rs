//! The calls of GitHub's REST API that a redemption needs, each with a deadline, and what their failures mean.
//!
//! The answers are told apart by what to do about them: ask again later, or give up on this launch.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use super::app_jwt::AppKey;
use crate::identity::{InstallationId, RepositoryName};
use crate::ports::{Clock, Http, HttpMethod, HttpRequest, HttpResponse, SendError};
use crate::secret::Secret;
use crate::settings::{GitHubSettings, SettingError};

const USER_AGENT: &str = concat!("gha-slurm/", env!("CARGO_PKG_VERSION"));
const API_VERSION: &str = "2022-11-28";
const CALL_DEADLINE: Duration = Duration::from_secs(8);
/// When GitHub names no time to wait.
const DEFAULT_RETRY_SECONDS: u64 = 30;
const MAX_RETRY_SECONDS: u64 = 3600;

/// A token with its end, as GitHub hands it out (`ghs_…` for an installation, `A…` for a registration).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExpiringToken {
    /// The token.
    pub token: Secret,
    /// RFC 3339.
    pub expires_at: String,
}

/// A call that did not give what was asked for.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum GitHubError {
    /// Ask again later: GitHub is down, slow, or limits the rate.
    #[error("GitHub cannot answer now: {detail}")]
    Unavailable {
        /// Seconds to wait.
        retry_after: u64,
        /// For the log.
        detail: String,
    },
    /// 401: the credential that the call was made with is not accepted (any more).
    #[error("GitHub does not accept the credential: {0}")]
    Unauthorized(String),
    /// 404, or a redirect: not there, or not for this App to see.
    #[error("GitHub does not find it: {0}")]
    NotFound(String),
    /// 403 or 422: GitHub will not do it as things stand.
    #[error("GitHub refuses: {0}")]
    Refused(String),
    /// The App's settings do not let the call be made.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

/// GitHub as this App sees it, for the length of one request.
pub struct GitHub<'a, P> {
    platform: &'a P,
    settings: GitHubSettings,
    give_up_at: Duration,
}

impl<'a, P: Http + Clock> GitHub<'a, P> {
    /// A client whose calls all end within `budget` from now.
    pub fn new(platform: &'a P, settings: GitHubSettings, budget: Duration) -> Self {
        Self { platform, settings, give_up_at: platform.now() + budget }
    }

    /// Proves the App's identity for the calls that need it.
    pub fn app_jwt(&self, key: &AppKey) -> Result<Secret, GitHubError> {
        key.sign(&self.settings.app_id, self.platform.unix_seconds())
            .ok_or_else(|| SettingError::new("github_private_key", "cannot sign").into())
    }

    /// `GET /repos/{owner}/{repo}/installation`: the App's installation for a repository.
    pub fn installation(&self, app_jwt: &Secret, repository: &RepositoryName) -> Result<InstallationId, GitHubError> {
        #[derive(Deserialize)]
        struct Installation {
            id: InstallationId,
        }
        let path = format!("repos/{repository}/installation");
        Ok(self.call::<Installation>(HttpMethod::Get, &path, app_jwt, None)?.id)
    }

    /// `POST /app/installations/{id}/access_tokens`, narrowed to one repository and to its runners.
    pub fn installation_token(
        &self,
        app_jwt: &Secret,
        installation: InstallationId,
        repository: &RepositoryName,
    ) -> Result<ExpiringToken, GitHubError> {
        let path = format!("app/installations/{}/access_tokens", installation.0);
        let scope = json!({"repositories": [repository.name()], "permissions": {"administration": "write"}});
        self.call(HttpMethod::Post, &path, app_jwt, Some(&scope))
    }

    /// `POST /repos/{owner}/{repo}/actions/runners/registration-token`
    pub fn registration_token(
        &self,
        installation_token: &Secret,
        repository: &RepositoryName,
    ) -> Result<ExpiringToken, GitHubError> {
        let path = format!("repos/{repository}/actions/runners/registration-token");
        self.call(HttpMethod::Post, &path, installation_token, None)
    }

    fn call<T: DeserializeOwned>(
        &self,
        method: HttpMethod,
        path: &str,
        credential: &Secret,
        body: Option<&Value>,
    ) -> Result<T, GitHubError> {
        let unavailable = |detail: String| GitHubError::Unavailable { retry_after: DEFAULT_RETRY_SECONDS, detail };
        let deadline = self.give_up_at.saturating_sub(self.platform.now()).min(CALL_DEADLINE);
        if deadline.is_zero() {
            return Err(unavailable("earlier calls took all the time".to_owned()));
        }
        let url = self.settings.api.join(path).map_err(|error| unavailable(format!("{path}: {error}")))?;
        let mut headers = vec![
            ("accept", "application/vnd.github+json".to_owned()),
            ("authorization", format!("Bearer {}", credential.expose())),
            ("user-agent", USER_AGENT.to_owned()),
            ("x-github-api-version", API_VERSION.to_owned()),
        ];
        if body.is_some() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        let body = body.map(|json| json.to_string().into_bytes()).unwrap_or_default();
        let response = self.platform.send(&HttpRequest { method, url, headers, body, deadline }).map_err(|error| {
            let hint = if error == SendError::NotAllowed { " (github_api_url must be its origin)" } else { "" };
            unavailable(format!("{path}: {error}{hint}"))
        })?;
        match response.status {
            200..=299 => serde_json::from_slice(&response.body)
                .map_err(|_| unavailable(format!("{path}: a success that is not GitHub's JSON"))),
            status => Err(self.failure(path, status, &response)),
        }
    }

    fn failure(&self, path: &str, status: u16, response: &HttpResponse) -> GitHubError {
        let message = message_of(response);
        let detail = format!("{path}: {status} {message}");
        let header = |name| response.header(name).and_then(|value| value.trim().parse::<u64>().ok());
        let limited = status == 429
            || (status == 403
                && (header("retry-after").is_some()
                    || header("x-ratelimit-remaining") == Some(0)
                    || message.to_ascii_lowercase().contains("rate limit")));
        match status {
            _ if limited => {
                let until_reset = || Some(header("x-ratelimit-reset")?.saturating_sub(self.platform.unix_seconds()));
                let seconds = header("retry-after").or_else(until_reset).unwrap_or(2 * DEFAULT_RETRY_SECONDS);
                GitHubError::Unavailable { retry_after: seconds.clamp(1, MAX_RETRY_SECONDS), detail }
            }
            401 => GitHubError::Unauthorized(detail),
            404 | 410 | 300..=399 => GitHubError::NotFound(detail),
            403 | 422 => GitHubError::Refused(detail),
            _ => {
                let retry_after = header("retry-after").unwrap_or(DEFAULT_RETRY_SECONDS).clamp(1, MAX_RETRY_SECONDS);
                GitHubError::Unavailable { retry_after, detail }
            }
        }
    }
}

/// The `message` of GitHub's error body, cut and without control characters: it goes to a log.
fn message_of(response: &HttpResponse) -> String {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let message = body.get("message").and_then(Value::as_str).unwrap_or("(no message)");
    message.chars().filter(|c| !c.is_control()).take(200).collect()
}
