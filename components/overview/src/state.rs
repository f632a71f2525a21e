//! Where a job is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a job is on its way, in the order of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum State {
    /// It is older than 24 h, and GitHub has not confirmed yet that it is still queued.
    Unconfirmed,
    /// GitHub holds it back until its deployment is approved.
    Held,
    /// The rules of its profile do not allow its run.
    Denied,
    /// Its profile has as many launches as it may have.
    InLine,
    /// The gateway has not accepted its launch yet.
    Unsubmitted,
    /// Its launch waits for a gateway of its cluster to fetch it, or one has fetched it and has not reported yet.
    Offered,
    /// The gateway refuses its launch as things stand; it is asked again now and then.
    Refused,
    /// Slurm has it, and its Slurm job has not fetched the credential yet.
    Pending,
    /// The credential was handed out, and the runner has not taken the job yet.
    Starting,
    /// It had as many launches as a job may have, and none of them served it.
    GivenUp,
    /// A runner took it.
    Running,
    /// It ended.
    Finished,
    /// It was queued for 24 h, after which GitHub fails a job.
    Expired,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Unconfirmed,
        Self::Held,
        Self::Denied,
        Self::InLine,
        Self::Unsubmitted,
        Self::Offered,
        Self::Refused,
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
            Self::Denied => "denied",
            Self::InLine => "in_line",
            Self::Unsubmitted => "unsubmitted",
            Self::Offered => "offered",
            Self::Refused => "refused",
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
        !matches!(self, Self::Denied | Self::Running | Self::Finished | Self::Expired)
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
