//! What stands around the gateway in its tests: the fake GitHub, a stand-in for the app, and the gateway's own process.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod slurmrestd;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::{APP_ID, GitHub, INSTALLATION};
use jwt_simple::prelude::{Claims, RS256KeyPair, RSAKeyPairLike};
use serde_json::{Value, json};

pub(crate) const SECRET: &str = "gateway-secret";
pub(crate) const ONE: &str = "octo-org/one";
pub(crate) const TWO: &str = "octo-org/two";

/// The app as the job script and GitHub see it: starts a launch for a queued job, exchanges a launch token once.
pub(crate) struct App {
    pub(crate) url: String,
    pub(crate) github: GitHub,
    client: reqwest::Client,
    state: Mutex<AppState>,
}

#[derive(Default)]
struct AppState {
    gateway: Option<String>,
    resources: Value,
    launches: HashMap<String, String>,
    spent: HashSet<String>,
    statuses: Vec<u16>,
    /// Whether JIT configurations are given; of this page, when one is named.
    jit: bool,
    jit_page: Option<String>,
    /// What answers as told ask to wait for.
    retry_after: Option<u32>,
    /// Authorization and body of each exchange.
    exchanges: Vec<(String, String)>,
    /// The same of each report of a refusal.
    refusals: Vec<(String, String)>,
}

impl App {
    pub(crate) async fn start() -> Arc<Self> {
        Self::start_at("127.0.0.1:0").await
    }

    pub(crate) async fn start_at(address: &str) -> Arc<Self> {
        let github = GitHub::start(&[ONE, TWO], "webhook-secret", Events::default()).await.unwrap();
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        github.set_webhook_url(&format!("{url}/webhook"));
        let app = Arc::new(Self { url, github, client: reqwest::Client::new(), state: Mutex::default() });
        let router = Router::new()
            .route("/webhook", post(webhook))
            .route("/gha/runner", post(exchange))
            .route("/gha/runner/refused", post(refused))
            .with_state(Arc::clone(&app));
        tokio::spawn(async move { axum::serve(listener, router).await });
        app
    }

    /// The next exchanges get these statuses.
    pub(crate) fn answer_next(&self, statuses: &[u16]) {
        self.state.lock().unwrap().statuses = statuses.to_vec();
    }

    pub(crate) fn answer_jit(&self) {
        self.state.lock().unwrap().jit = true;
    }

    /// As an app does that somebody else controls.
    pub(crate) fn answer_jit_of(&self, page: &str) {
        self.answer_jit();
        self.state.lock().unwrap().jit_page = Some(page.to_owned());
    }

    pub(crate) fn ask_to_wait_for(&self, seconds: u32) {
        self.state.lock().unwrap().retry_after = Some(seconds);
    }

    pub(crate) fn exchanges(&self) -> Vec<(String, String)> {
        self.state.lock().unwrap().exchanges.clone()
    }

    pub(crate) fn refusals(&self) -> Vec<(String, String)> {
        self.state.lock().unwrap().refusals.clone()
    }

    /// Launches go there, with these further fields.
    pub(crate) fn launch_at(&self, gateway: &str, resources: Value) {
        let mut state = self.state.lock().unwrap();
        state.gateway = Some(gateway.to_owned());
        state.resources = resources;
    }

    /// The launch request for a job, valid for one exchange.
    pub(crate) fn request(&self, job: u64, repository: &str, labels: &str) -> Value {
        let token = format!("eyJhbGciOiJIUzI1NiJ9.job{job}.signature");
        let mut state = self.state.lock().unwrap();
        state.launches.insert(token.clone(), repository.to_owned());
        let mut body = json!({
            "gitHubURL": format!("https://github.com/{repository}"), "launcherToken": token, "runnerLabels": labels,
            "tokenURL": format!("{}/gha/runner", self.url), "runnerName": format!("gha-slurm-{job}-1"),
            "launch": format!("{job}-1"),
        });
        if let Some(resources) = state.resources.as_object() {
            body.as_object_mut().unwrap().extend(resources.clone());
        }
        body
    }

    /// Queues a job at GitHub, whose webhook starts a launch; answers the job and the gateway's answer.
    pub(crate) async fn queue(&self, repository: &str) -> (u64, u16, Value) {
        let (job, delivery) = self.github.queue_job(repository, &["self-hosted", "slurm"]).await;
        let delivery = delivery.unwrap();
        (job, delivery.status, delivery.answer)
    }

    async fn registration_token(&self, repository: &str) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let key = RS256KeyPair::from_pem(&self.github.private_key().unwrap()).unwrap();
        let mut claims = Claims::create(jwt_simple::prelude::Duration::from_mins(5)).with_issuer(APP_ID);
        claims.issued_at = Some(jwt_simple::prelude::Duration::from_secs(now - 30));
        let jwt = key.sign(claims).unwrap();
        let call = async |path: String, token: String, body: Value| -> Value {
            let url = format!("{}{path}", self.github.url());
            let sent = self.client.post(url).bearer_auth(token).header("user-agent", "test").json(&body).send().await;
            sent.unwrap().json().await.unwrap()
        };
        let access = format!("/app/installations/{INSTALLATION}/access_tokens");
        let token = call(access, jwt, json!({"permissions": {"administration": "write"}})).await;
        let path = format!("/repos/{repository}/actions/runners/registration-token");
        let token = call(path, token["token"].as_str().unwrap_or_default().to_owned(), json!({})).await;
        token["token"].as_str().unwrap_or_default().to_owned()
    }
}

async fn webhook(State(app): State<Arc<App>>, body: Bytes) -> Response {
    let event: Value = serde_json::from_slice(&body).unwrap();
    let gateway = app.state.lock().unwrap().gateway.clone();
    let (Some(gateway), "queued") = (gateway, event["action"].as_str().unwrap()) else {
        return Json(json!({})).into_response();
    };
    let job = event["workflow_job"]["id"].as_u64().unwrap();
    let request = app.request(job, event["repository"]["full_name"].as_str().unwrap(), "self-hosted,slurm");
    let (status, answer) = post_json(&gateway, "/runner/start", &request).await;
    (StatusCode::from_u16(status).unwrap(), Json(answer)).into_response()
}

async fn exchange(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = authorization.strip_prefix("Bearer ").unwrap_or_default().to_owned();
    let (repository, jit, page) = {
        let mut state = app.state.lock().unwrap();
        state.exchanges.push((authorization.to_owned(), String::from_utf8_lossy(&body).into_owned()));
        if !state.statuses.is_empty() {
            let status = StatusCode::from_u16(state.statuses.remove(0)).unwrap();
            let wait = state.retry_after.unwrap_or(1).to_string();
            return (status, [("retry-after", wait)], Json(json!({"error": "as told"}))).into_response();
        }
        let Some(repository) = state.launches.get(&token).cloned() else {
            return StatusCode::UNAUTHORIZED.into_response();
        };
        if !state.spent.insert(token) {
            return StatusCode::CONFLICT.into_response();
        }
        let page = state.jit_page.clone();
        (repository, state.jit, page)
    };
    match jit {
        true => {
            let config = match &page {
                Some(page) => gha_slurm_simulator::runner::jit_configuration(page),
                None => app.github.make_jit_config(&repository, "jit", &["x"]),
            };
            Json(json!({"encoded_jit_config": config})).into_response()
        }
        false => {
            let token = app.registration_token(&repository).await;
            Json(json!({"token": token, "expires_at": "2099-01-01T00:00:00Z"})).into_response()
        }
    }
}

async fn refused(State(app): State<Arc<App>>, headers: HeaderMap, body: String) {
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    app.state.lock().unwrap().refusals.push((authorization.to_owned(), body));
}

pub(crate) async fn post_json(base: &str, path: &str, body: &Value) -> (u16, Value) {
    let sent = reqwest::Client::new().post(format!("{base}{path}")).header("auth-token", SECRET).json(body);
    let response = sent.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or_default())
}

pub(crate) async fn get_json(base: &str, path: &str) -> (u16, Value) {
    let response =
        reqwest::Client::new().get(format!("{base}{path}")).header("auth-token", SECRET).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

/// The gateway's process.
pub(crate) struct Gateway {
    pub(crate) child: Child,
    pub(crate) url: String,
    log: PathBuf,
}

impl Gateway {
    pub(crate) fn start(folder: &Path, yaml: &str) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_gha-slurm-gateway")), folder, yaml)
    }

    /// By a command that becomes the gateway.
    pub(crate) fn start_by(mut command: Command, folder: &Path, yaml: &str) -> Self {
        let path = folder.join("gateway.yaml");
        std::fs::write(&path, yaml).unwrap();
        let log = folder.join("gateway.log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut child =
            command.args(["--config".as_ref(), path.as_os_str()]).stdout(Stdio::piped()).stderr(file).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").map(str::to_owned);
        let address = address.unwrap_or_else(|| panic!("{line:?} {}", std::fs::read_to_string(&log).unwrap()));
        Self { child, url: format!("http://{address}"), log }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        println!("{log}");
        for secret in [SECRET, "eyJhbGciOiJIUzI1NiJ9", "SLURM_JWT"] {
            assert!(std::thread::panicking() || !log.contains(secret), "the log shows a secret: {secret}");
        }
    }
}

/// The stand-in runner where any user can read it.
pub(crate) fn runner_folder(folder: &Path) -> PathBuf {
    let runner = folder.join("runner");
    gha_slurm_simulator::runner::install(&runner).unwrap();
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    runner
}

pub(crate) async fn within(seconds: u64, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..seconds * 5 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("not within {seconds} s: {what}");
}
