//! What this GitHub knows. Nothing here speaks HTTP or waits; each part is a file that knows nothing of the whole.

pub(crate) mod app;
pub(crate) mod delivery;
pub(crate) mod fault;
pub(crate) mod job;
pub(crate) mod limit;
pub(crate) mod manifest;
pub(crate) mod permission;
pub(crate) mod repository;
pub(crate) mod runner;
pub(crate) mod token;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::app::App;
use self::delivery::Delivery;
use self::fault::{Endpoint, Fault, WebhookFault};
use self::job::Job;
use self::limit::Limits;
use self::manifest::Registrations;
use self::repository::Repositories;
use self::runner::{Owner, Runner, encoded_jit_config};
use self::token::{InstallationToken, TokenLag};
use crate::clock::unix_seconds;
use crate::event::Events;

/// Where the pages of repositories are.
pub(crate) const PAGES: &str = "https://github.com";

/// The state, and what it takes to send webhooks.
pub(crate) struct Shared {
    pub(crate) events: Events,
    pub(crate) client: reqwest::Client,
    pub(crate) state: Mutex<State>,
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) apps: Vec<App>,
    /// The App that is installed; 0 when none is.
    pub(crate) installed_app: u64,
    pub(crate) suspended: BTreeSet<u64>,
    pub(crate) registrations: Registrations,
    pub(crate) repositories: Repositories,
    pub(crate) installation_tokens: HashMap<String, InstallationToken>,
    /// Registration tokens to what they register for, and their end.
    pub(crate) registration_tokens: HashMap<String, (Owner, u64)>,
    /// JIT configurations, each good for one start, to their runners.
    pub(crate) jit_configs: HashMap<String, u64>,
    pub(crate) runners: Vec<Runner>,
    pub(crate) jobs: BTreeMap<u64, Job>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) faults: Vec<(Endpoint, Fault)>,
    pub(crate) webhook_faults: VecDeque<WebhookFault>,
    pub(crate) limits: Limits,
    pub(crate) habits: Habits,
    pub(crate) requests: Vec<String>,
    pub(crate) last_id: u64,
    /// Seconds.
    pub(crate) clock_ahead: i64,
}

/// How this GitHub differs from one where all is in order.
#[derive(Default)]
pub(crate) struct Habits {
    /// The status that refuses fresh installation tokens, and how long.
    pub(crate) token_lag: Option<(u16, TokenLag)>,
    /// An Enterprise Server from before JIT configurations.
    pub(crate) no_jit: bool,
    /// An IP allow list without the caller's address.
    pub(crate) address_blocked: bool,
}

impl State {
    /// Seconds of Unix time by this GitHub's clock.
    pub(crate) fn now(&self) -> u64 {
        unix_seconds().saturating_add_signed(self.clock_ahead)
    }

    pub(crate) fn expired(&self, at: u64) -> bool {
        at <= self.now()
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The App that is installed; before there is one, the first.
    pub(crate) fn app(&self) -> Option<&App> {
        self.apps.iter().find(|app| app.id == self.installed_app).or_else(|| self.apps.first())
    }

    pub(crate) fn app_mut(&mut self) -> Option<&mut App> {
        let id = self.app()?.id;
        self.apps.iter_mut().find(|app| app.id == id)
    }

    /// Installs an App for every repository that there is.
    pub(crate) fn install(&mut self, app: u64, installation: u64) {
        self.installed_app = app;
        self.repositories.all_mut().for_each(|repository| repository.installation = Some(installation));
    }

    /// `owner/name`, or the organization's login.
    pub(crate) fn name_of(&self, owner: &Owner) -> String {
        match owner {
            Owner::Repository(id) => self.repositories.get(*id).map(|found| found.name.clone()).unwrap_or_default(),
            Owner::Organization(login) => login.clone(),
        }
    }

    /// The runner of that name. Names are taken per repository or organization.
    pub(crate) fn runner_named(&self, owner: &Owner, name: &str) -> Option<&Runner> {
        self.runners.iter().find(|runner| runner.owner == *owner && runner.name.eq_ignore_ascii_case(name))
    }

    /// Makes an offline runner, and the configuration that starts it.
    pub(crate) fn make_jit_config(
        &mut self,
        owner: Owner,
        name: &str,
        labels: Vec<String>,
        folder: &str,
    ) -> (u64, String) {
        let id = self.next_id();
        let url = format!("{PAGES}/{}", self.name_of(&owner));
        let config = encoded_jit_config(id, name, &url, folder);
        self.jit_configs.insert(config.clone(), id);
        self.runners.push(Runner { id, name: name.to_owned(), owner, labels, job: None, online: false });
        (id, config)
    }
}
