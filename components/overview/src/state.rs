//! Where a job is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a job is on its way. In the order of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is older than GitHub keeps a job queued, and GitHub has not confirmed yet that this one still is.
    Unconfirmed,
    /// GitHub holds it back until its deployment is approved.
    Held,
    /// Its profile runs as many launches as it may.
    InLine,
    /// The gateway has not taken its launch (yet).
    Unsubmitted,
    /// Slurm has it; its Slurm job has not fetched the credential.
    Pending,
    /// The credential was handed out; the runner starts, and has not taken the job.
    Starting,
    /// It had all the launches that it may have, and still waits.
    GivenUp,
    /// A runner took it.
    Running,
    /// It came to its end.
    Finished,
    /// It waited for longer than GitHub keeps a job queued.
    Expired,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Unconfirmed,
        Self::Held,
        Self::InLine,
        Self::Unsubmitted,
        Self::Pending,
        Self::Starting,
        Self::GivenUp,
        Self::Running,
        Self::Finished,
        Self::Expired,
    ];

    /// Its word in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unconfirmed => "unconfirmed",
            Self::Held => "held",
            Self::InLine => "in_line",
            Self::Unsubmitted => "unsubmitted",
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::GivenUp => "given_up",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Expired => "expired",
        }
    }

    /// Whether the job waits for a runner.
    pub fn waits(self) -> bool {
        !matches!(self, Self::Running | Self::Finished | Self::Expired)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|state| state.word() == text).ok_or_else(|| {
            let words: Vec<_> = Self::ALL.iter().map(|state| state.word()).collect();
            format!("no state; the states are {}", words.join(", "))
        })
    }
}
