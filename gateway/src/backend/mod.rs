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
use gha_slurm_protocol::slurm_job::{PENDING, is_final};
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

/// A Slurm job of this gateway's. Its id alone may be a stranger's: ids start anew when a site resets its Slurm. Its name
/// alone is nothing to go by either: whatever runs as its user may change it (`scontrol update JobName=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnJob<'a> {
    /// The id that it had when it was submitted.
    pub id: SlurmJobId,
    /// Its Slurm user.
    pub user: &'a str,
    /// Its name, which no other Slurm job of that user has.
    pub name: &'a str,
    /// When it was about to be submitted, in seconds of Unix time.
    pub begun: u64,
}

/// Slurm took it no later than this after it was about to be submitted, by a clock that munge keeps within five minutes.
const TOLERANCE: u64 = 600;

/// What Slurm itself writes down of a Slurm job, and no user can change at will; as far as it tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Origin {
    /// When it was submitted, in seconds of Unix time. Requeued, it counts as submitted anew.
    submitted: Option<u64>,
    /// How often it was started again.
    restarts: Option<u64>,
}

/// Whose a Slurm job is that has the id and the user of one of this gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Own,
    /// Under another name, and Slurm does not tell enough to say more.
    Unclear,
    Anothers,
}

impl OwnJob<'_> {
    /// By what Slurm writes down. Only for one that is not its own by that, the name matters.
    fn whose(&self, origin: Origin, named: bool) -> Whose {
        match origin.submitted {
            _ if named => Whose::Own,
            Some(time) if time <= self.begun.saturating_add(TOLERANCE) => Whose::Own,
            Some(_) if origin.restarts == Some(0) => Whose::Anothers,
            _ => Whose::Unclear,
        }
    }
}

/// A Slurm job that Slurm knows by the id and the user of one of this gateway's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    whose: Whose,
    state: State,
}

impl Found {
    /// Its state. One that is not surely another's lives: to take a living Slurm job for a dead one gives its place away.
    fn into_state(self) -> Option<State> {
        (self.whose != Whose::Anothers).then_some(self.state)
    }

    /// Whether it is to be cancelled. One that may be another's is not, and nobody is told that it was.
    fn may_be_cancelled(&self, job: OwnJob<'_>) -> Result<bool, BackendError> {
        match self.whose {
            _ if is_final(&self.state.state) => Ok(false),
            Whose::Own => Ok(true),
            Whose::Anothers => Ok(false),
            Whose::Unclear => Err(BackendError::Later(format!(
                "Slurm job {} of {} has another name than {}, and Slurm does not tell whether it is the same: if it is, \
                 cancel it by hand",
                job.id, job.user, job.name
            ))),
        }
    }
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

    /// Its state; `None` when Slurm does not know the Slurm job (any more), or its id is surely another's by now.
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

    /// Cancels. A Slurm job that is over or forgotten is no error, and another's with the same id is left alone. If it is
    /// not clear whose it is, it is left alone too, and that is an error.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slurm_job_that_was_renamed_is_still_its_own_and_one_that_came_later_is_not() {
        let job = OwnJob { id: 17, user: "alice", name: "gha-slurm-1-1", begun: 1_000_000 };
        let of = |submitted, restarts, named| job.whose(Origin { submitted, restarts }, named);
        assert_eq!(of(Some(1_000_002), Some(0), false), Whose::Own);
        assert_eq!(of(Some(999_000), None, false), Whose::Own, "by another gateway of the cluster");
        assert_eq!(of(Some(1_090_000), Some(0), false), Whose::Anothers);
        assert_eq!(of(Some(1_090_000), Some(1), false), Whose::Unclear, "requeued by its own steps, perhaps");
        assert_eq!(of(Some(1_090_000), None, false), Whose::Unclear);
        assert_eq!(of(None, Some(0), false), Whose::Unclear);
        assert_eq!(of(Some(1_090_000), Some(0), true), Whose::Own, "clocks that differ by a day");
        let found = |whose, state| Found { whose, state: State::new(state, None) };
        let cancels = |whose, state| found(whose, state).may_be_cancelled(job);
        assert_eq!(cancels(Whose::Own, "RUNNING"), Ok(true));
        assert_eq!(cancels(Whose::Own, "COMPLETED"), Ok(false));
        assert_eq!(cancels(Whose::Anothers, "RUNNING"), Ok(false));
        assert!(cancels(Whose::Unclear, "RUNNING").is_err() && cancels(Whose::Unclear, "FAILED") == Ok(false));
        assert!(found(Whose::Unclear, "RUNNING").into_state().is_some());
        assert_eq!(found(Whose::Anothers, "RUNNING").into_state(), None);
    }
}
