//! A strict fake slurmrestd that answers as 22.05 or 24.11, and the configuration of a gateway before it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{ONE, SECRET, TWO};

#[derive(Default)]
pub(crate) struct Slurm {
    pub(crate) new: bool,
    pub(crate) jobs: Vec<Value>,
    pub(crate) cancelled: Vec<u64>,
    pub(crate) refuse_tokens: u32,
    /// The next submission is taken, and answered as by a slurmctld that dies.
    pub(crate) dies: bool,
    /// Questions are answered by 200, errors and nothing else.
    pub(crate) confused: bool,
    pub(crate) tokens: Vec<String>,
}

/// In seconds of Unix time.
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) type Shared = Arc<Mutex<Slurm>>;

pub(crate) async fn slurmrestd(new: bool) -> (String, Shared) {
    let slurm = Arc::new(Mutex::new(Slurm { new, ..Slurm::default() }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(Arc::clone(&slurm));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, slurm)
}

pub(crate) async fn answer(
    State(slurm): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut slurm = slurm.lock().unwrap();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let new = slurm.new;
    let fail = |status: u16, number: u64, words: &str| {
        let error = match new {
            false => json!({"error_code": number, "error": words}),
            true => {
                json!({"description": "what was tried", "error_number": number, "error": words, "source": "x"})
            }
        };
        (StatusCode::from_u16(status).unwrap(), axum::Json(json!({"meta": {}, "errors": [error]}))).into_response()
    };
    let ok = |body: Value| axum::Json(body).into_response();
    if headers.contains_key("transfer-encoding") {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    }
    let user = text("x-slurm-user-name");
    slurm.tokens.push(text("x-slurm-user-token"));
    if slurm.refuse_tokens > 0 {
        slurm.refuse_tokens -= 1;
        return if new { fail(511, 1007, "Protocol authentication error") } else { fail(500, 5005, "Unspecified") };
    }
    let versions = if new { 40..=42 } else { 36..=38 };
    if uri.path() == "/openapi/v3" {
        let paths: serde_json::Map<_, _> =
            versions.map(|v| (format!("/slurm/v0.0.{v}/job/submit"), json!({}))).collect();
        return ok(json!({"paths": paths}));
    }
    let root = format!("/slurm/v0.0.{}/", versions.end());
    let Some(path) = uri.path().strip_prefix(&root) else { return StatusCode::NOT_FOUND.into_response() };
    match (method.as_str(), path) {
        ("POST", "job/submit") => {
            if text("content-type") != "application/json" || text("content-length").is_empty() {
                return StatusCode::BAD_REQUEST.into_response();
            }
            let asked: Value = serde_json::from_slice(&body).unwrap();
            let fits =
                if new { asked["job"]["environment"].is_array() } else { asked["job"]["environment"].is_object() };
            if !fits || !asked["script"].as_str().unwrap().starts_with("#!") {
                return fail(400, 2127, "Environment is missing in job");
            }
            let id = slurm.jobs.len() + 1;
            if asked["job"]["partition"] == "full" {
                return fail(500, 2050, "Job violates accounting/QOS policy");
            }
            if asked["job"]["partition"] == "nowhere" {
                return fail(500, 2000, "Invalid partition name specified");
            }
            let mut job = asked["job"].clone();
            job["user_name"] = user.into();
            job["job_id"] = id.into();
            job["submit_time"] = if new { json!({"set": true, "number": now()}) } else { json!(now()) };
            job["restart_cnt"] = 0.into();
            job["job_state"] = if new { json!(["PENDING"]) } else { json!("PENDING") };
            slurm.jobs.push(job);
            if std::mem::take(&mut slurm.dies) {
                return fail(500, 5005, "Zero Bytes were transmitted or received");
            }
            if asked["job"]["cpus_per_task"] == 999 {
                return ok(json!({"job_id": id, "errors": [{"error_code": 2015, "error": "not available now"}]}));
            }
            ok(json!({"job_id": id, "step_id": "BATCH", "errors": [], "warnings": []}))
        }
        ("GET", path) if slurm.confused && path.starts_with("job") => {
            ok(json!({"jobs": [], "errors": [{"error_number": 1800, "error": "Unable to contact slurm controller"}]}))
        }
        ("GET", "jobs") => ok(json!({"jobs": slurm.jobs, "errors": []})),
        ("GET", "ping") => ok(json!({"pings": [], "errors": []})),
        (method, path) => {
            let id: u64 = path.strip_prefix("job/").unwrap().parse().unwrap();
            match (method, usize::try_from(id).ok().and_then(|id| slurm.jobs.get(id - 1).cloned())) {
                ("GET", Some(job)) => ok(json!({"jobs": [job], "errors": []})),
                ("DELETE", Some(_)) => {
                    slurm.cancelled.push(id);
                    ok(json!({"errors": []}))
                }
                _ => fail(500, 2017, "Invalid job id specified"),
            }
        }
    }
}

/// Users that exist on every machine.
pub(crate) fn yaml(folder: &std::path::Path, backend: &str) -> String {
    let folder = folder.display();
    format!(
        "listen: 127.0.0.1:0\nghaSharedSecret: {SECRET}\nstateDirectory: {folder}\njob: {{runner: {folder}/runner}}\n\
         slurmUsers: {{daemon: {{repositories: ['https://github.com/{ONE}'], limits: {{cpus: 999}}}}, nobody-at-all: {{repositories: ['https://github.com/{TWO}']}}}}\n{backend}\n"
    )
}

pub(crate) fn rest(url: &str, folder: &std::path::Path) -> String {
    let count = folder.join("minted");
    let mint = format!("echo x >> {}; echo SLURM_JWT=$0-$(wc -l < {0})", count.display());
    format!("slurmrestd: {{url: '{url}', tokenCommand: [sh, -c, '{mint}', '{{user}}']}}")
}
