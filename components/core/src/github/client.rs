//! The calls of GitHub's REST API that are needed here, each with a deadline, and what their failures mean.
//!
//! The answers are told apart by what to do about them: ask again later, or give up. A rate limit is kept in the store,
//! so that no replica asks before it is over: to go on during a limit makes it longer.

use std::collections::BTreeMap;
use std::time::Duration;

use gha_slurm_protocol::identity::{JobId, RepositoryName};
use gha_slurm_protocol::labels::LabelSet;
use gha_slurm_protocol::secret::Secret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;
use url::Url;

use super::app_jwt::AppKey;
use crate::counters::{CallResult, Counter};
use crate::identity::{InstallationId, RunnerId};
use crate::ledger::{FailureKind, keys, read, write};
use crate::ports::{Clock, Http, HttpMethod, HttpRequest, HttpResponse, Random, SendError, Store};
use crate::settings::{GitHubSettings, SettingError};
use crate::text::Text;

const USER_AGENT: &str = concat!("gha-slurm/", env!("CARGO_PKG_VERSION"));
const API_VERSION: &str = "2022-11-28";
const CALL_DEADLINE: Duration = Duration::from_secs(8);
/// The runner group of every repository; others are an organisation's.
const DEFAULT_GROUP: u64 = 1;
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

/// What an installation token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Register runners.
    AdministrationWrite,
    /// See jobs.
    ActionsRead,
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
    /// 403, 409 or 422: GitHub will not do it as things stand.
    #[error("GitHub refuses: {0}")]
    Refused(String),
    /// The App's settings do not let the call be made.
    #[error(transparent)]
    Setting(#[from] SettingError),
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
}

/// A runner that GitHub knows before it starts.
#[derive(Debug, Clone)]
pub struct JitConfig {
    /// The secret that starts it, once.
    pub config: Secret,
    /// The runner's id, where GitHub tells it.
    pub runner: Option<RunnerId>,
}

/// GitHub as this App sees it, for the length of one request.
pub struct GitHub<'a, P> {
    platform: &'a P,
    settings: GitHubSettings,
    give_up_at: Duration,
}

/// Where a job is, in GitHub's words.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// It waits for a runner.
    Queued,
    /// A runner took it.
    InProgress,
    /// It has a conclusion.
    Completed,
    /// GitHub itself holds it back: `waiting` for an approval, `pending`, `requested`, or a word that it added later.
    #[serde(untagged)]
    Held(String),
}

/// A job as GitHub shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct JobInfo {
    /// Its id.
    pub id: JobId,
    /// Its name in the workflow.
    #[serde(default)]
    pub name: String,
    /// Where it is.
    pub status: JobStatus,
    /// Once completed.
    #[serde(default)]
    pub conclusion: Option<String>,
    /// The runner that took it.
    #[serde(default)]
    pub runner_name: Option<String>,
    /// The labels of its `runs-on`.
    #[serde(default)]
    pub labels: LabelSet,
}

/// An App that was made of a manifest.
#[derive(Debug, Clone, Deserialize)]
pub struct ConvertedApp {
    /// Its id.
    pub id: u64,
    /// Its name in URLs.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// Its page at GitHub.
    pub html_url: Url,
    /// Its private key.
    pub pem: Secret,
    /// The secret of its webhook.
    pub webhook_secret: Option<Secret>,
}

/// An App as GitHub shows it to itself.
#[derive(Debug, Clone, Deserialize)]
pub struct AppState {
    /// Its name for people.
    pub name: String,
    /// Its page.
    pub html_url: String,
    /// What it may do, by name.
    pub permissions: BTreeMap<String, String>,
    /// What its webhook tells of.
    pub events: Vec<String>,
    /// On how many accounts it is installed, where GitHub says so.
    pub installations_count: Option<u64>,
}

/// Where an App's webhook goes.
#[derive(Debug, Clone, Deserialize)]
pub struct HookConfig {
    /// The URL, if there is one.
    pub url: Option<String>,
    /// `json` or `form`.
    pub content_type: Option<String>,
}

/// One delivery of the App's webhook, as GitHub lists it.
#[derive(Debug, Clone, Deserialize)]
pub struct DeliveryEntry {
    /// The id of this attempt.
    pub id: u64,
    /// The same for all attempts.
    pub guid: String,
    /// `OK`, or what went wrong.
    pub status: String,
    /// The application's status; 0 where there was no answer.
    #[serde(default)]
    pub status_code: u16,
    /// When, RFC 3339.
    #[serde(default)]
    pub delivered_at: String,
    /// The event.
    pub event: String,
    /// What happened, where the event knows several things.
    #[serde(default)]
    pub action: Text,
    /// Whether it repeats an earlier attempt.
    #[serde(default)]
    pub redelivery: bool,
}

/// A page of deliveries, newest first.
#[derive(Debug)]
pub struct DeliveryPage {
    /// The deliveries.
    pub deliveries: Vec<DeliveryEntry>,
    /// Where older ones begin, if there are any.
    pub next: Option<String>,
}

impl<'a, P: Http + Clock + Store + Random> GitHub<'a, P> {
    /// A client whose calls all end within `budget` from now.
    pub fn new(platform: &'a P, settings: GitHubSettings, budget: Duration) -> Self {
        Self { platform, settings, give_up_at: platform.now() + budget }
    }

    /// Proves the App's identity for the calls that need it; with its end, in seconds of Unix time.
    pub fn app_jwt(&self, key: &AppKey) -> Result<(Secret, u64), GitHubError> {
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

    /// `POST /app/installations/{id}/access_tokens`, narrowed to one repository and one permission.
    pub fn installation_token(
        &self,
        app_jwt: &Secret,
        installation: InstallationId,
        repository: &RepositoryName,
        permission: Permission,
    ) -> Result<ExpiringToken, GitHubError> {
        let path = format!("app/installations/{}/access_tokens", installation.0);
        let (name, level) = match permission {
            Permission::AdministrationWrite => ("administration", "write"),
            Permission::ActionsRead => ("actions", "read"),
        };
        let scope = json!({"repositories": [repository.name()], "permissions": {name: level}});
        self.call(HttpMethod::Post, &path, app_jwt, Some(&scope))
    }

    /// `POST /repos/{owner}/{repo}/actions/runners/generate-jitconfig`: registers one ephemeral runner, and the secret
    /// that starts it. A name that is taken is refused.
    pub fn jit_config(
        &self,
        token: &Secret,
        repository: &RepositoryName,
        name: &str,
        labels: &LabelSet,
    ) -> Result<JitConfig, GitHubError> {
        #[derive(Deserialize)]
        struct Runner {
            id: RunnerId,
        }
        #[derive(Deserialize)]
        struct Made {
            encoded_jit_config: Secret,
            runner: Option<Runner>,
        }
        let path = format!("repos/{repository}/actions/runners/generate-jitconfig");
        let labels: Vec<&str> = labels.iter().collect();
        let asked = json!({"name": name, "runner_group_id": DEFAULT_GROUP, "labels": labels, "work_folder": "_work"});
        let made: Made = self.call(HttpMethod::Post, &path, token, Some(&asked))?;
        Ok(JitConfig { config: made.encoded_jit_config, runner: made.runner.map(|runner| runner.id) })
    }

    /// `DELETE /repos/{owner}/{repo}/actions/runners/{id}`: GitHub refuses it while the runner runs a job.
    pub fn remove_runner(
        &self,
        token: &Secret,
        repository: &RepositoryName,
        runner: RunnerId,
    ) -> Result<(), GitHubError> {
        let path = format!("repos/{repository}/actions/runners/{}", runner.0);
        self.exchange(HttpMethod::Delete, &path, token, None).map(|_| ())
    }

    /// `GET /repos/{owner}/{repo}/actions/jobs/{id}`
    pub fn job(&self, token: &Secret, repository: &RepositoryName, job: JobId) -> Result<JobInfo, GitHubError> {
        self.call(HttpMethod::Get, &format!("repos/{repository}/actions/jobs/{job}"), token, None)
    }

    /// `GET /repos/{owner}/{repo}/actions/runs/{id}/jobs`: the first hundred jobs of a run's last attempt.
    pub fn run_jobs(&self, token: &Secret, repository: &RepositoryName, run: u64) -> Result<Vec<JobInfo>, GitHubError> {
        #[derive(Deserialize)]
        struct Page {
            jobs: Vec<JobInfo>,
        }
        let path = format!("repos/{repository}/actions/runs/{run}/jobs?per_page=100");
        Ok(self.call::<Page>(HttpMethod::Get, &path, token, None)?.jobs)
    }

    /// `GET /app`: the App as it is registered.
    pub fn app(&self, app_jwt: &Secret) -> Result<AppState, GitHubError> {
        self.call(HttpMethod::Get, "app", app_jwt, None)
    }

    /// `GET /app/hook/config`
    pub fn hook_config(&self, app_jwt: &Secret) -> Result<HookConfig, GitHubError> {
        self.call(HttpMethod::Get, "app/hook/config", app_jwt, None)
    }

    /// `GET /app/hook/deliveries`, from `cursor` on.
    pub fn deliveries(&self, app_jwt: &Secret, cursor: Option<&str>) -> Result<DeliveryPage, GitHubError> {
        let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let path = format!("app/hook/deliveries?per_page=100{cursor}");
        let response = self.exchange(HttpMethod::Get, &path, app_jwt, None)?;
        let next = response.header("link").and_then(next_cursor);
        Ok(DeliveryPage { deliveries: parse(&path, &response)?, next })
    }

    /// `POST /app/hook/deliveries/{id}/attempts`: GitHub sends it once more.
    pub fn redeliver(&self, app_jwt: &Secret, delivery: u64) -> Result<(), GitHubError> {
        let path = format!("app/hook/deliveries/{delivery}/attempts");
        self.exchange(HttpMethod::Post, &path, app_jwt, None).map(|_| ())
    }

    /// `POST /app-manifests/{code}/conversions`: the App that was made of a manifest, once per code and within an hour.
    /// It needs no credential but the code.
    pub fn convert_manifest(&self, code: &str) -> Result<ConvertedApp, GitHubError> {
        let path = format!("app-manifests/{code}/conversions");
        // What went wrong must not show the code.
        let shown = "app-manifests/{code}/conversions";
        parse(shown, &self.exchange_as(HttpMethod::Post, &path, shown, None, None)?)
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
        parse(path, &self.exchange(method, path, credential, body)?)
    }

    fn exchange(
        &self,
        method: HttpMethod,
        path: &str,
        credential: &Secret,
        body: Option<&Value>,
    ) -> Result<HttpResponse, GitHubError> {
        self.exchange_as(method, path, path, Some(credential), body)
    }

    /// Errors show `shown` for the path.
    fn exchange_as(
        &self,
        method: HttpMethod,
        path: &str,
        shown: &str,
        credential: Option<&Secret>,
        body: Option<&Value>,
    ) -> Result<HttpResponse, GitHubError> {
        self.check_limit()?;
        let deadline = self.give_up_at.saturating_sub(self.platform.now()).min(CALL_DEADLINE);
        if deadline.is_zero() {
            return Err(unavailable("earlier calls took all the time".to_owned()));
        }
        let url = self.settings.api.join(path).map_err(|error| unavailable(format!("{shown}: {error}")))?;
        let mut headers = vec![
            ("accept", "application/vnd.github+json".to_owned()),
            ("user-agent", USER_AGENT.to_owned()),
            ("x-github-api-version", API_VERSION.to_owned()),
        ];
        headers.extend(credential.map(|credential| ("authorization", format!("Bearer {}", credential.expose()))));
        if body.is_some() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        let body = body.map(|json| json.to_string().into_bytes()).unwrap_or_default();
        let answered = match self.platform.send(&HttpRequest { method, url, headers, body, deadline }) {
            Ok(response) if (200..=299).contains(&response.status) => Ok(response),
            Ok(response) => Err(self.failure(shown, response.status, &response)),
            Err(error) => {
                let hint = if error == SendError::NotAllowed { " (github_api_url must be its origin)" } else { "" };
                Err(unavailable(format!("{shown}: {error}{hint}")))
            }
        };
        self.count(answered.as_ref().err());
        answered
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

    /// Nobody asks while a limit that any replica met is not over.
    fn check_limit(&self) -> Result<(), GitHubError> {
        // A limit that cannot be read must not stop everything.
        let until = read::<u64>(self.platform, &keys::github_limited_until()).ok().flatten().unwrap_or(0);
        match until.saturating_sub(self.platform.unix_seconds()) {
            0 => Ok(()),
            wait => {
                let detail = format!("its rate limit holds for {wait} s more");
                Err(GitHubError::Unavailable { retry_after: wait.min(MAX_RETRY_SECONDS), detail })
            }
        }
    }

    fn failure(&self, path: &str, status: u16, response: &HttpResponse) -> GitHubError {
        let message = response.message();
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
                let retry_after = seconds.clamp(1, MAX_RETRY_SECONDS);
                let until = self.platform.unix_seconds().saturating_add(retry_after);
                // Not kept, it is met again.
                let _ = write(self.platform, &keys::github_limited_until(), &until);
                GitHubError::Unavailable { retry_after, detail }
            }
            401 => GitHubError::Unauthorized(detail),
            404 | 410 | 300..=399 => GitHubError::NotFound(detail),
            403 | 409 | 422 => GitHubError::Refused(detail),
            _ => {
                let retry_after = header("retry-after").unwrap_or(DEFAULT_RETRY_SECONDS).clamp(1, MAX_RETRY_SECONDS);
                GitHubError::Unavailable { retry_after, detail }
            }
        }
    }
}

fn unavailable(detail: String) -> GitHubError {
    GitHubError::Unavailable { retry_after: DEFAULT_RETRY_SECONDS, detail }
}

fn parse<T: DeserializeOwned>(path: &str, response: &HttpResponse) -> Result<T, GitHubError> {
    serde_json::from_slice(&response.body)
        .map_err(|_| unavailable(format!("{path}: a success that is not GitHub's JSON")))
}

/// The cursor of `<…?cursor=v1_123>; rel="next"`.
fn next_cursor(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let url = next.split_once('<')?.1.split_once('>')?.0;
    let url = url::Url::parse(url).ok()?;
    let (_, cursor) = url.query_pairs().find(|(name, _)| name == "cursor")?;
    // It goes into a URL again.
    let plain = cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    (plain && cursor.len() <= 200).then(|| cursor.into_owned())
}
