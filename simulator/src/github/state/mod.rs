//! What this GitHub knows. Nothing here speaks HTTP or waits; each part is a file that knows nothing of the whole.

pub(crate) mod account;
pub(crate) mod app;
pub(crate) mod commit;
pub(crate) mod delivery;
pub(crate) mod endpoint;
pub(crate) mod fault;
pub(crate) mod group;
pub(crate) mod job;
pub(crate) mod limit;
pub(crate) mod manifest;
pub(crate) mod permission;
pub(crate) mod repository;
pub(crate) mod run;
pub(crate) mod runner;
pub(crate) mod status;
pub(crate) mod token;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::account::Person;
use self::app::App;
use self::commit::{SHA, commit_of};
use self::delivery::Deliveries;
use self::endpoint::{Calls, Endpoint};
use self::fault::{Faults, WebhookFault};
use self::group::Groups;
use self::job::{Job, JobStatus, run_of};
use self::limit::Limits;
use self::manifest::Registrations;
use self::permission::Permissions;
use self::repository::Repositories;
use self::run::{Head, JobSpec, Run};
use self::runner::{Owner, Runner, encoded_jit_config};
use self::status::CommitStatus;
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
    /// What the installation's owner granted; `None`: all that the App asks for.
    pub(crate) granted: Option<Permissions>,
    pub(crate) suspended: BTreeSet<u64>,
    pub(crate) registrations: Registrations,
    pub(crate) repositories: Repositories,
    pub(crate) installation_tokens: HashMap<String, InstallationToken>,
    /// Registration tokens to what they register for, and their end.
    pub(crate) registration_tokens: HashMap<String, (Owner, u64)>,
    /// JIT configurations, each good for one start, to their runners.
    pub(crate) jit_configs: HashMap<String, u64>,
    pub(crate) runners: Vec<Runner>,
    pub(crate) groups: Groups,
    pub(crate) jobs: BTreeMap<u64, Job>,
    pub(crate) runs: BTreeMap<u64, Run>,
    pub(crate) deliveries: Deliveries,
    pub(crate) statuses: Vec<CommitStatus>,
    pub(crate) faults: Faults,
    pub(crate) webhook_faults: VecDeque<WebhookFault>,
    pub(crate) limits: Limits,
    pub(crate) habits: Habits,
    pub(crate) requests: Vec<String>,
    pub(crate) calls: BTreeMap<Endpoint, Calls>,
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
    /// No webhook reaches the app.
    pub(crate) webhooks_missed: bool,
    /// A delivery has its id before it is sent, and is listed after that.
    pub(crate) listed_late: bool,
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

    /// What an installation of the App may do.
    pub(crate) fn permissions(&self, app: &App) -> Permissions {
        self.granted.clone().unwrap_or_else(|| app.permissions.clone())
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

    /// The run that a job is of.
    pub(crate) fn run_of(&self, job: u64) -> &Run {
        &self.runs[&self.jobs[&job].run]
    }

    /// Makes a person's fork, as visible as what it is of; its id.
    pub(crate) fn add_fork(&mut self, of: &str, name: &str) -> u64 {
        let id = self.next_id();
        let visibility = self.repositories.named(of).unwrap().visibility;
        self.repositories.add(id, name);
        let fork = self.repositories.named_mut(name).unwrap();
        (fork.fork, fork.personal, fork.visibility) = (true, true, visibility);
        id
    }

    /// Makes a job, and its run unless it is a further one of that; the job's id.
    pub(crate) fn add_job(&mut self, spec: JobSpec) -> u64 {
        let id = self.next_id();
        let repository_id = self.repositories.named(&spec.repository).unwrap().id;
        let head = match &spec.fork {
            _ if spec.fork_deleted => Head::Deleted,
            None => Head::Own,
            Some(name) => Head::Fork(match self.repositories.named(name) {
                Some(fork) => fork.id,
                None => self.add_fork(&spec.repository, name),
            }),
        };
        let of = spec.fork.as_ref().unwrap_or(&spec.repository);
        let on_base = spec.fork.is_none() && spec.branch == spec.base;
        let branch_sha = || if on_base { SHA.to_owned() } else { commit_of(of, &spec.branch) };
        let head_sha = spec.sha.clone().unwrap_or_else(branch_sha);
        let run_id = spec.run.unwrap_or_else(|| run_of(id));
        let created_at = unix_seconds();
        let number = self.repositories.next_run_number(repository_id);
        let run = self.runs.entry(run_id).or_insert_with(|| Run {
            repository_id,
            number,
            event: spec.event,
            branch: spec.branch,
            base: spec.base,
            head,
            head_sha,
            workflow: spec.workflow,
            triggering_actors: vec![spec.triggering_actor.unwrap_or_else(|| spec.actor.clone())],
            actor: spec.actor,
            env: spec.env,
            referenced: spec.referenced,
            created_at,
        });
        let (attempt, status) = (run.attempts(), JobStatus::first(spec.environment.as_ref()));
        let sender = spec.sender.unwrap_or_else(|| run.triggering_actor(attempt).clone());
        let job = Job {
            repository_id,
            labels: spec.labels,
            status,
            runner: None,
            runner_group: None,
            environment: spec.environment,
            run: run_id,
            attempt,
            sender,
            log: Vec::new(),
            created_at,
        };
        self.jobs.insert(id, job);
        id
    }

    /// Whether a repository has a commit: its own, and those of its pull requests, whatever became of their forks.
    pub(crate) fn has_commit(&self, repository: u64, sha: &str) -> bool {
        let mut runs = self.runs.values().filter(|run| run.repository_id == repository);
        sha == SHA || runs.any(|run| run.head_sha == sha)
    }

    /// Begins another attempt of a job's run, as that person, with a job like it.
    pub(crate) fn add_attempt(&mut self, job: u64, person: Person) -> u64 {
        let id = self.next_id();
        let earlier = self.jobs[&job].clone();
        let run = self.runs.get_mut(&earlier.run).unwrap();
        run.triggering_actors.push(person.clone());
        let again = Job {
            status: JobStatus::first(earlier.environment.as_ref()),
            runner: None,
            runner_group: None,
            attempt: run.attempts(),
            sender: person,
            log: Vec::new(),
            created_at: unix_seconds(),
            ..earlier
        };
        self.jobs.insert(id, again);
        id
    }

    /// Makes an offline runner, and the configuration that starts it.
    pub(crate) fn make_jit_config(
        &mut self,
        owner: Owner,
        name: &str,
        group: u64,
        labels: Vec<String>,
        folder: &str,
    ) -> (u64, String) {
        let id = self.next_id();
        let url = format!("{PAGES}/{}", self.name_of(&owner));
        let config = encoded_jit_config(id, name, &url, folder);
        self.jit_configs.insert(config.clone(), id);
        self.runners.push(Runner { id, name: name.to_owned(), owner, group, labels, job: None, online: false });
        (id, config)
    }
}
