//! A running fake GitHub.

use std::sync::{Arc, Mutex};

use jwt_simple::prelude::RS256KeyPair;

use super::api;
use super::state::app::{App, INSTALLATION};
use super::state::delivery::Delivery;
use super::state::endpoint::{Calls, Endpoint};
use super::state::limit::Caller;
use super::state::status::CommitStatus;
use super::state::{Shared, State};
use crate::event::Events;
use crate::server::{Place, Served};

/// The fake GitHub. Cheap to clone.
#[derive(Clone)]
pub struct GitHub {
    pub(super) shared: Arc<Shared>,
    server: Served,
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
        let app = App::registered(key, webhook_secret);
        let mut state = github.shared.state();
        state.install(app.id, INSTALLATION);
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
            state.repositories.add(id, name);
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

    /// Where the App's webhooks go. No host under `.invalid` is ever contacted: the delivery fails at once.
    pub fn set_webhook_url(&self, url: &str) {
        if let Some(app) = self.shared.state().app_mut() {
            app.webhook_url = url.to_owned();
        }
    }

    /// Switches the App's webhook off, or on again. While it is off nothing is sent, and no delivery recorded.
    pub fn set_webhook_active(&self, active: bool) {
        if let Some(app) = self.shared.state().app_mut() {
            app.webhook_active = active;
        }
    }

    /// The names of all Apps.
    pub fn apps(&self) -> Vec<String> {
        self.shared.state().apps.iter().map(|app| app.name.clone()).collect()
    }

    /// Every request to the API so far, as method and path.
    pub fn requests(&self) -> Vec<String> {
        self.shared.state().requests.clone()
    }

    /// How often an endpoint was called so far.
    pub fn calls(&self, endpoint: Endpoint) -> Calls {
        self.shared.state().calls.get(&endpoint).copied().unwrap_or_default()
    }

    /// The caller's calls of this hour that count towards the primary rate limit. GitHub grants 5,000; this one refuses
    /// none unless it is told to ([`GitHub::limit_after`]).
    pub fn counted_calls(&self, caller: Caller) -> u64 {
        self.shared.state().limits.used(caller)
    }

    /// The names of the runners in its list, whether online or not.
    pub fn runners(&self) -> Vec<String> {
        self.shared.state().runners.iter().map(|runner| runner.name.clone()).collect()
    }

    /// Every delivery that was recorded so far, by its id, and those that GitHub no longer shows.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.state().deliveries.all().cloned().collect()
    }

    /// Every status of a commit so far, in the order in which they came.
    pub fn commit_statuses(&self) -> Vec<CommitStatus> {
        self.shared.state().statuses.clone()
    }

    /// The commit that GitHub says a job is of: `head_sha` of its webhooks, of the job and of its run.
    pub fn head_sha(&self, job: u64) -> Option<String> {
        let state = self.shared.state();
        state.jobs.contains_key(&job).then(|| state.run_of(job).shown_sha().to_owned())
    }

    /// The id of the repository that has this name now.
    pub fn repository_id(&self, name: &str) -> Option<u64> {
        self.shared.state().repositories.named(name).map(|repository| repository.id)
    }
}
