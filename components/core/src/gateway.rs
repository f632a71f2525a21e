//! The launch request: what the app sends to `POST {gateway}/runner/start`, and how the answer is read.
//!
//! All values are strings, as the original service takes them; it ignores the fields that it does not know.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use url::Url;

use crate::identity::LaunchId;
use crate::labels::LabelSet;
use crate::ports::{Http, HttpMethod, HttpRequest, HttpResponse, SendError};
use crate::resources::Resources;
use crate::secret::Secret;
use crate::settings::GatewaySettings;

/// The body of `POST /runner/start`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartRunner {
    /// The repository's page; the gateway maps it to a Slurm user.
    #[serde(rename = "gitHubURL")]
    pub github_url: String,
    /// What the Slurm job exchanges for a credential.
    pub launcher_token: Secret,
    /// The labels to register with, comma-separated; none when it is absent, as the original takes it.
    #[serde(default)]
    pub runner_labels: String,
    /// Where to exchange the token.
    #[serde(rename = "tokenURL")]
    pub token_url: String,
    /// The name to register under. Empty when the sender is the original app, which names none.
    #[serde(default)]
    pub runner_name: String,
    /// CPUs per task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// Memory per node, in MiB with the unit: `24576M`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// `true`, or absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclusive: Option<String>,
    /// Time limit in minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Slurm partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Generic resources. The original does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gres: Option<String>,
    /// The launch's id, so that a repeated submission can be recognised. The original does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch: Option<LaunchId>,
    /// The profile's name, for the gateway's log. The original does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

impl StartRunner {
    /// The request for one launch.
    pub fn new(
        launch: LaunchId,
        token: Secret,
        token_url: &Url,
        repository: &Url,
        labels: &LabelSet,
        profile: &str,
        resources: &Resources,
    ) -> Self {
        Self {
            github_url: repository.as_str().trim_end_matches('/').to_owned(),
            launcher_token: token,
            runner_labels: labels.to_string(),
            token_url: token_url.to_string(),
            runner_name: launch.runner_name(),
            cpus: resources.cpus.map(|cpus| cpus.to_string()),
            memory: resources.memory.map(|memory| memory.to_string()),
            exclusive: resources.exclusive.then(|| "true".to_owned()),
            duration: resources.time_limit.map(|limit| limit.minutes().to_string()),
            partition: resources.partition.clone(),
            gres: resources.gres.clone(),
            launch: Some(launch),
            profile: Some(profile.to_owned()),
        }
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

/// The answer to `GET /runner/{launch}`: what Slurm says of a launch's Slurm job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlurmJob {
    /// Its id; absent while the gateway does not know whether it is submitted.
    pub job_id: Option<String>,
    /// The state in Slurm's word, such as `PENDING`; `UNKNOWN` when Slurm has forgotten it.
    pub state: String,
    /// Slurm's reason for that state, such as `Resources`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl SlurmJob {
    /// Whether it does nothing any more. Slurm forgets only what is over.
    pub fn is_over(&self) -> bool {
        self.job_id.is_some() && is_final(&self.state)
    }
}

/// Whether a Slurm job in that state does nothing any more (the job states of squeue's manual).
pub fn is_final(state: &str) -> bool {
    !matches!(
        state,
        "PENDING"
            | "RUNNING"
            | "SUSPENDED"
            | "CONFIGURING"
            | "COMPLETING"
            | "POWER_UP_NODE"
            | "REQUEUED"
            | "REQUEUE_FED"
            | "REQUEUE_HOLD"
            | "RESIZING"
            | "RESV_DEL_HOLD"
            | "SIGNALING"
            | "SPECIAL_EXIT"
            | "STAGE_OUT"
            | "STOPPED"
    )
}

/// Why a launch is not known to be submitted.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum GatewayError {
    /// It could not be reached, or its answer was lost.
    #[error("the gateway cannot be reached: {0}")]
    Unreachable(#[from] SendError),
    /// 401.
    #[error("the gateway refused the shared secret: gateway_secret must be the same on both sides")]
    Unauthorized,
    /// Another 4xx: it will not do it as things stand.
    #[error("the gateway refused ({status}): {message}")]
    Refused {
        /// The status.
        status: u16,
        /// The gateway's words, often Slurm's.
        message: String,
    },
    /// 5xx, or what no gateway answers.
    #[error("the gateway failed ({0})")]
    Failed(u16),
    /// A success without the gateway's body: something else answers at that address.
    #[error("the answer is not a gateway's: check gateway_url")]
    NotAGateway,
}

/// Submits one launch. `Ok` is the Slurm job's id, when the gateway tells it.
pub fn start_runner(
    http: &impl Http,
    gateway: &GatewaySettings,
    launch: &StartRunner,
    deadline: Duration,
) -> Result<Option<String>, GatewayError> {
    accepted(&send(http, gateway, HttpMethod::Post, "runner/start", encode(launch)?, deadline)?)
}

/// Whether the gateway is there and takes the secret, asked by a launch that is none: the gateway says what is missing in
/// it, the original service fails on it, and neither starts anything.
pub fn check_gateway(http: &impl Http, gateway: &GatewaySettings, deadline: Duration) -> Result<(), GatewayError> {
    let ask = |gateway| send(http, gateway, HttpMethod::Post, "runner/start", b"{}".to_vec(), deadline);
    match ask(gateway) {
        Err(GatewayError::Refused { status: 422, .. }) => Ok(()),
        // Whatever is broken fails so as well; the original tells a wrong secret apart.
        Err(GatewayError::Failed(500)) => {
            let other = GatewaySettings { url: gateway.url.clone(), secret: Secret::new("not-the-secret") };
            match ask(&other) {
                Err(GatewayError::Unauthorized) => Ok(()),
                _ => Err(GatewayError::Failed(500)),
            }
        }
        Err(error) => Err(error),
        Ok(_) => Err(GatewayError::NotAGateway),
    }
}

/// Has a launch's Slurm job cancelled. A gateway that does not know the launch, or has no such route, has nothing to
/// cancel.
pub fn cancel_runner(
    http: &impl Http,
    gateway: &GatewaySettings,
    launch: LaunchId,
    deadline: Duration,
) -> Result<(), GatewayError> {
    let body = CancelRunner { launch: Some(launch), job_id: None };
    match send(http, gateway, HttpMethod::Post, "runner/cancel", encode(&body)?, deadline) {
        Ok(_) | Err(GatewayError::Refused { status: 404 | 405 | 410, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Asks for a launch's Slurm job. `None` when the gateway does not know the launch, or has no such route.
pub fn slurm_job(
    http: &impl Http,
    gateway: &GatewaySettings,
    launch: LaunchId,
    deadline: Duration,
) -> Result<Option<SlurmJob>, GatewayError> {
    match send(http, gateway, HttpMethod::Get, &format!("runner/{launch}"), Vec::new(), deadline) {
        Ok(response) => serde_json::from_slice(&response.body).map(Some).map_err(|_| GatewayError::NotAGateway),
        Err(GatewayError::Refused { status: 404 | 405, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn encode(body: &impl Serialize) -> Result<Vec<u8>, GatewayError> {
    Ok(serde_json::to_vec(body).map_err(|error| SendError::Broken(error.to_string()))?)
}

fn send(
    http: &impl Http,
    gateway: &GatewaySettings,
    method: HttpMethod,
    path: &str,
    body: Vec<u8>,
    deadline: Duration,
) -> Result<HttpResponse, GatewayError> {
    let url = gateway.url.join(path).map_err(|_| GatewayError::NotAGateway)?;
    let mut headers = vec![("auth-token", gateway.secret.expose().to_owned())];
    if !body.is_empty() {
        headers.push(("content-type", "application/json".to_owned()));
    }
    let response = http.send(&HttpRequest { method, url, headers, body, deadline })?;
    match response.status {
        200..=299 => Ok(response),
        401 => Err(GatewayError::Unauthorized),
        status @ 400..=499 => Err(GatewayError::Refused { status, message: response.message() }),
        _ => Err(GatewayError::Failed(response.status)),
    }
}

fn accepted(response: &HttpResponse) -> Result<Option<String>, GatewayError> {
    let answer: Value = serde_json::from_slice(&response.body).map_err(|_| GatewayError::NotAGateway)?;
    let slurm_job = match answer.get("job_id") {
        Some(Value::Number(id)) => Some(id.to_string()),
        Some(Value::String(id)) if id.len() <= 64 => Some(id.clone()),
        _ => None,
    };
    let ok = answer.get("status").and_then(Value::as_str) == Some("OK!");
    if ok || slurm_job.is_some() { Ok(slurm_job) } else { Err(GatewayError::NotAGateway) }
}
