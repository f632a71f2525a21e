//! Webhooks: signed, delivered once, recorded, and never retried by GitHub itself.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use url::Url;

use super::state::account::Person;
use super::state::app::{App, INSTALLATION};
use super::state::delivery::{Delivery, Shown};
use super::state::fault::WebhookFault;
use super::state::job::Job;
use super::state::{PAGES, Shared, State};
use crate::clock::rfc3339;
use crate::event::Event;
use crate::random::random_text;

/// GitHub gives an app this long.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// `X-Hub-Signature-256` of a body.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body);
    let digest: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digest}")
}

/// The headers of a delivery, as it is sent and as it is listed.
pub(crate) fn headers(app: &App, delivery: &Delivery) -> [(&'static str, String); 8] {
    [
        ("Accept", "*/*".to_owned()),
        ("content-type", "application/json".to_owned()),
        ("User-Agent", "GitHub-Hookshot/simulator".to_owned()),
        ("X-GitHub-Event", delivery.event.clone()),
        ("X-GitHub-Delivery", delivery.guid.clone()),
        ("X-GitHub-Hook-Installation-Target-ID", delivery.shown.app.unwrap_or(app.id).to_string()),
        ("X-GitHub-Hook-Installation-Target-Type", "integration".to_owned()),
        ("X-Hub-Signature-256", sign(&app.webhook_secret, delivery.body.as_bytes())),
    ]
}

/// Sends the same body under the same guid.
pub(crate) async fn redeliver(shared: &Arc<Shared>, earlier: &Delivery) -> Delivery {
    let repeated = Delivery { id: 0, redelivery: true, shown: Shown::default(), ..earlier.clone() };
    deliver(shared, repeated, None).await
}

/// Tells the app about a job's state. `None` when nothing was recorded: the webhook was lost, or is switched off.
pub(crate) async fn notify(shared: &Arc<Shared>, job: u64, action: &str) -> Option<Delivery> {
    let repository = shared.state().jobs[&job].repository_id;
    let fields = |state: &State, fault| job_fields(state, job, fault);
    send(shared, "workflow_job", action, repository, Some(job), fields).await
}

/// Tells the app anything else about a repository: `fields` are the event's own.
pub(crate) async fn tell(
    shared: &Arc<Shared>,
    event: &str,
    action: &str,
    repository: u64,
    fields: Map<String, Value>,
) -> Option<Delivery> {
    send(shared, event, action, repository, None, |_, _| fields).await
}

async fn send(
    shared: &Arc<Shared>,
    event: &str,
    action: &str,
    repository_id: u64,
    job: Option<u64>,
    fields: impl FnOnce(&State, Option<WebhookFault>) -> Map<String, Value>,
) -> Option<Delivery> {
    let (delivery, fault) = {
        let mut state = shared.state();
        let fault = state.webhook_faults.pop_front();
        let inactive = state.app().is_some_and(|app| !app.webhook_active);
        if inactive || fault == Some(WebhookFault::Lost) {
            return None;
        }
        let installation = state.repositories.get(repository_id).and_then(|repository| repository.installation);
        let mut payload = payload(&state, repository_id, action);
        payload.extend(fields(&state, fault));
        if fault == Some(WebhookFault::Bare) {
            payload.remove("sender");
            let repository = payload.get_mut("repository").and_then(Value::as_object_mut);
            repository.into_iter().for_each(|repository| {
                repository.retain(|name, _| name != "visibility" && name != "private");
            });
        }
        let delivery = Delivery {
            id: 0,
            guid: format!("{}-{}", random_text(8), random_text(12)).to_lowercase(),
            event: event.to_owned(),
            action: action.to_owned(),
            job,
            status: 0,
            answer: Value::Null,
            redelivery: false,
            body: Value::Object(payload).to_string(),
            delivered_at: 0,
            shown: Shown::default(),
            repository_id,
            installation_id: installation.unwrap_or(INSTALLATION),
        };
        (delivery, fault)
    };
    Some(deliver(shared, delivery, fault).await)
}

/// Sends a delivery and records what came of it.
async fn deliver(shared: &Arc<Shared>, mut delivery: Delivery, fault: Option<WebhookFault>) -> Delivery {
    let missed = {
        let mut state = shared.state();
        if state.habits.listed_late || matches!(fault, Some(WebhookFault::ListedLate(_))) {
            (delivery.id, delivery.delivered_at) = (state.next_id(), state.now());
        }
        let nowhere = state.app().is_some_and(|app| is_invalid(&app.webhook_url));
        nowhere || state.habits.webhooks_missed || fault == Some(WebhookFault::Unreachable)
    };
    if let Some(WebhookFault::Late(time)) = fault {
        tokio::time::sleep(time).await;
    }
    let (action, about) = (delivery.action.clone(), delivery.job);
    (delivery.status, delivery.answer) = if missed {
        (0, json!({"error": "the app could not be reached"}))
    } else {
        if let Some(job) = about {
            shared.events.emit(Event::WebhookSent { action: action.clone(), job, bytes: delivery.body.len() });
        }
        post(shared, &delivery).await
    };
    if let Some(WebhookFault::ListedLate(time)) = fault {
        tokio::time::sleep(time).await;
    }
    let mut state = shared.state();
    if delivery.id == 0 {
        (delivery.id, delivery.delivered_at) = (state.next_id(), state.now());
    }
    state.deliveries.add(delivery.clone());
    drop(state);
    if let Some(job) = about {
        let (status, body) = (delivery.status, delivery.answer.clone());
        shared.events.emit(Event::WebhookAnswered { action, job, status, body });
    }
    delivery
}

/// The app's status, 0 without an answer, and its body.
async fn post(shared: &Shared, delivery: &Delivery) -> (u16, Value) {
    let app = shared.state().app().cloned();
    let Some(app) = app else { return (0, json!({"error": "there is no App"})) };
    let mut request = shared.client.post(&app.webhook_url);
    for (name, value) in headers(&app, delivery) {
        request = request.header(name, value);
    }
    match request.body(delivery.body.clone()).timeout(ANSWER_DEADLINE).send().await {
        Ok(response) => (response.status().as_u16(), response.json().await.unwrap_or_default()),
        Err(error) => (0, json!({"error": error.to_string()})),
    }
}

/// Whether the host can be nobody's (RFC 6761, 6.4): not even its address is asked for.
fn is_invalid(url: &str) -> bool {
    let url = Url::parse(url);
    let host = url.as_ref().ok().and_then(Url::host_str).unwrap_or_default();
    host.trim_end_matches('.').rsplit('.').next() == Some("invalid")
}

/// What every event about a repository has.
fn payload(state: &State, repository_id: u64, action: &str) -> Map<String, Value> {
    let repository = state.repositories.get(repository_id).unwrap();
    let mut payload = object(json!({
        "action": action,
        "repository": repository.resource(),
        "sender": Person::default().resource(),
        "installation": {"id": repository.installation.unwrap_or(INSTALLATION), "node_id": "MDQ6"},
    }));
    payload.extend(repository.organization().map(|organization| ("organization".to_owned(), organization)));
    payload
}

/// What `workflow_job` has of its own.
fn job_fields(state: &State, id: u64, fault: Option<WebhookFault>) -> Map<String, Value> {
    let job = &state.jobs[&id];
    let page = format!("{PAGES}/{}", state.repositories.get(job.repository_id).unwrap().name);
    let (status, conclusion) = job.status.words();
    let run = &state.runs[&job.run];
    let mut fields = json!({
        "sender": job.sender.resource(),
        "workflow_job": {
            "id": id, "run_id": job.run, "run_attempt": job.attempt, "name": "build", "workflow_name": "CI",
            "status": status, "conclusion": conclusion, "labels": job.labels, "head_branch": run.shown_head().0,
            "head_sha": run.shown_sha(), "created_at": rfc3339(job.created_at),
            "html_url": format!("{page}/actions/runs/{}/job/{id}", job.run), "steps": [],
        },
    });
    for (field, value) in runner_fields(job, fault) {
        fields["workflow_job"][field] = value;
    }
    if let Some(environment) = &job.environment {
        fields["deployment"] = json!({"id": id + 2, "environment": environment, "task": "deploy"});
    }
    object(fields)
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn runner_fields(job: &Job, fault: Option<WebhookFault>) -> [(&'static str, Value); 4] {
    let values = match (&job.runner, fault) {
        (_, Some(WebhookFault::RunnerEmpty)) => [json!(0), json!(""), json!(0), json!("")],
        (Some((id, name)), fault) if fault != Some(WebhookFault::RunnerNull) => {
            let (group, group_name) = job.runner_group.clone().unzip();
            [json!(id), json!(name), json!(group), json!(group_name)]
        }
        _ => [Value::Null, Value::Null, Value::Null, Value::Null],
    };
    let [id, name, group, group_name] = values;
    [("runner_id", id), ("runner_name", name), ("runner_group_id", group), ("runner_group_name", group_name)]
}
