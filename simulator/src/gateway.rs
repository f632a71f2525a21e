//! A gateway with the original's contract, and behind it a Slurm of one idea: a job waits while the partition is held,
//! then its script runs. The script exchanges the launch token, registers an ephemeral runner and waits for one job.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State as Axum};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::event::{Event, Events};
use crate::hold::Hold;
use crate::server::{Place, Served};

/// How the next submission fails.
#[derive(Debug, Clone)]
pub enum Fault {
    /// With this status.
    Status(u16),
    /// 200 with a body that is not a gateway's.
    Garbage,
    /// No answer for this long.
    Stall(Duration),
}

/// The fake gateway. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
    server: Served,
}

struct Shared {
    after: u64,
    secret: String,
    github: String,
    idle_limit: Duration,
    events: Events,
    client: reqwest::Client,
    hold: Hold,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    starts: Vec<Value>,
    cancelled: Vec<Value>,
    /// Slurm jobs by launch, so that a repeated submission starts nothing.
    launches: HashMap<String, SlurmJob>,
    faults: Vec<Fault>,
    last_job: u64,
}

struct SlurmJob {
    id: u64,
    /// In Slurm's word.
    state: &'static str,
    cancel: Arc<Notify>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn becomes(&self, launch: &str, new: &'static str) {
        if let Some(job) = self.state().launches.get_mut(launch) {
            job.state = new;
        }
    }
}

impl Gateway {
    /// A gateway with that shared secret. Its runners register at the fake GitHub `github` and end when no job starts
    /// within `idle_limit`.
    pub async fn start(secret: &str, github: &str, idle_limit: Duration, events: Events) -> std::io::Result<Self> {
        let anywhere = Place { after: 0, ..Place::default() };
        Self::start_at(anywhere, secret, github, idle_limit, events).await
    }

    /// The same at a place of its own. It takes launches of earlier jobs than those that begin there, and does nothing
    /// about them.
    pub async fn start_at(
        place: Place,
        secret: &str,
        github: &str,
        idle_limit: Duration,
        events: Events,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            after: place.after,
            secret: secret.to_owned(),
            github: github.to_owned(),
            idle_limit,
            events,
            client: reqwest::Client::new(),
            hold: Hold::default(),
            state: Mutex::default(),
        });
        let router = Router::new()
            .route("/runner/start", post(start_runner))
            .route("/runner/cancel", post(cancel_runner))
            .route("/runner/{launch}", get(slurm_job))
            .with_state(Arc::clone(&shared));
        let server = Served::start(place.listen, router).await?;
        Ok(Self { shared, server })
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Frees its address, in a moment.
    pub fn end(&self) {
        self.server.end();
    }

    /// Keeps Slurm jobs pending, or lets them run.
    pub fn hold(&self, held: bool) {
        self.shared.hold.all(held);
    }

    /// Lets the Slurm job of this one launch run; others stay pending.
    pub fn let_run(&self, launch: &str) {
        self.shared.hold.all_but(launch);
    }

    /// Makes the next submission fail; several wait in line.
    pub fn fail(&self, fault: Fault) {
        self.shared.state().faults.push(fault);
    }

    /// The body of every launch request that was accepted.
    pub fn starts(&self) -> Vec<Value> {
        self.shared.state().starts.clone()
    }

    /// The launches that the app had cancelled.
    pub fn cancelled(&self) -> Vec<Value> {
        self.shared.state().cancelled.clone()
    }

    /// Exchanges a launch's token, as its job script would: status (0 without an answer) and body.
    pub async fn redeem(&self, start: &Value) -> (u16, Value) {
        redeem(&self.shared, start).await
    }
}

async fn start_runner(Axum(shared): Axum<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Err(refused) = authentic(&shared, &headers) {
        return refused.into_response();
    }
    let due = {
        let mut state = shared.state();
        if state.faults.is_empty() { None } else { Some(state.faults.remove(0)) }
    };
    match due {
        Some(Fault::Status(status)) => return (StatusCode::from_u16(status).unwrap(), "Error").into_response(),
        Some(Fault::Garbage) => return (StatusCode::OK, "<html>a login page").into_response(),
        Some(Fault::Stall(time)) => {
            tokio::time::sleep(time).await;
            return (StatusCode::GATEWAY_TIMEOUT, "Error").into_response();
        }
        None => {}
    }
    // The original's body parser reads JSON of a known length only; all values that it knows are strings.
    let typed = text("content-type") == Some("application/json") && text("content-length").is_some();
    let start: Value = serde_json::from_slice(&body).unwrap_or_default();
    let required = ["gitHubURL", "launcherToken", "runnerLabels", "tokenURL"];
    let unknown = |name: &str| matches!(name, "repositoryId" | "runId" | "person");
    let strings =
        start.as_object().is_some_and(|fields| fields.iter().all(|(name, value)| value.is_string() || unknown(name)));
    if !typed || !strings || required.iter().any(|name| start[*name].as_str().is_none_or(str::is_empty)) {
        return (StatusCode::INTERNAL_SERVER_ERROR, "Error").into_response();
    }
    let launch = start["launch"].as_str().unwrap_or_default().to_owned();
    let job = launch.split('-').next().and_then(|job| job.parse::<u64>().ok());
    if job.is_some_and(|job| job <= shared.after) {
        return Json(json!({"status": "OK!"})).into_response();
    }
    let cancel = Arc::new(Notify::new());
    let slurm_job = {
        let mut state = shared.state();
        if let Some(job) = state.launches.get(&launch) {
            return Json(json!({"status": "OK!", "job_id": job.id})).into_response();
        }
        state.starts.push(start.clone());
        state.last_job += 1;
        let id = state.last_job;
        if !launch.is_empty() {
            let job = SlurmJob { id, state: "PENDING", cancel: Arc::clone(&cancel) };
            state.launches.insert(launch.clone(), job);
        }
        id
    };
    shared.events.emit(Event::LaunchRequested { body: start.clone() });
    tokio::spawn(async move {
        let (why, state) = tokio::select! {
            why = job_script(&shared, slurm_job, &start) => (why, "COMPLETED"),
            () = cancel.notified() => ("cancelled".to_owned(), "CANCELLED"),
        };
        shared.becomes(&launch, state);
        shared.events.emit(Event::SlurmJobEnded { slurm_job, why });
    });
    Json(json!({"status": "OK!", "job_id": slurm_job})).into_response()
}

type Refusal = (StatusCode, Json<Value>);

fn authentic(shared: &Shared, headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.get("auth-token").and_then(|value| value.to_str().ok()) == Some(&shared.secret) {
        return Ok(());
    }
    Err((StatusCode::UNAUTHORIZED, Json(json!({"message": "auth-token missing"}))))
}

fn not_found() -> Refusal {
    (StatusCode::NOT_FOUND, Json(json!({"message": "no such launch"})))
}

async fn cancel_runner(
    Axum(shared): Axum<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    authentic(&shared, &headers)?;
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut state = shared.state();
    let job = asked["launch"].as_str().and_then(|launch| state.launches.get(launch)).ok_or_else(not_found)?;
    // Kept for a script that is not waiting yet; one that is over hears nothing.
    job.cancel.notify_one();
    state.cancelled.push(asked["launch"].clone());
    Ok(Json(json!({"status": "OK!"})))
}

async fn slurm_job(
    Axum(shared): Axum<Arc<Shared>>,
    headers: HeaderMap,
    Path(launch): Path<String>,
) -> Result<Json<Value>, Refusal> {
    authentic(&shared, &headers)?;
    let state = shared.state();
    let job = state.launches.get(&launch).ok_or_else(not_found)?;
    let reason = if job.state == "PENDING" { "Resources" } else { "None" };
    Ok(Json(json!({"launch": launch, "job_id": job.id.to_string(), "state": job.state, "reason": reason})))
}

async fn redeem(shared: &Shared, start: &Value) -> (u16, Value) {
    let url = start["tokenURL"].as_str().unwrap_or_default();
    let token = start["launcherToken"].as_str().unwrap_or_default();
    // The bare token, as the stock job template sends it.
    let sent = shared.client.post(url).header("authorization", token).timeout(Duration::from_secs(40)).send().await;
    match sent {
        Ok(response) => (response.status().as_u16(), response.json().await.unwrap_or_default()),
        Err(error) => (0, json!({"error": error.to_string()})),
    }
}

/// What the runner program sends to register by a token.
fn registration(start: &Value, runner: &str, token: &Value) -> Value {
    let page = start["gitHubURL"].as_str().unwrap_or_default();
    let repository: Vec<&str> = page.rsplitn(3, '/').take(2).collect();
    let repository = format!("{}/{}", repository[1], repository[0]);
    let labels: Vec<&str> = start["runnerLabels"].as_str().unwrap_or_default().split(',').collect();
    json!({"repository": repository, "token": token, "name": runner, "labels": labels})
}

/// What the Slurm job does; returns why it ended.
async fn job_script(shared: &Shared, slurm_job: u64, start: &Value) -> String {
    let launch = start["launch"].as_str().unwrap_or_default();
    shared.hold.pass(launch).await;
    shared.becomes(launch, "RUNNING");
    let runner = start["runnerName"].as_str().unwrap_or("unnamed").to_owned();
    shared.events.emit(Event::SlurmJobRunning { slurm_job, runner: runner.clone() });
    let credential = loop {
        shared.events.emit(Event::Redeeming { slurm_job });
        let (status, body) = redeem(shared, start).await;
        shared.events.emit(Event::Redeemed { slurm_job, status, body: body.clone() });
        match status {
            200 => break body,
            503 | 0 => tokio::time::sleep(Duration::from_secs(1)).await,
            _ => return format!("no credential ({status})"),
        }
    };
    let url = format!("{}/_runner", shared.github);
    let request = match &credential["encoded_jit_config"] {
        Value::String(config) => {
            shared.client.post(format!("{url}/start")).json(&json!({"encoded_jit_config": config}))
        }
        _ => shared.client.post(format!("{url}/register")).json(&registration(start, &runner, &credential["token"])),
    };
    let registered = request.send().await;
    let answer: Value = match registered {
        Ok(response) if response.status().is_success() => response.json().await.unwrap_or_default(),
        _ => return "GitHub refused the registration".to_owned(),
    };
    let url = format!("{url}/{}", answer["id"]);
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < shared.idle_limit {
        let polled = shared.client.get(format!("{url}/job")).send().await;
        let job: Value = match polled {
            Ok(response) => response.json().await.unwrap_or_default(),
            Err(_) => Value::Null,
        };
        if job["job"].is_number() {
            // The build itself.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let _ = shared.client.post(format!("{url}/done")).send().await;
            return "its one job is done".to_owned();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let _ = shared.client.post(format!("{url}/remove")).send().await;
    format!("no job started within {} s", shared.idle_limit.as_secs())
}
