//! Starting and cancelling launches: the one place that knows a launch's whole life here.
//!
//! Steps of one launch happen one after another, however many requests for it come at once. A launch is in the index
//! before it is in Slurm; what the index does not know for sure, Slurm is asked for by the Slurm job's name.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gha_slurm_protocol::slurm_job::{SlurmJob, UNKNOWN};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

use crate::audit::{AuditLog, Event, Outcome, Record, Subject};
use crate::backend::controller::SlurmConf;
use crate::backend::user::{Forbidden, usual_slurm_user};
use crate::backend::{Backend, BackendError, JobSpec, OwnJob, SlurmJobId, State};
use crate::comment::comment;
use crate::config::{self, Config, ConfigError};
use crate::fetching;
use crate::impossible::{Impossible, ROUND};
use crate::index::{Entry, Index, Living};
use crate::launch::{Launch, LaunchKey, Rejected, within};
use crate::runs_as;
use crate::script;
use crate::tls::acceptor;

/// Why a request was not carried out.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// No entry for this repository.
    #[error("no Slurm user is mapped to {0}")]
    UnknownRepository(String),
    /// A value is malformed or beyond a limit.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// Who may be the Slurm user that a workflow names cannot be asked at present.
    #[error("{0}")]
    PeopleUnknown(String),
    /// The Slurm user is one that no runner runs as.
    #[error("runners do not run as {user}: {reason}")]
    ForbiddenUser {
        /// The Slurm user.
        user: String,
        /// What is special about it.
        reason: String,
    },
    /// It was cancelled before.
    #[error("this launch was cancelled")]
    Cancelled,
    /// No such launch, or no such Slurm job of a launch.
    #[error("no launch of that name or Slurm job is known")]
    NotFound,
    /// Slurm's.
    #[error(transparent)]
    Slurm(#[from] BackendError),
    /// The index could not be read or written.
    #[error("the launch index failed: {0}")]
    Index(#[from] rusqlite::Error),
}

/// The gateway itself, without HTTP.
pub struct Service {
    config: RwLock<Arc<Config>>,
    path: PathBuf,
    backend: Backend,
    index: Index,
    tls: RwLock<Option<TlsAcceptor>>,
    audit: RwLock<Arc<AuditLog>>,
    slurm_user: RwLock<Option<u32>>,
    turns: Mutex<HashMap<LaunchKey, Weak<tokio::sync::Mutex<()>>>>,
    impossible: Impossible,
    /// What became of the exchanges of a gateway that fetches.
    pub(crate) exchanges: fetching::Metrics,
}

/// What became of a launch request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Its Slurm job.
    pub job: SlurmJobId,
    /// Whether it was there before.
    pub known: bool,
}

/// Why a gateway does not start.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state folder.
    #[error("stateDirectory {}: {error}", folder.display())]
    State {
        /// The folder.
        folder: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
}

impl Service {
    /// A gateway by the configuration that was read from `path`.
    pub fn open(config: Config, path: PathBuf) -> Result<Self, OpenError> {
        let backend = Backend::open(&config)?;
        Self::with_backend(config, path, backend)
    }

    /// The same with a backend that was made already.
    pub fn with_backend(config: Config, path: PathBuf, backend: Backend) -> Result<Self, OpenError> {
        let audit = RwLock::new(Arc::new(AuditLog::open(config.audit_log.as_deref())?));
        let tls = RwLock::new(config.tls.as_ref().map(acceptor).transpose()?);
        let folder = config.state_directory.clone();
        let index = Index::open(&folder).map_err(|error| OpenError::State { folder, error })?;
        let config = RwLock::new(Arc::new(config));
        let slurm_user = RwLock::new(usual_slurm_user());
        Ok(Self {
            config,
            path,
            backend,
            index,
            tls,
            audit,
            slurm_user,
            turns: Mutex::default(),
            impossible: Impossible::default(),
            exchanges: fetching::Metrics::default(),
        })
    }

    /// The configuration now.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Which launch is which Slurm job.
    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// What takes a connection's TLS; `None` without TLS.
    pub fn tls(&self) -> Option<TlsAcceptor> {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where what happens is written down.
    pub fn audit(&self) -> Arc<AuditLog> {
        Arc::clone(&self.audit.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The Slurm user that a launch names or that its repository is mapped to.
    pub fn user_of(&self, launch: &Launch) -> Option<String> {
        let named = launch.slurm_user.as_ref().map(ToString::to_string);
        named.or_else(|| self.config().mapping.find(&launch.repository).map(|(user, _)| user.to_owned()))
    }

    /// Asks Slurm for SlurmUser, whom no runner runs as. Where it cannot be asked, its usual name stands for it.
    pub async fn learn_slurm_user(&self) {
        if !self.backend.changes_user() {
            return;
        }
        match SlurmConf::ask(&self.config().scontrol).await {
            Ok(SlurmConf { slurm_user: Some(uid), .. }) => {
                *self.slurm_user.write().unwrap_or_else(PoisonError::into_inner) = Some(uid);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(error, "SlurmUser is not known; taken for the user slurm"),
        }
    }

    /// Reads the configuration and the certificate again, and opens the audit log anew; the log tells what came of it.
    /// After an error the old one stays.
    pub fn reload(&self) -> Result<Vec<&'static str>, ConfigError> {
        let reloaded = self.read_again();
        match &reloaded {
            Ok(restart) => {
                self.config().tell_weaknesses();
                tracing::info!(needs_restart = ?restart, "configuration reloaded");
            }
            Err(error) => tracing::error!(%error, "configuration not reloaded; the old one stays"),
        }
        reloaded
    }

    fn read_again(&self) -> Result<Vec<&'static str>, ConfigError> {
        let mut fresh = Config::load(&self.path, &config::environment)?;
        let tls = fresh.tls.as_ref().map(acceptor).transpose()?;
        let audit = AuditLog::open(fresh.audit_log.as_deref())?;
        let running = self.config();
        let restart = fresh.needs_restart(&running);
        fresh.keep_app(&running);
        *self.audit.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(audit);
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        self.impossible.forget_ended();
        Ok(restart)
    }

    fn turn(&self, key: &LaunchKey) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(key).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(key.clone(), Arc::downgrade(&turn));
        turn
    }

    /// Submits a launch, or finds the Slurm job that it has already. Why it is not submitted is told to the log.
    pub async fn start(&self, launch: &Launch) -> Result<Started, ServiceError> {
        self.submit(launch).await.inspect_err(|error| self.tell(launch, error))
    }

    fn tell(&self, launch: &Launch, error: &ServiceError) {
        // What was cancelled is as it should be.
        if !matches!(error, ServiceError::Cancelled) {
            let user = self.user_of(launch);
            tracing::warn!(launch = %launch.key, repository = %launch.repository, user, %error, "not submitted");
        }
    }

    async fn submit(&self, launch: &Launch) -> Result<Started, ServiceError> {
        let config = self.config();
        let runs_as = runs_as::decide(&config, launch).await?;
        let user = runs_as.user.as_str();
        if config.app.as_ref().is_some_and(|app| !app.contain(&launch.redeem_url)) {
            let problem = "launch tokens may be exchanged only below app.url of the gateway's configuration".to_owned();
            return Err(Rejected { field: "tokenURL", problem }.into());
        }
        let resources = within(&runs_as.settings, &launch.resources)?;
        let policy = runs_as.node_policy(&config, launch, &self.backend.runs_as(user))?;
        let turn = self.turn(&launch.key);
        let _turn = turn.lock().await;
        let key = launch.key.to_string();
        match self.index.get(&key).await? {
            Some(entry) if entry.cancelled => return Err(ServiceError::Cancelled),
            Some(entry) => {
                let known = match entry.job {
                    Some(job) => Some(job),
                    // A crash, or a lost answer: it may be in Slurm.
                    None => self.backend.find(&entry.user, &launch.key.slurm_name()).await?,
                };
                if let Some(job) = known {
                    self.index.submitted(&key, job).await?;
                    return Ok(Started { job, known: true });
                }
            }
            None => {}
        }
        if let Some(why) = self.impossible.refusal(user, &resources, Instant::now()) {
            self.index.abandon(&key).await?;
            return Err(BackendError::Refused(why).into());
        }
        let account = self.backend.account(user).await?;
        if self.backend.changes_user() {
            let slurm_user = *self.slurm_user.read().unwrap_or_else(PoisonError::into_inner);
            let forbidden = Forbidden { min_uid: runs_as.min_uid, slurm_user };
            if let Some(reason) = forbidden.reason(account.uid) {
                return Err(ServiceError::ForbiddenUser { user: user.to_owned(), reason });
            }
        }
        let home = account.home;
        let (script, environment) = match &config.template {
            Some(template) => script::from_template(template, launch, user, &home, &config.job),
            None => (script::BUILT_IN.to_owned(), script::environment(launch, user, &home, &config.job, &policy)),
        };
        let job = JobSpec {
            name: launch.key.slurm_name(),
            user: user.to_owned(),
            comment: comment(&config.job, launch),
            script,
            environment,
            resources,
            output: script::fill(&config.job.output, user, &home),
            directory: script::fill(&config.job.directory, user, &home),
        };
        self.index.begin(&key, user).await?;
        match self.backend.submit(&job).await {
            Ok(id) => {
                self.index.submitted(&key, id).await?;
                self.impossible.submitted(&key, user, &job.resources, Instant::now());
                tracing::info!(launch = %key, user, slurm_job = id, repository = %launch.repository, "submitted");
                Ok(Started { job: id, known: false })
            }
            Err(error) => {
                if matches!(error, BackendError::Refused(_) | BackendError::Later(_) | BackendError::NoUser(_)) {
                    self.index.abandon(&key).await?;
                }
                Err(error.into())
            }
        }
    }

    /// The Slurm job of a launch that another gateway of the cluster may have submitted: looked for by its name. Without
    /// one it is known that there is none.
    pub(crate) async fn look_first(&self, launch: &Launch) -> Result<Option<SlurmJobId>, ServiceError> {
        let runs_as = runs_as::decide(&self.config(), launch).await.inspect_err(|error| self.tell(launch, error))?;
        let turn = self.turn(&launch.key);
        let _turn = turn.lock().await;
        let key = launch.key.to_string();
        match self.index.get(&key).await? {
            Some(entry) if entry.cancelled => return Err(ServiceError::Cancelled),
            Some(_) => {}
            None => self.index.begin(&key, &runs_as.user).await?,
        }
        self.find(&launch.key).await
    }

    /// The Slurm job of a launch that was about to be submitted; `None` if Slurm has none, and then the launch may be
    /// submitted anew.
    pub(crate) async fn look_for(&self, key: &LaunchKey) -> Result<Option<SlurmJobId>, ServiceError> {
        let turn = self.turn(key);
        let _turn = turn.lock().await;
        self.find(key).await
    }

    async fn find(&self, launch: &LaunchKey) -> Result<Option<SlurmJobId>, ServiceError> {
        let key = launch.to_string();
        let Some(entry) = self.index.get(&key).await? else { return Ok(None) };
        if entry.job.is_some() || entry.user.is_empty() {
            return Ok(entry.job);
        }
        let found = self.backend.find(&entry.user, &launch.slurm_name()).await?;
        match found {
            Some(job) => self.index.submitted(&key, job).await?,
            // What was cancelled stays so.
            None if entry.cancelled => {}
            None => self.index.abandon(&key).await?,
        }
        Ok(found)
    }

    async fn key_of(&self, launch: Option<LaunchKey>, job: Option<SlurmJobId>) -> Result<LaunchKey, ServiceError> {
        // The launch decides; its Slurm job's id may have been lost on the way.
        if let Some(launch) = launch {
            return Ok(launch);
        }
        let Some(job) = job else { return Err(ServiceError::NotFound) };
        let entry = self.index.by_job(job).await?;
        entry.and_then(|entry| LaunchKey::parse(&entry.key)).ok_or(ServiceError::NotFound)
    }

    /// Cancels a launch, for good. Only Slurm jobs that this gateway started can be named.
    pub async fn cancel(&self, launch: Option<LaunchKey>, job: Option<SlurmJobId>) -> Result<(), ServiceError> {
        let key = self.key_of(launch, job).await?;
        let turn = self.turn(&key);
        let _turn = turn.lock().await;
        let entry = self.index.get(&key.to_string()).await?;
        self.index.cancel(&key.to_string()).await?;
        let Some(entry) = entry.filter(|entry| !entry.user.is_empty()) else { return Err(ServiceError::NotFound) };
        let job = match entry.job {
            Some(job) => Some(job),
            None => self.backend.find(&entry.user, &key.slurm_name()).await?,
        };
        let Some(job) = job else { return Err(ServiceError::NotFound) };
        let name = key.slurm_name();
        self.backend.cancel(OwnJob { id: job, user: &entry.user, name: &name, begun: entry.begun }).await?;
        tracing::info!(launch = %key, user = entry.user, slurm_job = job, "cancelled");
        Ok(())
    }

    /// The Slurm job of a launch; its state is `UNKNOWN` when Slurm has forgotten it.
    pub async fn state(&self, key: &LaunchKey) -> Result<SlurmJob, ServiceError> {
        let Entry { user, job, cancelled, begun, .. } =
            self.index.get(&key.to_string()).await?.ok_or(ServiceError::NotFound)?;
        let Some(id) = job else {
            let state = if cancelled { "CANCELLED" } else { UNKNOWN };
            return Ok(SlurmJob {
                job_id: None,
                state: state.to_owned(),
                reason: None,
                starts_in: None,
                position: None,
            });
        };
        let name = key.slurm_name();
        let job = slurm_job(id, self.backend.state(OwnJob { id, user: &user, name: &name, begun }).await?);
        self.impossible.saw(&key.to_string(), &job, Instant::now());
        Ok(job)
    }

    /// The Slurm jobs of those launches that have one, seen at that time.
    pub(crate) async fn states<'a>(
        &self,
        launches: &'a [Living],
        now: Instant,
    ) -> Vec<(&'a Living, Result<SlurmJob, BackendError>)> {
        let named: Vec<_> = launches
            .iter()
            .filter_map(|living| Some((living, living.job?, LaunchKey::parse(&living.key)?.slurm_name())))
            .collect();
        let jobs: Vec<_> = named
            .iter()
            .map(|(living, id, name)| OwnJob { id: *id, user: &living.user, name, begun: living.begun })
            .collect();
        let states = self.backend.states(&jobs).await;
        let told = named.iter().zip(states).map(|((living, id, _), state)| {
            let job = state.map(|state| slurm_job(*id, state));
            if let Ok(job) = &job {
                self.impossible.saw(&living.key, job, now);
            }
            (*living, job)
        });
        told.collect()
    }

    /// Ends, again and again, what Slurm took and will never start.
    pub async fn end_what_never_starts(&self) {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            self.end_hopeless(Instant::now()).await;
        }
    }

    /// One round of it, at that time.
    pub async fn end_hopeless(&self, now: Instant) {
        let minutes = self.config().impossible_minutes;
        if minutes == 0 {
            return;
        }
        let patience = Duration::from_secs(60 * minutes);
        // What is about to be ended is checked once more: it may have started.
        let mut launches = self.impossible.due(now);
        launches.extend(self.impossible.hopeless(patience, now).into_keys());
        launches.sort();
        launches.dedup();
        let seen = match self.look_at(launches, now).await {
            Ok(seen) => seen,
            Err(error) => return tracing::error!(%error, "the launch index failed"),
        };
        let mut hopeless = self.impossible.hopeless(patience, now);
        for launch in seen {
            let Some(why) = hopeless.remove(&launch) else { continue };
            if let Err(error) = self.end(&launch, &why, now).await {
                tracing::warn!(launch, %error, why, "a Slurm job that Slurm will never start stays queued");
            }
        }
    }

    /// Those of these launches that Slurm told of.
    async fn look_at(&self, launches: Vec<String>, now: Instant) -> rusqlite::Result<Vec<String>> {
        let mut waiting = Vec::new();
        for key in launches {
            match self.index.get(&key).await? {
                Some(Entry { user, job: Some(job), cancelled: false, begun, .. }) => {
                    waiting.push(Living { key, user, job: Some(job), told: None, begun });
                }
                _ => self.impossible.forget(&key),
            }
        }
        let mut seen = Vec::new();
        for (Living { key, .. }, state) in self.states(&waiting, now).await {
            match state {
                Ok(_) => seen.push(key.clone()),
                Err(error) => {
                    tracing::debug!(launch = key, %error, "a Slurm job that waits could not be looked at");
                }
            }
        }
        Ok(seen)
    }

    async fn end(&self, launch: &str, why: &str, now: Instant) -> Result<(), ServiceError> {
        let key = LaunchKey::parse(launch).ok_or(ServiceError::NotFound)?;
        let entry = self.index.get(launch).await?.ok_or(ServiceError::NotFound)?;
        self.cancel(Some(key), None).await?;
        tracing::warn!(launch, user = entry.user, slurm_job = entry.job, why, "ended, for Slurm will never start it");
        let reason = format!("Slurm will never start it: {why}");
        self.audit().write(&Record {
            event: Event::Cancel,
            outcome: Outcome::Done,
            status: 200,
            address: None,
            subject: &Subject {
                launch: Some(launch.to_owned()),
                slurm_user: Some(entry.user),
                slurm_job: entry.job,
                ..Subject::default()
            },
            reason: Some(&reason),
        });
        self.impossible.ended(launch, why, now);
        Ok(())
    }

    /// Drops what is older than any launch.
    pub async fn tidy(&self) {
        if let Err(error) = self.index.forget_old().await {
            tracing::warn!(%error, "old launches stay in the index");
        }
    }
}

/// What is passed on of a Slurm job; `None` is one that Slurm has forgotten.
fn slurm_job(id: SlurmJobId, found: Option<State>) -> SlurmJob {
    let forgotten = State { state: UNKNOWN.to_owned(), reason: None, start: None, position: None };
    let State { state, reason, start, position } = found.unwrap_or(forgotten);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // An expected start that has passed is one that is due.
    let starts_in = start.map(|start| start.saturating_sub(now));
    SlurmJob { job_id: Some(id.to_string()), state, reason, starts_in, position }
}
