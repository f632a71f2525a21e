//! The webhook event `workflow_job`, as far as it is read.
//!
//! Source: GitHub Docs, "Webhook events and payloads". Ids are 64-bit: GitHub's are past what a JavaScript number holds
//! exactly. What is not named here is ignored, because GitHub adds fields.

use chrono::DateTime;
use gha_slurm_core::identity::{InstallationId, PersonId, RepositoryId, RunId};
use gha_slurm_core::settings::SettingError;
use gha_slurm_core::text::Text;
use gha_slurm_protocol::identity::{JobId, RepositoryName};
use gha_slurm_protocol::labels::LabelSet;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use thiserror::Error;
use url::Url;

/// The event of jobs.
pub const WORKFLOW_JOB: &str = "workflow_job";

/// The body of a `workflow_job` delivery.
#[derive(Debug, Clone, Deserialize)]
pub struct WorkflowJobEvent {
    /// What happened.
    pub action: Action,
    /// The job that it happened to.
    pub workflow_job: WorkflowJob,
    /// The job's repository.
    pub repository: Repository,
    /// The App's installation; absent when a repository's own webhook sent the event.
    pub installation: Option<Installation>,
    /// Who caused it.
    #[serde(default)]
    pub sender: Option<Sender>,
}

/// Who caused an event.
#[derive(Debug, Clone, Deserialize)]
pub struct Sender {
    /// The account's name.
    #[serde(default)]
    pub login: Text,
    /// The account's ID.
    #[serde(default)]
    pub id: Option<PersonId>,
}

impl Sender {
    /// The ID and the login, if GitHub sent both.
    pub fn known(&self) -> Option<(PersonId, &str)> {
        Some((self.id?, self.login.some()?))
    }
}

/// What happened to a job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It waits for a runner.
    Queued,
    /// It waits for an approval, and is queued again after that.
    Waiting,
    /// A runner took it.
    InProgress,
    /// It has a conclusion.
    Completed,
    /// An action that GitHub added later.
    #[serde(untagged)]
    Other(String),
}

/// A job of a workflow run.
#[derive(Debug, Clone, Deserialize)]
pub struct WorkflowJob {
    /// Its id.
    pub id: JobId,
    /// The labels of its `runs-on`.
    pub labels: LabelSet,
    /// `queued`, or `waiting` while its deployment waits for an approval, whatever the action is.
    #[serde(default)]
    pub status: Option<String>,
    /// The run that it is a job of.
    #[serde(default)]
    pub run_id: Option<RunId>,
    /// The run's attempt.
    #[serde(default = "first_attempt")]
    pub run_attempt: u64,
    /// Once completed.
    #[serde(default)]
    pub conclusion: Option<String>,
    /// The runner that took it.
    #[serde(default)]
    pub runner_name: Option<String>,
    /// Its name in the workflow.
    #[serde(default)]
    pub name: Text,
    /// The workflow's name.
    #[serde(default)]
    pub workflow_name: Text,
    /// The branch that the workflow runs on.
    #[serde(default)]
    pub head_branch: Text,
    /// The commit that its run is for.
    #[serde(default)]
    pub head_sha: Option<String>,
    /// When GitHub made it, in seconds of Unix time.
    #[serde(default, deserialize_with = "seconds")]
    pub created_at: Option<u64>,
}

/// From RFC 3339. What lies before 1970 is no time of a job.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let time = DateTime::parse_from_rfc3339(&text).map_err(D::Error::custom)?;
    Ok(u64::try_from(time.timestamp()).ok())
}

fn first_attempt() -> u64 {
    1
}

/// The repository of an event.
#[derive(Debug, Clone, Deserialize)]
pub struct Repository {
    /// Its id.
    pub id: RepositoryId,
    /// `owner/name`.
    pub full_name: RepositoryName,
    /// Its page.
    pub html_url: String,
    /// Whether not everybody may see it.
    #[serde(default)]
    pub private: Option<bool>,
    /// `public`, `private`, or `internal` for what an enterprise's members see.
    #[serde(default)]
    pub visibility: Option<String>,
}

/// The installation of an event.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Installation {
    /// Its id.
    pub id: InstallationId,
}

/// A payload that is not what GitHub sends.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct MalformedPayload(String);

/// Checks that a body is JSON at all; the error names the offset.
pub fn check_json(body: &[u8]) -> Result<(), MalformedPayload> {
    json::<serde::de::IgnoredAny>(body).map(|_| ())
}

/// Reads what any JSON can be read as.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, MalformedPayload> {
    serde_json::from_slice(body).map_err(|error| not_json(body, &error))
}

fn not_json(body: &[u8], error: &serde_json::Error) -> MalformedPayload {
    if body.starts_with(b"payload=") {
        return MalformedPayload("the body is a form: set the webhook's content type to application/json".to_owned());
    }
    MalformedPayload(format!("the body is not JSON: {error}"))
}

impl WorkflowJobEvent {
    /// Whether GitHub holds the job back until somebody approves its deployment.
    pub fn holds(&self) -> bool {
        self.action == Action::Waiting || self.workflow_job.status.as_deref() == Some("waiting")
    }
    /// Reads the body of a `workflow_job` delivery; the error names the field.
    pub fn parse(body: &[u8]) -> Result<Self, MalformedPayload> {
        serde_json::from_slice(body).map_err(|error| match serde_json::from_slice(body) {
            Ok(payload) => MalformedPayload(wrong_field(&payload).unwrap_or_else(|| error.to_string())),
            Err(error) => not_json(body, &error),
        })
    }
}

/// The first field of a payload that has not the type that is read here, and why. Looked for afterwards, because to keep
/// the path while reading doubles the code that reads.
fn wrong_field(payload: &Value) -> Option<String> {
    fn is<T: DeserializeOwned>(value: &Value) -> Option<String> {
        serde_json::from_value::<T>(value.clone()).err().map(|error| error.to_string())
    }
    type Check = fn(&Value) -> Option<String>;
    let fields: [(&str, Check); 9] = [
        ("action", is::<String>),
        ("workflow_job.id", is::<JobId>),
        ("workflow_job.labels", is::<LabelSet>),
        ("workflow_job", is::<WorkflowJob>),
        ("repository.id", is::<RepositoryId>),
        ("repository.full_name", is::<RepositoryName>),
        ("repository.html_url", is::<String>),
        ("repository", is::<Repository>),
        ("sender", is::<Option<Sender>>),
    ];
    fields.iter().find_map(|(path, check)| {
        let value = path.split('.').try_fold(payload, |value, key| value.get(key)).unwrap_or(&Value::Null);
        check(value).map(|why| format!("{path}: {why}"))
    })
}

/// Why a repository's page is not taken.
#[derive(Debug, Error)]
pub enum BadPage {
    /// It is not that repository's, or of another server.
    #[error(transparent)]
    Malformed(#[from] MalformedPayload),
    /// It is not known which server it must be of.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

impl Repository {
    /// Its ID and its name.
    pub fn named(&self) -> (RepositoryId, &RepositoryName) {
        (self.id, &self.full_name)
    }

    /// Whether everybody may see it; `None` if the payload does not say.
    pub fn is_public(&self) -> Option<bool> {
        match (self.visibility.as_deref(), self.private) {
            (Some("public"), _) | (_, Some(false)) => Some(true),
            (Some(_), _) | (_, Some(true)) => Some(false),
            (None, None) => None,
        }
    }

    /// The page's URL, checked to be an HTTP URL of just this repository at the server whose API the App uses (`of_server`),
    /// because the gateway decides by it.
    pub fn page(&self, of_server: impl Fn(&Url) -> Result<bool, SettingError>) -> Result<Url, BadPage> {
        let malformed = |problem: &str| MalformedPayload(format!("repository.html_url: {problem}"));
        let url = Url::parse(&self.html_url).map_err(|error| malformed(&error.to_string()))?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !plain || url.path() != format!("/{}", self.full_name) {
            return Err(malformed("not the page of repository.full_name").into());
        }
        if !of_server(&url)? {
            return Err(malformed("not a page of the server that github_api_url names").into());
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn payload() -> Value {
        json!({
            "action": "queued",
            "workflow_job": {"id": u64::MAX, "labels": ["Self-Hosted"], "run_attempt": 2, "runner_name": null,
                             "created_at": null},
            "repository": {"id": 1, "full_name": "o/r", "html_url": "https://github.com/o/r"},
        })
    }

    fn parse(payload: &Value) -> Result<WorkflowJobEvent, MalformedPayload> {
        WorkflowJobEvent::parse(payload.to_string().as_bytes())
    }

    #[test]
    fn ids_past_two_to_the_53_are_exact_and_new_actions_are_known_as_such() {
        let event = parse(&payload()).unwrap();
        assert_eq!((event.action, event.workflow_job.id), (Action::Queued, JobId(u64::MAX)));
        let mut later = payload();
        later["action"] = json!("paused");
        assert_eq!(parse(&later).unwrap().action, Action::Other("paused".to_owned()));
    }

    #[test]
    fn a_wrong_type_is_named_by_its_field() {
        for (pointer, value, named) in [
            ("/workflow_job/id", json!("1"), "workflow_job.id"),
            ("/workflow_job/id", json!(-1), "workflow_job.id"),
            ("/workflow_job/id", json!(1.5), "workflow_job.id"),
            ("/workflow_job/labels", json!("a"), "workflow_job.labels"),
            ("/workflow_job/labels", json!([1]), "workflow_job.labels"),
            ("/workflow_job/run_attempt", json!("x"), "workflow_job"),
            ("/workflow_job/created_at", json!("yesterday"), "workflow_job"),
            ("/repository/full_name", json!("../x"), "repository.full_name"),
            ("/repository", json!(null), "repository"),
            ("/action", json!(1), "action"),
        ] {
            let mut bad = payload();
            *bad.pointer_mut(pointer).unwrap() = value;
            let error = parse(&bad).unwrap_err().to_string();
            assert!(error.starts_with(named), "{pointer}: {error}");
        }
    }

    #[test]
    fn a_page_of_something_else_is_refused() {
        let mut event = parse(&payload()).unwrap();
        assert!(event.repository.page(|_| Ok(true)).is_ok());
        assert!(event.repository.page(|_| Ok(false)).unwrap_err().to_string().contains("github_api_url"));
        for bad in [
            "",
            "javascript:alert(1)",
            "https://github.com/o/other",
            "https://x@github.com/o/r",
            "https://github.com/o/r?x",
        ] {
            event.repository.html_url = bad.to_owned();
            assert!(event.repository.page(|_| Ok(true)).is_err(), "{bad:?}");
        }
    }
}
