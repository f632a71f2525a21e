//! The routes. The shared secret is checked before a body is read, and a body that nobody may send is never read at all; an
//! error becomes a status here and nowhere else.

mod metrics;
mod observing;
mod serving;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use gha_slurm_protocol::messages::{CancelRunner, StartRunner};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::metrics::Metrics;
pub use self::serving::serve;
use crate::audit::{Outcome, Subject};
use crate::backend::BackendError;
use crate::config::ConfigError;
use crate::launch::{Launch, LaunchKey, Rejected};
use crate::service::{Service, ServiceError, Started};

/// A request is a launch token of at most some 25 kB and little else.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// So much of the body of one who has the secret is read and dropped when it is too long, so that he hears why.
const MAX_DRAINED_BYTES: usize = 32 * 1024 * 1024;
/// For a whole body, however slowly it comes.
const BODY_DEADLINE: Duration = Duration::from_secs(15);
/// For all that Slurm is asked in one request. What was under way then is looked for by the next request.
const SLURM_DEADLINE: Duration = Duration::from_secs(60);
/// Slurm is away, or its answer was lost: it is asked soon.
const OUTAGE_RETRY_SECONDS: u16 = 10;
/// A limit was reached: that takes its time.
const LATER_RETRY_SECONDS: u16 = 60;

/// What the routes share.
pub(crate) struct Edge {
    service: Arc<Service>,
    metrics: Metrics,
}

/// The gateway over HTTP.
pub fn router(service: Arc<Service>) -> Router {
    let edge = Arc::new(Edge { service, metrics: Metrics::default() });
    Router::new()
        .route("/runner/start", post(start))
        .route("/runner/cancel", post(cancel))
        .route("/runner/{launch}", get(state))
        .route("/api/reload", post(reload))
        .route("/healthz", get(async || Json(json!({"status": "OK!"}))))
        .route("/metrics", get(metrics))
        .layer(from_fn_with_state(Arc::clone(&edge), observing::observe))
        .with_state(edge)
}

/// Why a request was not carried out, for the audit log.
#[derive(Clone)]
struct Reason(String);

fn message(status: StatusCode, text: &str) -> Response {
    refusal(status, text, &json!({"message": text}))
}

/// One that is about a field of the request.
fn malformed(field: &str, text: &str) -> Response {
    refusal(StatusCode::UNPROCESSABLE_ENTITY, text, &json!({"message": text, "field": field}))
}

fn refusal(status: StatusCode, text: &str, body: &Value) -> Response {
    let reason = Reason(text.chars().take(500).collect());
    (status, Extension(reason), Json(body)).into_response()
}

/// The body, or `None` when it is longer than `limit`.
async fn drain(mut body: Body, limit: usize) -> Result<Option<Bytes>, StatusCode> {
    let whole = async {
        let (mut kept, mut length) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| StatusCode::BAD_REQUEST)?.into_data() else { continue };
            length += data.len();
            if length <= limit {
                kept.extend_from_slice(&data);
            } else if length > MAX_DRAINED_BYTES {
                break;
            }
        }
        Ok((length <= limit).then(|| Bytes::from(kept)))
    };
    tokio::time::timeout(BODY_DEADLINE, whole).await.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
}

/// A message, or the answer that says what is wrong with it. No value is part of that.
async fn read<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Response> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(message(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json"));
    }
    let body = match drain(body, MAX_BODY_BYTES).await {
        Ok(Some(body)) => body,
        Ok(None) => return Err(message(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 64 KiB")),
        Err(status) => return Err(message(status, "the body did not come")),
    };
    let value: Value = serde_json::from_slice(&body).map_err(|error| {
        let place = format!("not JSON at line {} column {}", error.line(), error.column());
        message(StatusCode::BAD_REQUEST, &place)
    })?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.inner().to_string();
        // serde quotes what it found, which may be a token of the wrong type.
        let problem = if inner.starts_with("missing field") || inner.starts_with("not ") {
            inner
        } else {
            "not a string as it should be".to_owned()
        };
        let field = error.path().to_string();
        malformed(&field, &format!("{field}: {problem}"))
    })
}

/// Work that goes on when the client hangs up: half a submission helps nobody.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
) -> Result<T, Response> {
    match tokio::spawn(tokio::time::timeout(SLURM_DEADLINE, work)).await {
        Ok(Ok(result)) => result.map_err(Response::from),
        Ok(Err(_)) => Err(ServiceError::from(BackendError::Outage("not within a minute".to_owned())).into()),
        Err(_) => Err(message(StatusCode::INTERNAL_SERVER_ERROR, "the gateway failed")),
    }
}

/// The answer, with what the audit log says of it.
fn about(subject: Subject, answer: Result<(Outcome, Response), Response>) -> Response {
    let (outcome, mut response) = match answer {
        Ok((outcome, response)) => (Some(outcome), response),
        Err(response) => (None, response),
    };
    response.extensions_mut().insert(subject);
    if let Some(outcome) = outcome {
        response.extensions_mut().insert(outcome);
    }
    response
}

async fn start(State(edge): State<Arc<Edge>>, headers: HeaderMap, body: Body) -> Result<Response, Response> {
    let asked: StartRunner = read(&headers, body).await?;
    let (id, repository) = (asked.launch, asked.github_url.chars().take(300).collect::<String>());
    let launch = Launch::try_from(asked).map_err(|rejected| {
        tracing::warn!(launch = id.map(|id| id.to_string()), ?repository, error = %rejected, "not submitted");
        Response::from(ServiceError::from(rejected))
    })?;
    let service = Arc::clone(&edge.service);
    let mut subject = Subject::of(&launch, service.user_of(&launch));
    let started = to_its_end(async move { service.start(&launch).await }).await;
    subject.slurm_job = started.as_ref().ok().map(|started| started.job);
    Ok(about(
        subject,
        started.map(|Started { job, known }| {
            let outcome = if known { Outcome::Known } else { Outcome::Submitted };
            (outcome, Json(json!({"status": "OK!", "job_id": job.to_string()})).into_response())
        }),
    ))
}

async fn cancel(State(edge): State<Arc<Edge>>, headers: HeaderMap, body: Body) -> Result<Response, Response> {
    let asked: CancelRunner = read(&headers, body).await?;
    let rejected =
        |field, problem: &str| Response::from(ServiceError::from(Rejected { field, problem: problem.to_owned() }));
    let job = asked.job_id.map(|id| id.parse()).transpose().map_err(|_| rejected("job_id", "not a Slurm job's id"))?;
    if asked.launch.is_none() && job.is_none() {
        return Err(rejected("launch", "name a launch or a job_id"));
    }
    let launch = asked.launch.map(LaunchKey::from);
    let subject = Subject { launch: launch.as_ref().map(ToString::to_string), slurm_job: job, ..Subject::default() };
    let service = Arc::clone(&edge.service);
    let cancelled = to_its_end(async move { service.cancel(launch, job).await }).await;
    Ok(about(subject, cancelled.map(|()| (Outcome::Done, Json(json!({"status": "OK!"})).into_response()))))
}

async fn state(State(edge): State<Arc<Edge>>, Path(launch): Path<String>) -> Result<Response, Response> {
    let key = LaunchKey::parse(&launch).ok_or_else(|| Response::from(ServiceError::NotFound))?;
    let service = Arc::clone(&edge.service);
    let found = to_its_end(async move { service.state(&key).await }).await?;
    let mut answer = json!(found);
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("launch".to_owned(), launch.into());
    }
    Ok(Json(answer).into_response())
}

async fn reload(State(edge): State<Arc<Edge>>) -> Response {
    match edge.service.reload() {
        Ok(restart) if restart.is_empty() => Json(json!({"status": "OK!"})).into_response(),
        Ok(restart) => Json(json!({"status": "OK!", "needs_restart": restart})).into_response(),
        Err(error) => {
            let status = match &error {
                ConfigError::Unreadable { .. } => StatusCode::INTERNAL_SERVER_ERROR,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            message(status, &format!("{error}; the old configuration stays"))
        }
    }
}

async fn metrics(State(edge): State<Arc<Edge>>) -> Response {
    let mut text = edge.metrics.text();
    if edge.service.config().fetching.is_some() {
        text += &edge.service.exchanges.text();
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

fn unavailable(text: &str, retry_seconds: u16) -> Response {
    let mut response = message(StatusCode::SERVICE_UNAVAILABLE, text);
    response.headers_mut().insert(header::RETRY_AFTER, retry_seconds.into());
    response
}

/// The status of an error.
pub(crate) fn status_of(error: &ServiceError) -> StatusCode {
    match error {
        ServiceError::UnknownRepository(_) | ServiceError::ForbiddenUser { .. } => StatusCode::FORBIDDEN,
        ServiceError::Rejected(_) | ServiceError::Slurm(BackendError::Refused(_) | BackendError::NoUser(_)) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        ServiceError::Cancelled => StatusCode::GONE,
        ServiceError::NotFound => StatusCode::NOT_FOUND,
        ServiceError::PeopleUnknown(_) | ServiceError::Slurm(BackendError::Later(_) | BackendError::Outage(_)) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ServiceError::Index(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<ServiceError> for Response {
    fn from(error: ServiceError) -> Self {
        let text = error.to_string();
        match &error {
            ServiceError::Rejected(Rejected { field, .. }) => malformed(field, &text),
            ServiceError::Slurm(BackendError::Later(_)) => unavailable(&text, LATER_RETRY_SECONDS),
            ServiceError::PeopleUnknown(_) | ServiceError::Slurm(BackendError::Outage(_)) => {
                unavailable(&text, OUTAGE_RETRY_SECONDS)
            }
            ServiceError::Index(_) => {
                tracing::error!(error = text, "the index failed");
                message(status_of(&error), "the gateway's launch index failed")
            }
            error => message(status_of(error), &text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Result, Write};
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::config::Config;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    impl Log {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))).unwrap()
        }
    }

    #[tokio::test]
    async fn a_launch_that_is_refused_is_told_to_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.yaml");
        let text = format!(
            "ghaSharedSecret: x\nstateDirectory: {}\njob: {{runner: /opt/runner}}\napp: {{url: 'https://app.example'}}\n\
             slurmUsers: {{ci: {{repositories: ['https://github.com/octo/*']}}}}\n",
            folder.path().display()
        );
        let service = Service::open(Config::parse(&text, &path, &|_| None).unwrap(), path).unwrap();
        let edge = Arc::new(Edge { service: Arc::new(service), metrics: Metrics::default() });
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        for (repository, field, value, told) in [
            ("octo/repo", "tokenURL", "https://evil.example/gha/runner", "only below app.url"),
            ("other/repo", "profile", "gpu", "no Slurm user is mapped"),
            ("octo/repo", "runnerName", "-x", "runnerName: "),
        ] {
            let mut asked = json!({
                "gitHubURL": format!("https://github.com/{repository}"), "launcherToken": "a.b.c",
                "tokenURL": "https://app.example/gha/runner", "runnerName": "r", "launch": "1-1",
            });
            asked[field] = value.into();
            let headers = [(header::CONTENT_TYPE, "application/json".parse().unwrap())].into_iter().collect();
            let answer = start(State(Arc::clone(&edge)), headers, Body::from(asked.to_string())).await;
            assert!(answer.unwrap_or_else(|refused| refused).status().is_client_error());
            let lines = log.take();
            assert!(lines.contains(told) && lines.contains("1-1") && lines.contains(repository), "{lines}");
            assert_eq!((lines.matches("WARN").count(), lines.lines().count()), (1, 1), "{lines}");
        }
    }

    #[tokio::test]
    async fn a_reload_tells_the_log_what_came_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.yaml");
        let text = |secret: &str| {
            let state = folder.path().display();
            format!(
                "ghaSharedSecret: {secret}\nstateDirectory: {state}\njob: {{runner: /opt/runner}}\n\
                 slurmUsers: {{ci: {{repositories: ['https://github.com/octo/*']}}}}\n"
            )
        };
        std::fs::write(&path, text("4d1f0a2b9c8e7f60a1b2c3d4e5f60718")).unwrap();
        let config = Config::load(&path, &|_| None).unwrap();
        let service = Arc::new(Service::open(config, path.clone()).unwrap());
        let edge = Arc::new(Edge { service, metrics: Metrics::default() });
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        let told = async |text: &str| {
            std::fs::write(&path, text).unwrap();
            let status = reload(State(Arc::clone(&edge))).await.status();
            (status.as_u16(), log.take())
        };
        let (status, weak) = told(&text("short")).await;
        assert!(status == 200 && weak.contains("ghaSharedSecret") && weak.contains("reloaded"), "{status} {weak}");
        let (status, bad) = told("repositories: [").await;
        assert!(status == 422 && bad.contains("not reloaded"), "{status} {bad}");
    }
}
