//! The two wires of a launch, seen from outside: app → gateway, and Slurm job → app. A reverse proxy on each passes
//! everything on and tells what it saw, so that a real gateway and a real job script can be watched without asking them.
//! It can also hold an exchange back, which is how one runner is made to come before another.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Axum;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::event::{Event, Events};
use crate::hold::Hold;
use crate::server::{Place, Served};

const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// Both wires. Cheap to clone.
#[derive(Clone)]
pub struct Wire {
    shared: Arc<Shared>,
    before_app: SocketAddr,
    before_gateway: SocketAddr,
}

struct Shared {
    events: Events,
    client: reqwest::Client,
    hold: Hold,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    app: String,
    /// Nobody, until it is there.
    gateway: String,
    /// Launch requests, accepted when there is a Slurm job.
    starts: Vec<Value>,
    slurm_jobs: HashMap<String, SlurmJob>,
}

#[derive(Clone)]
struct SlurmJob {
    id: u64,
    runner: String,
    /// Seen to run, and told so.
    running: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells once that a launch's Slurm job runs.
    fn runs(&self, launch: &str) {
        let mut state = self.state();
        let Some(job) = state.slurm_jobs.get_mut(launch) else { return };
        if !std::mem::replace(&mut job.running, true) {
            let job = job.clone();
            drop(state);
            self.events.emit(Event::SlurmJobRunning { slurm_job: job.id, runner: job.runner });
        }
    }
}

impl Wire {
    /// Wires to nobody yet.
    pub async fn start(events: Events) -> std::io::Result<Self> {
        let client = reqwest::Client::builder().timeout(DEADLINE).no_proxy().build().map_err(std::io::Error::other)?;
        let shared = Arc::new(Shared { events, client, hold: Hold::default(), state: Mutex::default() });
        let listen = Place::default().listen;
        let wire = |router: Router<Arc<Shared>>| Served::start(listen, router.with_state(Arc::clone(&shared)));
        let before_app = wire(Router::new().fallback(to_app)).await?.address;
        let before_gateway = wire(Router::new().fallback(to_gateway)).await?.address;
        Ok(Self { shared, before_app, before_gateway })
    }

    /// Where others find the app.
    pub fn app_url(&self) -> String {
        format!("http://{}", self.before_app)
    }

    /// Where the app finds the gateway.
    pub fn gateway_url(&self) -> String {
        format!("http://{}", self.before_gateway)
    }

    /// Leads to the app at that URL.
    pub fn connect_app(&self, url: &str) {
        url.clone_into(&mut self.shared.state().app);
    }

    /// Leads to the gateway at that URL. Before, it cannot be reached.
    pub fn connect_gateway(&self, url: &str) {
        url.clone_into(&mut self.shared.state().gateway);
    }

    /// Holds back every exchange of a launch token, or lets them pass.
    pub fn hold(&self, held: bool) {
        self.shared.hold.all(held);
    }

    /// Lets the exchange of this one launch pass; others wait.
    pub fn let_pass(&self, launch: &str) {
        self.shared.hold.all_but(launch);
    }

    /// The body of every launch request that the gateway took.
    pub fn starts(&self) -> Vec<Value> {
        let state = self.shared.state();
        state.starts.iter().filter(|start| state.slurm_jobs.contains_key(launch_of(start))).cloned().collect()
    }

    /// Exchanges a launch's token as whoever has it could: status (0 without an answer) and body.
    pub async fn redeem(&self, start: &Value) -> (u16, Value) {
        let url = format!("{}/gha/runner", self.shared.state().app);
        let token = start["launcherToken"].as_str().unwrap_or_default();
        match self.shared.client.post(url).header("authorization", token).send().await {
            Ok(response) => (response.status().as_u16(), response.json().await.unwrap_or_default()),
            Err(error) => (0, json!({"error": error.to_string()})),
        }
    }
}

/// Passes a request on. `None` when there was no answer.
async fn pass(
    shared: &Shared,
    base: &str,
    method: Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Bytes,
) -> Option<(StatusCode, HeaderMap, Bytes)> {
    let mut request = shared.client.request(method, format!("{base}{uri}")).body(body);
    for (name, value) in headers.iter().filter(|(name, _)| !is_hop_by_hop(name)) {
        request = request.header(name, value);
    }
    let response = request.send().await.ok()?;
    let status = response.status();
    let headers = response.headers().iter().filter(|(name, _)| !is_hop_by_hop(name));
    let headers = headers.map(|(name, value)| (name.clone(), value.clone())).collect();
    Some((status, headers, response.bytes().await.ok()?))
}

/// What each side of a proxy says for itself.
fn is_hop_by_hop(name: &header::HeaderName) -> bool {
    [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(name)
}

async fn to_gateway(
    Axum(shared): Axum<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let gateway = shared.state().gateway.clone();
    if gateway.is_empty() {
        return (StatusCode::BAD_GATEWAY, "no gateway").into_response();
    }
    let asked: Option<Value> = (uri.path() == "/runner/start").then(|| serde_json::from_slice(&body).ok()).flatten();
    if let Some(asked) = &asked {
        // Before it is passed on: a quick script comes before the gateway's answer.
        shared.state().starts.push(asked.clone());
        shared.events.emit(Event::LaunchRequested { body: asked.clone() });
    }
    let Some((status, answered, bytes)) = pass(&shared, &gateway, method, &uri, &headers, body).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let id = match &answer["job_id"] {
        Value::String(id) => id.parse().ok(),
        id => id.as_u64(),
    };
    if let (Some(asked), Some(id)) = (asked, id) {
        let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
        let (launch, runner) = (text("launch"), text("runnerName"));
        let mut state = shared.state();
        let fresh = state.slurm_jobs.insert(launch.clone(), SlurmJob { id, runner, running: false }).is_none();
        drop(state);
        if fresh {
            let secret = headers.get("auth-token").cloned();
            tokio::spawn(watch(shared, gateway, launch, id, secret));
        }
    }
    (status, answered, bytes).into_response()
}

/// Asks the gateway for a launch's Slurm job until it is over.
async fn watch(
    shared: Arc<Shared>,
    gateway: String,
    launch: String,
    slurm_job: u64,
    secret: Option<header::HeaderValue>,
) {
    let Some(secret) = secret else { return };
    loop {
        let url = format!("{gateway}/runner/{launch}");
        let Ok(response) = shared.client.get(url).header("auth-token", &secret).send().await else { return };
        let answer: Value = response.json().await.unwrap_or_default();
        match answer["state"].as_str().unwrap_or_default() {
            "PENDING" => {}
            "RUNNING" => shared.runs(&launch),
            why => {
                shared.events.emit(Event::SlurmJobEnded { slurm_job, why: why.to_owned() });
                return;
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

fn launch_of(start: &Value) -> &str {
    start["launch"].as_str().unwrap_or_default()
}

/// The launch whose token that is, and its Slurm job, once the gateway has told it.
async fn exchanger(shared: &Shared, token: &str) -> Option<(String, u64)> {
    for _ in 0..50 {
        {
            let state = shared.state();
            let launch = launch_of(state.starts.iter().find(|start| start["launcherToken"] == token)?);
            if let Some(job) = state.slurm_jobs.get(launch) {
                return Some((launch.to_owned(), job.id));
            }
        }
        tokio::time::sleep(POLL).await;
    }
    None
}

async fn to_app(
    Axum(shared): Axum<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let app = shared.state().app.clone();
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = token.trim_start_matches("Bearer ");
    let (launch, slurm_job) = exchanger(&shared, token).await.unwrap_or_default();
    let exchange = uri.path() == "/gha/runner" && slurm_job != 0;
    if exchange {
        shared.runs(&launch);
        shared.hold.pass(&launch).await;
        shared.events.emit(Event::Redeeming { slurm_job });
    }
    if uri.path() == "/gha/runner/refused" && slurm_job != 0 {
        let body = serde_json::from_slice(&body).unwrap_or_default();
        shared.events.emit(Event::RefusedAtNode { slurm_job, body });
    }
    let passed = pass(&shared, &app, method, &uri, &headers, body).await;
    if exchange {
        let (status, body) = match &passed {
            Some((status, _, bytes)) => (status.as_u16(), serde_json::from_slice(bytes).unwrap_or_default()),
            None => (0, Value::Null),
        };
        shared.events.emit(Event::Redeemed { slurm_job, status, body });
    }
    match passed {
        Some(answer) => answer.into_response(),
        None => StatusCode::BAD_GATEWAY.into_response(),
    }
}
