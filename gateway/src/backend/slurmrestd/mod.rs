//! Slurm by its REST API.
//!
//! Slurm changes that API with each release and keeps about three versions of it, so the gateway asks what the server
//! offers, once, and speaks the newest that both know. What a version looks like stands in [`shapes`]; how to prove who
//! one is, in [`tokens`]; this file is the conversation.
//!
//! slurmrestd is particular: it takes no chunked body and no charset beside `application/json`, and its stray bytes
//! after a `Connection: close` confuse clients. So: a body of known length, and connections that stay.

mod places;
mod shapes;
mod tokens;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gha_slurm_protocol::secret::Secret;
use http_body_util::{BodyExt, Limited};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use self::places::Places;
use self::shapes::{Failure, Submitted, Version};
use self::tokens::Tokens;
use super::{BackendError, Found, JobSpec, OwnJob, SlurmJobId, State};
use crate::causes::with_causes;
use crate::config::{self, ConfigError};

const DEADLINE: Duration = Duration::from_secs(30);
/// slurmrestd has 124 places for all its clients and gives none back before a connection ends.
const IDLE_CONNECTION: Duration = Duration::from_secs(3);
/// For reading the queue of a large site, and the wait for the one who reads it already.
const FIND_DEADLINE: Duration = Duration::from_secs(25);
/// The queue of a large site, some 4 kB a Slurm job, is what comes nearest to it.
const MAX_ANSWER_BYTES: usize = 512 * 1024 * 1024;

/// A slurmrestd.
pub struct Rest {
    client: Client,
    base: String,
    tokens: Tokens,
    places: Places,
    version: Mutex<Option<Version>>,
    asking_version: tokio::sync::Mutex<()>,
    /// The queue as it was read last.
    queue: tokio::sync::Mutex<Option<Queue>>,
}

/// One user's Slurm jobs by name.
struct Queue {
    user: String,
    asked: Instant,
    newest: Arc<HashMap<String, SlurmJobId>>,
}

/// What a request came to.
enum Reply {
    Body(Value),
    Failed(Failure),
}

impl Rest {
    /// The server of a configuration. Nothing is sent yet.
    pub fn new(settings: &config::Slurmrestd) -> Result<Self, ConfigError> {
        let builder = Client::builder()
            .timeout(DEADLINE)
            .connect_timeout(Duration::from_secs(5))
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_max_idle_per_host(settings.connections)
            .no_proxy();
        let (builder, base) = match settings.url.strip_prefix("unix:") {
            Some(path) => (builder.unix_socket(path), "http://localhost".to_owned()),
            None => (builder, settings.url.trim_end_matches('/').to_owned()),
        };
        let client = builder.build().map_err(|error| config::invalid("slurmrestd", error.to_string()))?;
        Ok(Self {
            client,
            base,
            tokens: Tokens::new(settings)?,
            places: Places::new(settings.connections),
            version: Mutex::new(None),
            asking_version: tokio::sync::Mutex::default(),
            queue: tokio::sync::Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Option<Version>> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn version_now(&self) -> Option<Version> {
        *self.known()
    }

    /// The version to speak, asked for until it is known.
    async fn version(&self, user: &str) -> Result<Version, BackendError> {
        if let Some(version) = self.version_now() {
            return Ok(version);
        }
        // One asks for all, since the answer is large. One that hangs keeps the others only for so long.
        let _turn = tokio::time::timeout(places::LONGEST_WAIT, self.asking_version.lock()).await;
        if let Some(version) = self.version_now() {
            return Ok(version);
        }
        let found = match self.send(Method::GET, "/openapi/v3", user, None).await? {
            Reply::Body(api) => Version::newest_of(&api),
            Reply::Failed(failure @ Failure::Unauthenticated(_)) => return Err(failure.into()),
            Reply::Failed(_) => None,
        };
        let found = match found {
            Some(version) => version,
            None => self.try_versions(user).await?,
        };
        match found.doubt() {
            None => tracing::info!(version = %found, "slurmrestd speaks"),
            Some(doubt) => tracing::warn!(version = %found, doubt, "slurmrestd speaks"),
        }
        *self.known() = Some(found);
        Ok(found)
    }

    /// For a server that does not publish its API: the first that answers a ping.
    async fn try_versions(&self, user: &str) -> Result<Version, BackendError> {
        for version in Version::all() {
            if let Reply::Body(_) = self.send(Method::GET, &format!("/slurm/{version}/ping"), user, None).await? {
                return Ok(version);
            }
        }
        Err(BackendError::Outage(format!(
            "slurmrestd offers no version from {} on that this gateway knows",
            Version::OLDEST
        )))
    }

    /// One request as a user, with a new token when the first is not accepted. What may have been done already is not
    /// sent again: a submission whose answer is unclear.
    async fn send(&self, method: Method, path: &str, user: &str, body: Option<&[u8]>) -> Result<Reply, BackendError> {
        let token = self.tokens.get(user).await?;
        let reply = self.send_with(&token, method.clone(), path, user, body).await?;
        let again = match &reply {
            Reply::Failed(Failure::Unauthenticated(_)) => true,
            Reply::Failed(Failure::Unclear(_)) => method != Method::POST,
            _ => return Ok(reply),
        };
        self.tokens.forget(user, &token).await;
        if !again {
            return Ok(reply);
        }
        let token = self.tokens.get(user).await?;
        self.send_with(&token, method, path, user, body).await
    }

    async fn send_with(
        &self,
        token: &Secret,
        method: Method,
        path: &str,
        user: &str,
        body: Option<&[u8]>,
    ) -> Result<Reply, BackendError> {
        // Until the answer is read.
        let _place = self.places.take().await?;
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .header("x-slurm-user-name", user)
            .header("x-slurm-user-token", token.expose())
            .header("accept", "application/json");
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_vec());
        }
        let outage = |error: reqwest::Error| BackendError::Outage(format!("slurmrestd: {}", with_causes(&error)));
        let response = request.send().await.map_err(outage)?;
        let status = response.status();
        let bytes = Limited::new(reqwest::Body::from(response), MAX_ANSWER_BYTES).collect().await;
        let bytes = bytes.map_err(|error| BackendError::Outage(format!("slurmrestd: {error}")))?.to_bytes();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() && body.is_object() {
            return Ok(Reply::Body(body));
        }
        Ok(Reply::Failed(Failure::read(status.as_u16(), &body, self.version_now())))
    }

    /// A path below the version's root.
    async fn call(&self, method: Method, path: &str, user: &str, body: Option<&[u8]>) -> Result<Reply, BackendError> {
        let version = self.version(user).await?;
        let reply = self.send(method, &format!("/slurm/{version}/{path}"), user, body).await?;
        if let Reply::Failed(Failure::Status(status, _)) = &reply
            && *status == StatusCode::NOT_FOUND.as_u16()
        {
            // Upgraded under us, perhaps; the next request asks anew.
            *self.known() = None;
        }
        Ok(reply)
    }

    pub(super) async fn submit(&self, job: &JobSpec) -> Result<SlurmJobId, BackendError> {
        let version = self.version(&job.user).await?;
        let body = version.submission(job).to_string();
        let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut reply = self.call(Method::POST, "job/submit", &job.user, Some(body.as_bytes())).await?;
        if let Reply::Failed(Failure::Unclear(_)) = reply {
            // It may be in the queue: whatever comes between now, "later, nothing was submitted" would be wrong.
            let uncertain = |error| match error {
                BackendError::Later(words) => BackendError::Outage(words),
                other => other,
            };
            if let Some(id) = self.find(&job.user, &job.name).await.map_err(uncertain)? {
                return Ok(id);
            }
            reply = self.call(Method::POST, "job/submit", &job.user, Some(body.as_bytes())).await?;
        }
        let answer = match reply {
            Reply::Body(body) => Submitted::read(&body),
            Reply::Failed(failure) => return Err(failure.into()),
        };
        match answer {
            Submitted::Runs(id) => Ok(id),
            Submitted::NeverFits(id, words) => {
                // It is in the queue all the same, and would stay there for ever.
                if let Err(error) = self.cancel(OwnJob { id, user: &job.user, name: &job.name, begun }).await {
                    tracing::warn!(slurm_job = id, %error, "a Slurm job that can never start stays queued");
                }
                Err(BackendError::Refused(words))
            }
            Submitted::Failed(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn cancel(&self, job: OwnJob<'_>) -> Result<(), BackendError> {
        match self.look(job).await? {
            Some(found) if found.may_be_cancelled(job)? => {}
            _ => return Ok(()),
        }
        match self.call(Method::DELETE, &format!("job/{}", job.id), job.user, None).await? {
            Reply::Body(body) => match Failure::inside(&body) {
                Some(failure) if !failure.is_over() => Err(failure.into()),
                _ => Ok(()),
            },
            Reply::Failed(failure) if failure.is_over() => Ok(()),
            // 22.05 answers a cancel of an unknown job by 500 and no code. Ask whether there is one.
            Reply::Failed(failure @ Failure::Unclear(_)) => match self.look(job).await {
                Ok(Some(found)) if found.may_be_cancelled(job) != Ok(false) => Err(failure.into()),
                Ok(_) => Ok(()),
                Err(_) => Err(failure.into()),
            },
            Reply::Failed(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn state(&self, job: OwnJob<'_>) -> Result<Option<State>, BackendError> {
        Ok(self.look(job).await?.and_then(Found::into_state))
    }

    async fn look(&self, job: OwnJob<'_>) -> Result<Option<Found>, BackendError> {
        match self.call(Method::GET, &format!("job/{}", job.id), job.user, None).await? {
            Reply::Body(body) => match (shapes::found(&body, job), Failure::inside(&body)) {
                (None, Some(failure)) if !failure.is_over() => Err(failure.into()),
                (found, _) => Ok(found),
            },
            Reply::Failed(failure) if failure.is_over() => Ok(None),
            Reply::Failed(failure) => Err(failure.into()),
        }
    }

    /// The whole queue is read for it. So one reads it at a time, and those who came before it was asked for share it.
    pub(super) async fn find(&self, user: &str, name: &str) -> Result<Option<SlurmJobId>, BackendError> {
        let came = Instant::now();
        let found = async {
            let mut queue = self.queue.lock().await;
            if let Some(known) = queue.as_ref().filter(|known| known.user == user && known.asked >= came) {
                return Ok(Arc::clone(&known.newest));
            }
            let asked = Instant::now();
            let newest = Arc::new(self.queue_of(user).await?);
            *queue = Some(Queue { user: user.to_owned(), asked, newest: Arc::clone(&newest) });
            Ok::<_, BackendError>(newest)
        };
        let late = || BackendError::Outage(format!("its queue was not read within {} s", FIND_DEADLINE.as_secs()));
        let newest = tokio::time::timeout(FIND_DEADLINE, found).await.map_err(|_| late())??;
        Ok(newest.get(name).copied())
    }

    async fn queue_of(&self, user: &str) -> Result<HashMap<String, SlurmJobId>, BackendError> {
        match self.call(Method::GET, "jobs", user, None).await? {
            Reply::Body(body) => match Failure::inside(&body) {
                Some(failure) => Err(failure.into()),
                None => Ok(shapes::newest_by_name(&body, user)),
            },
            Reply::Failed(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn probe(&self, user: &str) -> Result<String, BackendError> {
        let version = self.version(user).await?;
        match self.call(Method::GET, "ping", user, None).await? {
            Reply::Body(body) => match Failure::inside(&body) {
                Some(failure) => Err(failure.into()),
                None if !shapes::answers(&body) => Err(BackendError::Outage(
                    shapes::ping_status(&body)
                        .unwrap_or(
                            "slurmctld is down, or does not accept the token: is the key the one of AuthAltParameters?",
                        )
                        .to_owned(),
                )),
                None => {
                    let doubt = version.doubt().map(|doubt| format!(", {doubt}")).unwrap_or_default();
                    Ok(format!("slurmrestd {} speaks {version}{doubt}", shapes::release(&body)))
                }
            },
            Reply::Failed(failure) => Err(failure.into()),
        }
    }
}

/// For fuzzing: each reader of answers on the same text.
pub(crate) fn read_in_every_way(status: u16, body: &[u8]) {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let version = Version::newest_of(&body);
    let _ = BackendError::from(Failure::read(status, &body, version));
    let _ = Submitted::read(&body);
    let _ = shapes::found(&body, OwnJob { id: 1, user: "alice", name: "gha-slurm-1-1", begun: 1 });
    let _ = shapes::newest_by_name(&body, "alice");
    let _ = (shapes::answers(&body), shapes::ping_status(&body), shapes::release(&body).len());
}
