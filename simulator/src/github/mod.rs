//! A strict fake GitHub: the App's REST API, webhooks, jobs, and runners that get whatever job fits them.

mod api;
mod app;
mod auth;
mod hook;
mod jobs;
mod manifest;
mod runner;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jwt_simple::prelude::RS256KeyPair;

pub use self::jobs::{Job, JobStatus, run_of};
pub use self::webhooks::{Delivery, sign};
use crate::event::Events;
use crate::{Place, Served, unix_seconds};

/// The App's id at the fake GitHub.
pub const APP_ID: &str = "123456";
/// The one installation's id.
pub const INSTALLATION: u64 = 7_654_321;

/// An endpoint that can be told to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /app/installations/{id}/access_tokens`
    AccessTokens,
    /// `GET /repos/{owner}/{repo}/installation`
    Installation,
    /// `POST /repos/{owner}/{repo}/actions/runners/registration-token`
    RegistrationToken,
    /// `POST /repos/{owner}/{repo}/actions/runners/generate-jitconfig`
    JitConfig,
    /// `DELETE /repos/{owner}/{repo}/actions/runners/{id}`
    RemoveRunner,
    /// `GET /repos/{owner}/{repo}/actions/jobs/{id}`
    Job,
    /// `GET /app/hook/deliveries`
    Deliveries,
    /// `POST /app/hook/deliveries/{id}/attempts`
    Redelivery,
    /// `POST /app-manifests/{code}/conversions`
    Conversion,
    /// `GET /app`
    App,
    /// `GET /app/hook/config`
    HookConfig,
}

/// How a webhook goes wrong on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFault {
    /// It is never sent, and no delivery tells of it.
    Lost,
    /// It does not reach the app: a failed delivery.
    Unreachable,
    /// It reaches the app this much later.
    Late(Duration),
}

/// How an endpoint fails.
#[derive(Debug, Clone)]
pub enum Fault {
    /// With this status and a GitHub error body.
    Status(u16),
    /// 403 with the limit used up, and the time when it is reset.
    PrimaryRateLimit {
        /// Seconds from now.
        reset_in: u64,
    },
    /// 403 with `retry-after`.
    SecondaryRateLimit {
        /// Seconds.
        retry_after: u64,
    },
    /// 201 with a body that is not JSON.
    Garbage,
    /// No answer for this long.
    Stall(Duration),
}

/// The fake GitHub. Cheap to clone.
#[derive(Clone)]
pub struct GitHub {
    shared: Arc<Shared>,
    server: Served,
}

struct Shared {
    events: Events,
    client: reqwest::Client,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    apps: Vec<app::App>,
    /// The App that is installed; 0 when none is.
    installed_app: u64,
    registrations: manifest::Registrations,
    /// Full names to ids.
    repositories: BTreeMap<String, u64>,
    installed: BTreeSet<String>,
    suspended: bool,
    installation_tokens: HashMap<String, InstallationToken>,
    /// Registration tokens to repository and end.
    registration_tokens: HashMap<String, (String, u64)>,
    /// JIT configs, each good for one start, to their runners.
    jit_configs: HashMap<String, u64>,
    runners: Vec<jobs::Runner>,
    jobs: BTreeMap<u64, Job>,
    deliveries: Vec<Delivery>,
    faults: Vec<(Endpoint, Fault)>,
    webhook_faults: VecDeque<WebhookFault>,
    requests: Vec<String>,
    last_id: u64,
    /// Seconds.
    clock_ahead: i64,
}

struct InstallationToken {
    repositories: BTreeSet<String>,
    administers: bool,
    reads_actions: bool,
    expires_at: u64,
}

impl State {
    /// Seconds of Unix time by this GitHub's clock.
    fn now(&self) -> u64 {
        unix_seconds().saturating_add_signed(self.clock_ahead)
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GitHub {
    /// A GitHub with the App installed for `repositories`, sending webhooks signed with `webhook_secret`.
    pub async fn start(repositories: &[&str], webhook_secret: &str, events: Events) -> std::io::Result<Self> {
        let key = RS256KeyPair::generate(2048).map_err(std::io::Error::other)?;
        Self::start_with_key(key, repositories, webhook_secret, events).await
    }

    /// The same, for an App whose private key was made elsewhere.
    pub async fn start_with_key(
        key: RS256KeyPair,
        repositories: &[&str],
        webhook_secret: &str,
        events: Events,
    ) -> std::io::Result<Self> {
        Self::start_at(Place::default(), key, repositories, webhook_secret, events).await
    }

    /// The same at a place of its own.
    pub async fn start_at(
        place: Place,
        key: RS256KeyPair,
        repositories: &[&str],
        webhook_secret: &str,
        events: Events,
    ) -> std::io::Result<Self> {
        let github = Self::bare(place, repositories, events).await?;
        let app = app::App::registered(key, webhook_secret);
        let mut state = github.shared.state();
        state.installed_app = app.id;
        state.installed = state.repositories.keys().cloned().collect();
        state.apps.push(app);
        drop(state);
        Ok(github)
    }

    /// A GitHub with these repositories, where no App is registered yet.
    pub async fn start_without_app(repositories: &[&str], events: Events) -> std::io::Result<Self> {
        Self::bare(Place::default(), repositories, events).await
    }

    async fn bare(place: Place, repositories: &[&str], events: Events) -> std::io::Result<Self> {
        let mut state = State { last_id: place.after, ..State::default() };
        for name in repositories {
            let id = state.next_id();
            state.repositories.insert((*name).to_owned(), id);
        }
        let shared = Arc::new(Shared { events, client: reqwest::Client::new(), state: Mutex::new(state) });
        let server = Served::start(place.listen, api::router(Arc::clone(&shared))).await?;
        Ok(Self { shared, server })
    }

    /// The REST API's origin.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Frees its address, in a moment.
    pub fn end(&self) {
        self.server.end();
    }

    /// The App's private key, PKCS#8, if there is an App.
    pub fn private_key(&self) -> Option<String> {
        self.shared.state().app().map(|app| app.key.to_pem().unwrap())
    }

    /// Where the App's webhooks go.
    pub fn set_webhook_url(&self, url: &str) {
        if let Some(app) = self.shared.state().app_mut() {
            app.webhook_url = url.to_owned();
        }
    }

    /// Makes the next call of an endpoint fail; several wait in line.
    pub fn fail(&self, endpoint: Endpoint, fault: Fault) {
        self.shared.state().faults.push((endpoint, fault));
    }

    /// Uninstalls the App.
    pub fn uninstall(&self, repository: &str) {
        self.shared.state().installed.remove(repository);
    }

    /// Suspends the installation.
    pub fn suspend(&self) {
        self.shared.state().suspended = true;
    }

    /// Takes the permission Administration from the App.
    pub fn revoke_administration(&self) {
        self.set_permission("administration", Some("read"));
    }

    /// Makes the next webhook go wrong; several wait in line.
    pub fn disturb_webhook(&self, fault: WebhookFault) {
        self.shared.state().webhook_faults.push_back(fault);
    }

    /// Puts this GitHub's clock ahead of the machine's by so many seconds, or behind.
    pub fn set_clock(&self, ahead: i64) {
        self.shared.state().clock_ahead = ahead;
    }

    /// Every request to the API so far, as method and path.
    pub fn requests(&self) -> Vec<String> {
        self.shared.state().requests.clone()
    }

    /// The names of the runners in its list, whether online or not.
    pub fn runners(&self) -> Vec<String> {
        self.shared.state().runners.iter().map(|runner| runner.name.clone()).collect()
    }

    /// Every delivery so far.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.state().deliveries.clone()
    }
}

/// How the client calls this server.
fn origin(headers: &axum::http::HeaderMap) -> String {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("http://{host}")
}

fn expired(at: u64) -> bool {
    at <= unix_seconds()
}
