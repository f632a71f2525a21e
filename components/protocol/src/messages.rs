//! The messages of the gateway's API. All values of a launch request are strings, as the original service takes them; it
//! ignores the fields that it does not know.

use serde::{Deserialize, Serialize};

use crate::identity::LaunchId;
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
