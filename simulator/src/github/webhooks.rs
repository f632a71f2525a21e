//! Webhooks: signed, delivered once, recorded, and never retried by GitHub itself.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::jobs::JobStatus;
use super::{GitHub, INSTALLATION, Shared, WebhookFault};
use crate::event::Event;
use crate::{random_text, unix_seconds};

/// GitHub gives an app this long.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// One delivery of a webhook.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its id.
    pub id: u64,
    /// `X-GitHub-Delivery`; the same for a redelivery.
    pub guid: String,
    /// The `action`.
    pub action: String,
    /// The job's id.
    pub job: u64,
    /// The app's status; 0 when there was no answer.
    pub status: u16,
    /// The app's answer.
    pub answer: Value,
    /// Whether it repeats an earlier one.
    pub redelivery: bool,
    /// The job's repository.
    pub repository_id: u64,
    body: String,
    delivered_at: u64,
}

impl Delivery {
    /// Whether GitHub counts it as delivered.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// An entry of `GET /app/hook/deliveries`.
    pub(super) fn listed(&self) -> Value {
        let status = match self.status {
            0 => "failed to connect to host",
            200..=299 => "OK",
            _ => "Invalid HTTP Response",
        };
        json!({
            "id": self.id, "guid": self.guid, "delivered_at": crate::rfc3339(self.delivered_at),
            "redelivery": self.redelivery, "duration": 0.1, "status": status, "status_code": self.status,
            "event": "workflow_job", "action": self.action, "installation_id": INSTALLATION,
            "repository_id": self.repository_id, "throttled_at": null,
        })
    }
}

/// `X-Hub-Signature-256` of a body.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body);
    let digest: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digest}")
}

impl GitHub {
    /// Sends a recorded delivery once more, with the same guid.
    pub async fn redeliver(&self, delivery: &Delivery) -> Delivery {
        redeliver(&self.shared, delivery).await
    }
}

/// Sends the same body under the same guid.
pub(super) async fn redeliver(shared: &Arc<Shared>, earlier: &Delivery) -> Delivery {
    let repeated = Delivery { redelivery: true, ..earlier.clone() };
    deliver(shared, repeated, None).await
}

/// Tells the app about a job's state. `None` when the webhook was lost.
pub(super) async fn notify(shared: &Arc<Shared>, job: u64, action: &str) -> Option<Delivery> {
    let (delivery, fault) = {
        let mut state = shared.state();
        let fault = state.webhook_faults.pop_front();
        if fault == Some(WebhookFault::Lost) {
            return None;
        }
        let delivery = Delivery {
            id: 0,
            guid: format!("{}-{}", random_text(8), random_text(12)).to_lowercase(),
            action: action.to_owned(),
            job,
            status: 0,
            answer: Value::Null,
            redelivery: false,
            body: payload(&state, job, action),
            delivered_at: 0,
            repository_id: state.repositories[&state.jobs[&job].repository],
        };
        (delivery, fault)
    };
    Some(deliver(shared, delivery, fault).await)
}

/// Sends a delivery and records what came of it.
async fn deliver(shared: &Arc<Shared>, mut delivery: Delivery, fault: Option<WebhookFault>) -> Delivery {
    if let Some(WebhookFault::Late(time)) = fault {
        tokio::time::sleep(time).await;
    }
    let (action, job) = (delivery.action.clone(), delivery.job);
    (delivery.status, delivery.answer) = if fault == Some(WebhookFault::Unreachable) {
        (0, json!({"error": "the app could not be reached"}))
    } else {
        shared.events.emit(Event::WebhookSent { action: action.clone(), job, bytes: delivery.body.len() });
        post(shared, &delivery).await
    };
    let mut state = shared.state();
    delivery.id = state.next_id();
    delivery.delivered_at = unix_seconds();
    state.deliveries.push(delivery.clone());
    drop(state);
    let (status, body) = (delivery.status, delivery.answer.clone());
    shared.events.emit(Event::WebhookAnswered { action, job, status, body });
    delivery
}

/// The app's status, 0 without an answer, and its body.
async fn post(shared: &Shared, delivery: &Delivery) -> (u16, Value) {
    let app = shared.state().app().cloned();
    let Some(app) = app else { return (0, json!({"error": "there is no App"})) };
    let sent = shared
        .client
        .post(app.webhook_url)
        .header("content-type", "application/json")
        .header("user-agent", "GitHub-Hookshot/simulator")
        .header("x-github-event", "workflow_job")
        .header("x-github-delivery", &delivery.guid)
        .header("x-hub-signature-256", sign(&app.webhook_secret, delivery.body.as_bytes()))
        .body(delivery.body.clone())
        .timeout(ANSWER_DEADLINE)
        .send()
        .await;
    match sent {
        Ok(response) => (response.status().as_u16(), response.json().await.unwrap_or_default()),
        Err(error) => (0, json!({"error": error.to_string()})),
    }
}

fn payload(state: &super::State, id: u64, action: &str) -> String {
    let job = &state.jobs[&id];
    let (owner, name) = job.repository.split_once('/').unwrap();
    let page = format!("https://github.com/{}", job.repository);
    let (status, conclusion) = match &job.status {
        JobStatus::Queued => ("queued", None),
        JobStatus::InProgress => ("in_progress", None),
        JobStatus::Completed(conclusion) => ("completed", Some(conclusion)),
    };
    json!({
        "action": action,
        "workflow_job": {
            "id": id, "run_id": super::run_of(id), "run_attempt": 1, "name": "build", "workflow_name": "CI",
            "status": status, "conclusion": conclusion, "labels": job.labels, "head_branch": "main",
            "head_sha": "7ad62d7cef4b1f6f5cf1e7ea0ed4a0b2f9d9d3c1", "created_at": crate::rfc3339(job.created_at),
            "html_url": format!("{page}/actions/runs/{}/job/{id}", id + 1), "steps": [],
            "runner_id": job.runner.as_ref().map(|(id, _)| id),
            "runner_name": job.runner.as_ref().map(|(_, name)| name),
            "runner_group_id": job.runner.as_ref().map(|_| 1),
            "runner_group_name": job.runner.as_ref().map(|_| "Default"),
        },
        "repository": {
            "id": state.repositories[&job.repository], "name": name, "full_name": job.repository, "html_url": page,
            "private": true, "fork": false, "owner": {"login": owner, "id": 1, "type": "Organization"},
        },
        "organization": {"login": owner, "id": 1},
        "sender": {"login": "octocat", "id": 2, "type": "User"},
        "installation": {"id": INSTALLATION, "node_id": "MDQ6"},
    })
    .to_string()
}
