//! The gateway's client: it submits launches, cancels them, asks about Slurm jobs, and interprets the answers.

use std::time::Duration;

use gha_slurm_protocol::identity::LaunchId;
use gha_slurm_protocol::messages::{CancelRunner, StartRunner};
use gha_slurm_protocol::secret::Secret;
use gha_slurm_protocol::slurm_job::SlurmJob;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::ledger::FailureKind;
use crate::ports::{Http, HttpMethod, HttpRequest, HttpResponse, SendError};
use crate::settings::GatewaySettings;

/// Why the gateway did not do what it was asked to.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum GatewayError {
    /// It could not be reached, or its answer was lost.
    #[error("the gateway cannot be reached: {0}")]
    Unreachable(#[from] SendError),
    /// 401.
    #[error("the gateway refused the shared secret: gateway_secret must be the same on both sides")]
    Unauthorized,
    /// Another 4xx: it will not do this as things are.
    #[error("the gateway refused ({status}): {message}")]
    Refused {
        /// The status.
        status: u16,
        /// The gateway's words, often Slurm's.
        message: String,
    },
    /// 5xx, or a status that no gateway sends.
    #[error("the gateway failed ({0})")]
    Failed(u16),
    /// A success without the body that a gateway sends: something else answers at that address.
    #[error("the answer does not come from a gateway: check gateway_url")]
    NotAGateway,
}

impl GatewayError {
    /// What kind of failure it is.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Unreachable(_) | Self::Failed(_) => FailureKind::Away,
            Self::Unauthorized => FailureKind::Unauthorized,
            Self::Refused { .. } => FailureKind::Refused,
            Self::NotAGateway => FailureKind::Other,
        }
    }
}

/// Submits a launch. `Ok` is the Slurm job's ID, if the gateway tells it.
pub fn start_runner(
    http: &impl Http,
    gateway: &GatewaySettings,
    launch: &StartRunner,
    deadline: Duration,
) -> Result<Option<String>, GatewayError> {
    accepted(&send(http, gateway, HttpMethod::Post, "runner/start", encode(launch)?, deadline)?)
}

/// Checks that the gateway is there and accepts the secret, by sending an empty launch: the gateway says what is missing,
/// the original service fails, and neither starts anything.
pub fn check_gateway(http: &impl Http, gateway: &GatewaySettings, deadline: Duration) -> Result<(), GatewayError> {
    let ask = |gateway| send(http, gateway, HttpMethod::Post, "runner/start", b"{}".to_vec(), deadline);
    match ask(gateway) {
        Err(GatewayError::Refused { status: 422, .. }) => Ok(()),
        // Anything that is broken may fail like this. The original service answers a wrong secret differently.
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

/// Asks about a launch's Slurm job. `None` if the gateway does not know the launch, or has no such route.
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
