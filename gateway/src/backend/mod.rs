//! How Slurm is spoken to, behind one small trait: slurmrestd, Slurm's commands, or no Slurm at all.
//!
//! A backend submits what it is given and tells what Slurm says. Whether a launch is submitted at all, and whether it
//! was before, is not for here. The line that matters runs through [`BackendError`]: Slurm said no, or nobody knows.

pub mod local;
pub mod sbatch;
pub mod slurmrestd;
pub mod user;

use std::future::Future;
use std::pin::Pin;

use gha_slurm_protocol::resources::Resources;
use gha_slurm_protocol::secret::Secret;
use gha_slurm_protocol::values::SlurmName;
use thiserror::Error;

use crate::config::{BackendKind, Config, ConfigError, SECRET_VARIABLE};

/// A Slurm job's id, decimal.
pub type SlurmJobId = u64;

/// An answer on its way.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BackendError>> + Send + 'a>>;

/// Why Slurm did not do it.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum BackendError {
    /// Slurm said no, in these words. Asking again changes nothing.
    #[error("Slurm refused: {0}")]
    Refused(String),
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
    /// The script. It is the same for everybody, or the administrator's template filled in.
    pub script: Secret,
    /// The script's environment; values may be secrets.
    pub environment: Vec<(String, Secret)>,
    /// What it may use.
    pub resources: Resources,
    /// Charged account.
    pub account: Option<SlurmName>,
    /// Quality of service.
    pub qos: Option<SlurmName>,
    /// The file for its output.
    pub output: String,
    /// Its working directory.
    pub directory: String,
}

/// What Slurm says of a Slurm job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// In Slurm's word, such as `PENDING`.
    pub state: String,
    /// Why, in Slurm's word, such as `Resources`; when it says so.
    pub reason: Option<String>,
}

impl State {
    /// Slurm writes `None` for no reason.
    fn new(state: &str, reason: Option<&str>) -> Self {
        let reason = reason.map(str::trim).filter(|reason| !matches!(*reason, "" | "None"));
        Self { state: state.trim().to_owned(), reason: reason.map(str::to_owned) }
    }
}

/// A Slurm.
pub trait Backend: Send + Sync {
    /// Submits, and answers the Slurm job's id.
    fn submit<'a>(&'a self, job: &'a JobSpec) -> Answer<'a, SlurmJobId>;

    /// The newest Slurm job of that user with that name that Slurm still knows.
    fn find<'a>(&'a self, user: &'a str, name: &'a str) -> Answer<'a, Option<SlurmJobId>>;

    /// Its state; `None` when Slurm does not know the Slurm job (any more).
    fn state<'a>(&'a self, user: &'a str, job: SlurmJobId) -> Answer<'a, Option<State>>;

    /// Cancels. A Slurm job that is over or forgotten is no error.
    fn cancel<'a>(&'a self, user: &'a str, job: SlurmJobId) -> Answer<'a, ()>;

    /// Asks something harmless as that user, and answers what is there, in a line for people.
    fn probe<'a>(&'a self, user: &'a str) -> Answer<'a, String>;

    /// The user's home directory. An error when there is no such user.
    fn home<'a>(&'a self, user: &'a str) -> Answer<'a, String> {
        Box::pin(user::home(user))
    }
}

/// A command of the site's. It may run as a mapped user, whose processes can read its environment: the gateway's secret
/// is not part of that.
fn command(program: &str) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(program);
    command.env_remove(SECRET_VARIABLE);
    command
}

/// The backend that a configuration names.
pub fn open(config: &Config) -> Result<Box<dyn Backend>, ConfigError> {
    Ok(match config.backend {
        BackendKind::Slurmrestd => Box::new(slurmrestd::Rest::new(&config.slurmrestd)?),
        BackendKind::Sbatch => Box::new(sbatch::Commands::new(config.sbatch.clone())),
        BackendKind::Local => Box::new(local::Local::new(config.state_directory.join("local"))),
    })
}
