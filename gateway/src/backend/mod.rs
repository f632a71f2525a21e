//! How Slurm is spoken to: slurmrestd, Slurm's commands, or no Slurm at all.
//!
//! A backend submits what it is given and tells what Slurm says. Whether a launch is submitted at all, and whether it
//! was before, is not for here. The line that matters runs through [`BackendError`]: Slurm said no, or not now, or
//! nobody knows.

mod asked;
pub(crate) mod command;
pub mod controller;
pub mod local;
mod positions;
pub mod sbatch;
pub mod slurmrestd;
pub mod user;

use gha_slurm_protocol::resources::Resources;
use gha_slurm_protocol::secret::Secret;
use thiserror::Error;

use self::user::Account;
use crate::config::{BackendKind, Config, ConfigError};

/// A Slurm job's id, decimal.
pub type SlurmJobId = u64;

/// Why Slurm did not do it.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum BackendError {
    /// Slurm said no, in these words. Asking again changes nothing.
    #[error("Slurm refused: {0}")]
    Refused(String),
    /// Not at present: a limit that passes by itself, or too many requests at once. Nothing was submitted.
    #[error("not now: {0}")]
    Later(String),
    /// The mapped user does not exist. Slurm itself would take it for uid 99.
    #[error("there is no user {0} on the gateway's machine")]
    NoUser(String),
    /// Slurm could not be asked, or its answer is not known.
    #[error("Slurm does not answer: {0}")]
    Outage(String),
}

/// A Slurm job to submit.
#[derive(Debug)]
pub struct JobSpec {
    /// Its name, by which it is found again.
    pub name: String,
    /// The mapped user.
    pub user: String,
    /// For people who read squeue.
    pub comment: String,
    /// The script, without any secret: all jobs of its Slurm user can read it (`scontrol write batch_script`).
    pub script: String,
    /// The script's environment; values may be secrets.
    pub environment: Vec<(String, Secret)>,
    /// What it may use.
    pub resources: Resources,
    /// The file for its output.
    pub output: String,
    /// Its working directory.
    pub directory: String,
}

/// A Slurm job of this gateway's. Its id alone may be a stranger's: ids start anew when a site resets its Slurm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnJob<'a> {
    /// The id that it had when it was submitted.
    pub id: SlurmJobId,
    /// Its Slurm user.
    pub user: &'a str,
    /// Its name, which no other Slurm job of that user has.
    pub name: &'a str,
}

/// What Slurm says of a Slurm job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// In Slurm's word, such as `PENDING`.
    pub state: String,
    /// Why, in Slurm's word, such as `Resources`; when it says so.
    pub reason: Option<String>,
    /// When Slurm expects to start it, in seconds of Unix time by Slurm's clock. Only of one that is pending, and only
    /// once Slurm's scheduler has looked at it.
    pub start: Option<u64>,
    /// Its place among the Slurm jobs that are pending in its partition, from 1, by priority. Only where the backend can
    /// see the others cheaply.
    pub position: Option<u32>,
}

/// The state of a Slurm job that waits.
const PENDING: &str = "PENDING";

impl State {
    /// Slurm writes `None` for no reason.
    fn new(state: impl Into<String>, reason: Option<&str>) -> Self {
        let reason = reason.map(str::trim).filter(|reason| !matches!(*reason, "" | "None"));
        Self { state: state.into(), reason: reason.map(str::to_owned), start: None, position: None }
    }

    /// With the time that Slurm tells as its start, which is an expected one as long as it is pending. Slurm writes 0
    /// for none.
    fn starting(mut self, time: Option<u64>) -> Self {
        self.start = time.filter(|time| *time > 0 && self.state == PENDING);
        self
    }
}

/// A Slurm. Another way to speak to it is another variant here, and one line in the macro below.
pub enum Backend {
    /// Slurm's REST API.
    Slurmrestd(Box<slurmrestd::Rest>),
    /// Slurm's commands.
    Sbatch(sbatch::Commands),
    /// This machine alone.
    Local(local::Local),
}

/// Calls whichever it is.
macro_rules! each {
    ($backend:expr, $one:ident => $call:expr) => {
        match $backend {
            Backend::Slurmrestd($one) => $call,
            Backend::Sbatch($one) => $call,
            Backend::Local($one) => $call,
        }
    };
}

impl Backend {
    /// The one that a configuration names.
    pub fn open(config: &Config) -> Result<Self, ConfigError> {
        let settings = &config.backends;
        Ok(match settings.kind {
            BackendKind::Slurmrestd => Self::Slurmrestd(Box::new(slurmrestd::Rest::new(&settings.slurmrestd)?)),
            BackendKind::Sbatch => {
                Self::Sbatch(sbatch::Commands::new(settings.sbatch.clone(), config.scontrol.clone()))
            }
            BackendKind::Local => Self::Local(local::Local::new(config.state_directory.join("local"))),
        })
    }

    /// Submits, and answers the Slurm job's id.
    pub async fn submit(&self, job: &JobSpec) -> Result<SlurmJobId, BackendError> {
        each!(self, backend => backend.submit(job).await)
    }

    /// The newest Slurm job of that user with that name that Slurm still knows.
    pub async fn find(&self, user: &str, name: &str) -> Result<Option<SlurmJobId>, BackendError> {
        each!(self, backend => backend.find(user, name).await)
    }

    /// Its state; `None` when Slurm does not know the Slurm job (any more), or its id is another's by now.
    pub async fn state(&self, job: OwnJob<'_>) -> Result<Option<State>, BackendError> {
        each!(self, backend => backend.state(job).await)
    }

    /// The states of many, in their order, with as few questions as the backend can. Where Slurm does not answer, the
    /// rest is not asked for.
    pub async fn states(&self, jobs: &[OwnJob<'_>]) -> Vec<Result<Option<State>, BackendError>> {
        if let Self::Sbatch(commands) = self {
            return commands.states(jobs).await;
        }
        // slurmrestd has no question for some Slurm jobs: one each, on one connection, is far less than its whole queue.
        let mut states = Vec::with_capacity(jobs.len());
        let mut away = None;
        for job in jobs {
            let state = match &away {
                Some(error) => Err(BackendError::clone(error)),
                None => self.state(*job).await,
            };
            if let Err(error @ (BackendError::Outage(_) | BackendError::Later(_))) = &state {
                away = Some(error.clone());
            }
            states.push(state);
        }
        states
    }

    /// Cancels. A Slurm job that is over or forgotten is no error, and another's with the same id is left alone.
    pub async fn cancel(&self, job: OwnJob<'_>) -> Result<(), BackendError> {
        each!(self, backend => backend.cancel(job).await)
    }

    /// Asks something harmless as that user, and answers what is there, in a line for people.
    pub async fn probe(&self, user: &str) -> Result<String, BackendError> {
        each!(self, backend => backend.probe(user).await)
    }

    /// Whose account a Slurm job of that user runs under. An error when there is no such user.
    pub async fn account(&self, user: &str) -> Result<Account, BackendError> {
        match self {
            Self::Local(local) => Ok(local.account()),
            _ => user::account(user).await,
        }
    }

    /// The user that `id -un` tells in a Slurm job of that user.
    pub fn runs_as(&self, user: &str) -> String {
        match self {
            Self::Local(_) => user::own_name(),
            _ => user.to_owned(),
        }
    }

    /// Whether jobs run as the mapped user, and not as the gateway's own.
    pub fn changes_user(&self) -> bool {
        !matches!(self, Self::Local(_))
    }
}
