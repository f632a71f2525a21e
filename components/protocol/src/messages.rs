//! The messages of the gateway's API. All values of a launch request are strings, as the original service takes them; it
//! ignores the fields that it does not know.

use serde::{Deserialize, Serialize};

use crate::identity::{LaunchId, Person, SlurmUser};
use crate::resources::ResourceFields;
use crate::secret::Secret;

/// The body of `POST /runner/start`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartRunner {
    /// The repository's page; the gateway maps it to a Slurm user.
    #[serde(rename = "gitHubURL")]
    pub github_url: String,
    /// What the Slurm job exchanges for a credential.
    #[serde(rename = "launcherToken")]
    pub launch_token: Secret,
    /// The labels to register with, comma-separated; none when it is absent, as the original takes it.
    #[serde(default)]
    pub runner_labels: String,
    /// Where to redeem the launch token.
    #[serde(rename = "tokenURL")]
    pub redeem_url: String,
    /// The name to register under. Empty when the sender is the original app, which names none.
    #[serde(default)]
    pub runner_name: String,
    /// What it asks of Slurm.
    #[serde(flatten)]
    pub resources: ResourceFields,
    /// The launch's id, so that a repeated submission can be recognised. The original does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch: Option<LaunchId>,
    /// The profile's name, for the gateway's log. The original does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// GitHub's number for the repository, which stays when it is renamed. This and what follows the original does not
    /// know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository_id: Option<u64>,
    /// GitHub's number for the workflow run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<u64>,
    /// Who caused the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<Person>,
    /// The Slurm user that the workflow names. Absent: the repository's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slurm_user: Option<SlurmUser>,
    /// Where the runner registers.
    #[serde(default, skip_serializing_if = "RunnerLevel::is_repository")]
    pub level: RunnerLevel,
}

/// What a runner is registered at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum RunnerLevel {
    /// The repository, which alone it then serves.
    #[default]
    Repository,
    /// The organization that owns the repository.
    Organization,
}

impl RunnerLevel {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    fn is_repository(&self) -> bool {
        *self == Self::Repository
    }
}

/// The body of `POST /runner/cancel`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CancelRunner {
    /// The launch whose Slurm job is to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch: Option<LaunchId>,
    /// The Slurm job itself, where the launch's id is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn through(message: Value) -> Value {
        json!(serde_json::from_value::<StartRunner>(message).unwrap())
    }

    #[test]
    fn the_originals_message_stays_as_it_is() {
        let original = json!({
            "gitHubURL": "https://github.com/o/r", "launcherToken": "a.b.c", "runnerLabels": "x",
            "tokenURL": "https://app.example/gha/runner", "runnerName": "n",
        });
        assert_eq!(through(original.clone()), original);
        let mut whole = original;
        let more = json!({
            "launch": "1-1", "profile": "p", "repositoryId": 7, "runId": 8, "slurmUser": "ada", "account": "a",
            "person": {"login": "Ada", "id": 583_231}, "level": "organization", "qos": "q",
        });
        whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(through(whole.clone()), whole);
    }
}
