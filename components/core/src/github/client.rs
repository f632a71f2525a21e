//! The way to GitHub's REST API and back: one call with its deadline, and what its failure means.
//!
//! The answers are told apart by what to do about them: ask again later, or give up. A rate limit is kept in the store,
//! so that no replica asks before it is over: to go on during a limit makes it longer. A repository that was renamed or
//! transferred answers with a redirect, which is followed within the API's own origin and nowhere else, because the
//! credential goes with it.

use std::time::Duration;

use gha_slurm_protocol::secret::Secret;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use url::Url;

use super::limit::Scope;
pub use super::refusal::{Reason, Refusal};
pub use super::types::{
    AppState, At, CommitStatus, ConvertedApp, ExpiringToken, HookConfig, InstallationToken, JitConfig, JobInfo,
    JobStatus, Permission,
};
use crate::counters::{CallResult, Counter};
use crate::ledger::FailureKind;
use crate::ports::{Clock, Http, HttpMethod, HttpRequest, HttpResponse, Random, SendError, Store};
use crate::settings::{GitHubSettings, SettingError};

const USER_AGENT: &str = concat!("gha-slurm/", env!("CARGO_PKG_VERSION"));
const API_VERSION: &str = "2022-11-28";
const CALL_DEADLINE: Duration = Duration::from_secs(8);
/// When GitHub names no time to wait.
const DEFAULT_RETRY_SECONDS: u64 = 30;
const MAX_RETRY_SECONDS: u64 = 3600;
/// Renamed, and transferred after that, is one redirect: GitHub's points to the repository's id.
const MOST_REDIRECTS: u32 = 3;

/// A call that did not give what was asked for.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum GitHubError {
    /// Ask again later.
    #[error("GitHub cannot answer now: {detail}")]
    Unavailable {
        /// Seconds to wait.
        retry_after: u64,
        /// What to wait for.
        until: Until,
        /// For the log.
        detail: String,
    },
    /// 401: the credential that the call was made with is not accepted (any more). Also 404 where it is an App's that is
    /// not known there.
    #[error("GitHub does not accept the credential: {0}")]
    Unauthorized(Refusal),
    /// 404, or a redirect to elsewhere: not there, or not for this App to see.
    #[error("GitHub does not find it: {0}")]
    NotFound(Refusal),
    /// 403, 409 or 422: GitHub will not do it as things stand.
    #[error("GitHub refuses: {0}")]
    Refused(Refusal),
    /// The App's settings do not let the call be made.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

/// What a call has to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until {
    /// GitHub is down, slow, or cannot be reached.
    Back,
    /// The end of a rate limit.
    LimitEnds,
    /// All of GitHub knows a token that was made a moment ago.
    TokenKnown(Refusal),
    /// What stands between the app and GitHub, and answered in its place, lets the calls pass.
    Reached(Refusal),
}

impl GitHubError {
    /// What kind of failure it is.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Unavailable { .. } => FailureKind::Away,
            Self::Unauthorized(_) => FailureKind::Unauthorized,
            Self::NotFound(_) | Self::Refused(_) => FailureKind::Refused,
            Self::Setting(_) => FailureKind::Other,
        }
    }

    /// What GitHub said, where it said no.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Unauthorized(refusal) | Self::NotFound(refusal) | Self::Refused(refusal) => Some(refusal),
            Self::Unavailable { until: Until::TokenKnown(refusal) | Until::Reached(refusal), .. } => Some(refusal),
            Self::Unavailable { .. } | Self::Setting(_) => None,
        }
    }

    /// Why GitHub said no, where it did.
    pub fn reason(&self) -> Option<Reason> {
        self.refusal().map(|refusal| refusal.reason)
    }

    /// The same, about the runners of an organization: they take another permission than those of a repository.
    pub(super) fn of_organization(mut self) -> Self {
        match &mut self {
            Self::Refused(refusal) | Self::Unavailable { until: Until::TokenKnown(refusal), .. }
                if refusal.reason == Reason::Permission =>
            {
                refusal.reason = Reason::OrganizationPermission;
            }
            _ => {}
        }
        self
    }

    pub(super) fn unavailable(detail: String) -> Self {
        Self::Unavailable { retry_after: DEFAULT_RETRY_SECONDS, until: Until::Back, detail }
    }
}

/// GitHub as this App sees it, for the length of one request.
pub struct GitHub<'a, P> {
    pub(super) platform: &'a P,
    pub(super) settings: GitHubSettings,
    give_up_at: Duration,
}

/// By what credential a call is made.
#[derive(Clone, Copy)]
pub(super) enum Caller<'c> {
    App(&'c Secret),
    /// The App, to read its deliveries.
    Deliveries(&'c Secret),
    Installation(&'c InstallationToken),
    Anonymous,
}

impl Caller<'_> {
    fn scope(self) -> Scope {
        match self {
            Self::App(_) => Scope::App,
            Self::Deliveries(_) => Scope::Deliveries,
            Self::Installation(token) => Scope::Installation(token.installation),
            Self::Anonymous => Scope::Anonymous,
        }
    }

    fn credential(&self) -> Option<&Secret> {
        match self {
            Self::App(jwt) | Self::Deliveries(jwt) => Some(jwt),
            Self::Installation(token) => Some(&token.token),
            Self::Anonymous => None,
        }
    }
}

impl<'a, P: Http + Clock + Store + Random> GitHub<'a, P> {
    /// A client whose calls all end within `budget` from now.
    pub fn new(platform: &'a P, settings: GitHubSettings, budget: Duration) -> Self {
        Self { platform, settings, give_up_at: platform.now() + budget }
    }

    /// Waits, if as much time is left for a call after that; whether it did.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let left = self.give_up_at.saturating_sub(self.platform.now());
        if left < time * 2 {
            return false;
        }
        self.platform.pause(time);
        true
    }

    pub(super) fn call<T: DeserializeOwned>(
        &self,
        method: HttpMethod,
        path: &str,
        caller: Caller<'_>,
        body: Option<&Value>,
    ) -> Result<T, GitHubError> {
        parse(path, &self.exchange(method, path, path, caller, body)?)
    }

    /// Errors show `shown` for the path.
    pub(super) fn exchange(
        &self,
        method: HttpMethod,
        path: &str,
        shown: &str,
        caller: Caller<'_>,
        body: Option<&Value>,
    ) -> Result<HttpResponse, GitHubError> {
        let mut url = self.url(path, shown)?;
        let mut redirects = 0;
        let answered = loop {
            match self.send(method, url, shown, caller, body)? {
                response if (200..=299).contains(&response.status) => break Ok(response),
                response => match self.moved(&response).filter(|_| redirects < MOST_REDIRECTS) {
                    Some(moved) => {
                        redirects += 1;
                        url = moved;
                    }
                    None => break Err(self.failure(shown, caller.scope(), &response)),
                },
            }
        };
        self.count(answered.as_ref().err());
        answered
    }

    /// `GET` of what may be at hand already, as it was when GitHub gave it this `ETag`: `None` if it still is.
    pub(super) fn get_changed(
        &self,
        path: &str,
        caller: Caller<'_>,
        etag: Option<&str>,
    ) -> Result<Option<HttpResponse>, GitHubError> {
        let mut request = self.request(HttpMethod::Get, self.url(path, path)?, caller, None);
        request.deadline = self.allowed(caller)?;
        request.headers.extend(etag.map(|etag| ("if-none-match", etag.to_owned())));
        let response = self.came(path, caller, self.platform.send(&request))?;
        let changed = (response.status != 304).then_some(response);
        let read = changed.map(|response| self.success(path, caller, response)).transpose();
        self.count(read.as_ref().err());
        read
    }

    /// `GET` of several paths at once. What did not come is told apart by the caller, who reads each by [`Self::read`].
    pub(super) fn get_many(
        &self,
        paths: &[String],
        caller: Caller<'_>,
    ) -> Result<Vec<Result<HttpResponse, SendError>>, GitHubError> {
        let deadline = self.allowed(caller)?;
        let request = |path: &String| {
            let request = self.request(HttpMethod::Get, self.url(path, path)?, caller, None);
            Ok(HttpRequest { deadline, ..request })
        };
        let requests = paths.iter().map(request).collect::<Result<Vec<_>, GitHubError>>()?;
        Ok(self.platform.send_many(&requests))
    }

    /// One answer of [`Self::get_many`].
    pub(super) fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        caller: Caller<'_>,
        answer: Result<HttpResponse, SendError>,
    ) -> Result<T, GitHubError> {
        let response = self.came(path, caller, answer).and_then(|response| self.success(path, caller, response));
        self.count(response.as_ref().err());
        parse(path, &response?)
    }

    fn url(&self, path: &str, shown: &str) -> Result<Url, GitHubError> {
        self.settings.api.join(path).map_err(|error| GitHubError::unavailable(format!("{shown}: {error}")))
    }

    fn success(&self, path: &str, caller: Caller<'_>, response: HttpResponse) -> Result<HttpResponse, GitHubError> {
        if (200..=299).contains(&response.status) {
            return Ok(response);
        }
        Err(self.failure(path, caller.scope(), &response))
    }

    fn send(
        &self,
        method: HttpMethod,
        url: Url,
        shown: &str,
        caller: Caller<'_>,
        body: Option<&Value>,
    ) -> Result<HttpResponse, GitHubError> {
        let deadline = self.allowed(caller)?;
        let request = self.request(method, url, caller, body);
        self.came(shown, caller, self.platform.send(&HttpRequest { deadline, ..request })).inspect_err(|error| {
            self.count(Some(error));
        })
    }

    /// How long a call may take, if one may be made now.
    fn allowed(&self, caller: Caller<'_>) -> Result<Duration, GitHubError> {
        if let Some(wait) = caller.scope().limited(self.platform) {
            let detail = match caller {
                Caller::Deliveries(_) => format!("its rate limit lets no deliveries be read for {wait} s more"),
                _ => format!("its rate limit holds for {wait} s more"),
            };
            return Err(GitHubError::Unavailable { retry_after: wait, until: Until::LimitEnds, detail });
        }
        let deadline = self.give_up_at.saturating_sub(self.platform.now()).min(CALL_DEADLINE);
        if deadline.is_zero() {
            return Err(GitHubError::unavailable("earlier calls took all the time".to_owned()));
        }
        Ok(deadline)
    }

    fn request(&self, method: HttpMethod, url: Url, caller: Caller<'_>, body: Option<&Value>) -> HttpRequest {
        let mut headers = vec![
            ("accept", "application/vnd.github+json".to_owned()),
            ("user-agent", USER_AGENT.to_owned()),
            ("x-github-api-version", API_VERSION.to_owned()),
        ];
        let credential = caller.credential().map(|credential| format!("Bearer {}", credential.expose()));
        headers.extend(credential.map(|credential| ("authorization", credential)));
        if body.is_some() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        let body = body.map(|json| json.to_string().into_bytes()).unwrap_or_default();
        HttpRequest { method, url, headers, body, deadline: CALL_DEADLINE }
    }

    fn came(
        &self,
        shown: &str,
        caller: Caller<'_>,
        answer: Result<HttpResponse, SendError>,
    ) -> Result<HttpResponse, GitHubError> {
        let response = answer.map_err(|error| {
            let hint = if error == SendError::NotAllowed { " (github_api_url must be its origin)" } else { "" };
            GitHubError::unavailable(format!("{shown}: {error}{hint}"))
        })?;
        caller.scope().spare(self.platform, &response);
        Ok(response)
    }

    /// Where a redirect leads, if that is within the API: the same call is made there. It is never made elsewhere.
    fn moved(&self, response: &HttpResponse) -> Option<Url> {
        if !matches!(response.status, 301 | 302 | 307 | 308) {
            return None;
        }
        let api = &self.settings.api;
        let url = api.join(response.header("location")?).ok()?;
        let plain = url.username().is_empty() && url.password().is_none();
        (plain && url.origin() == api.origin() && url.path().starts_with(api.path())).then_some(url)
    }

    /// Failures are rare, and each says something: they are counted one by one.
    fn count(&self, failure: Option<&GitHubError>) {
        let result = match failure {
            None => return Counter::GitHubCall(CallResult::Ok).sample(self.platform),
            Some(GitHubError::Unavailable { .. }) => CallResult::Unavailable,
            Some(GitHubError::Unauthorized(_)) => CallResult::Unauthorized,
            Some(GitHubError::NotFound(_)) => CallResult::NotFound,
            Some(GitHubError::Refused(_)) => CallResult::Refused,
            Some(GitHubError::Setting(_)) => return,
        };
        Counter::GitHubCall(result).count(self.platform);
    }

    fn failure(&self, path: &str, scope: Scope, response: &HttpResponse) -> GitHubError {
        let refusal = Refusal::read(path, scope, response, self.platform.unix_seconds());
        if let Some(retry_after) = scope.met(self.platform, response) {
            return GitHubError::Unavailable { retry_after, until: Until::LimitEnds, detail: refusal.detail };
        }
        match response.status {
            400..=499 if refusal.reason == Reason::NotGitHub => {
                let detail = refusal.detail.clone();
                let until = Until::Reached(refusal);
                GitHubError::Unavailable { retry_after: 2 * DEFAULT_RETRY_SECONDS, until, detail }
            }
            401 => GitHubError::Unauthorized(refusal),
            404 if refusal.reason == Reason::App => GitHubError::Unauthorized(refusal),
            404 | 410 | 300..=399 => GitHubError::NotFound(refusal),
            403 | 409 | 422 => GitHubError::Refused(refusal),
            _ => {
                let told = response.header("retry-after").and_then(|value| value.trim().parse().ok());
                let retry_after = told.unwrap_or(DEFAULT_RETRY_SECONDS).clamp(1, MAX_RETRY_SECONDS);
                GitHubError::Unavailable { retry_after, until: Until::Back, detail: refusal.detail }
            }
        }
    }
}

pub(super) fn parse<T: DeserializeOwned>(path: &str, response: &HttpResponse) -> Result<T, GitHubError> {
    serde_json::from_slice(&response.body)
        .map_err(|_| GitHubError::unavailable(format!("{path}: a success that is not GitHub's JSON")))
}

#[cfg(test)]
mod tests;
