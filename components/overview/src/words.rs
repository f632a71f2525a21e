//! The words for what the read model holds: states, events, stages, and why a job is where it is.
//!
//! Everything else in the program passes these as types. Pages, the API and `explain` take the words from here, at the
//! very end, so that one thing is called by one name everywhere. Nothing may decide by them.

use std::fmt;

use gha_slurm_core::ledger::{LostReason, Stopped};
use gha_slurm_core::policy::Denial;
use gha_slurm_protocol::identity::ClusterName;
use serde::{Serialize, Serializer};

use super::{Event, JobSummary, Silence, Stage, State};

/// Why a job is where it is, if there is more to say than its state does. The API shows it as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "String"))]
pub enum Why {
    /// GitHub has to confirm that this old job is still queued.
    Unconfirmed,
    /// GitHub holds it back until its deployment is approved.
    Held,
    /// The rule of its profile that its run breaks.
    Denied(Denial),
    /// The operator stopped launches.
    Stopped(Stopped),
    /// Its profile has as many launches as it may have.
    AtCap(Cap),
    /// Its launch waits for a gateway of this cluster to fetch it.
    ToBeFetched(ClusterName),
    /// A gateway fetched its launch and has not reported yet.
    Fetched {
        /// The gateway's cluster.
        cluster: ClusterName,
        /// The gateway, by its own name.
        gateway: String,
        /// When, in seconds of Unix time.
        at: u64,
    },
    /// Its launch waits to be fetched by a cluster that does not ask.
    ClusterSilent(Silence),
    /// No cluster of this name is configured.
    NoCluster(ClusterName),
    /// The gateway's last answer to its launch.
    NotSubmitted(String),
    /// GitHub's last answer to the request for its credential.
    NoCredential(String),
    /// What became of its last launch that is lost.
    Lost(LostReason),
    /// No `queued` webhook was received for it.
    NeverQueued,
    /// GitHub has failed it.
    Expired,
}

/// The limits of a profile that has as many launches as it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cap {
    /// The profile.
    pub profile: String,
    /// How many launches it may have.
    pub max_running: Option<u32>,
    /// How many of them may be of one repository.
    pub per_repository: Option<u32>,
}

impl Cap {
    /// The limits that are set, by the names of their keys in a profile.
    pub fn limits(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let limits = [("max_running", self.max_running), ("max_running_per_repository", self.per_repository)];
        limits.into_iter().filter_map(|(name, limit)| Some((name, limit?)))
    }

    /// Whether only launches of the job's own repository count.
    pub fn is_of_repository(&self) -> bool {
        self.max_running.is_none()
    }
}

impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.is_of_repository() { " of the repository" } else { "" };
        write!(f, "profile {} already has as many launches{whose} as it may have (", self.profile)?;
        let limits: Vec<String> = self.limits().map(|(name, limit)| format!("{name} = {limit}")).collect();
        write!(f, "{})", limits.join(", "))
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unconfirmed => {
                f.write_str("the job is older than 24 h, so GitHub is asked first whether it is still queued")
            }
            Self::Held => f.write_str("GitHub holds it back until its deployment is approved"),
            Self::Denied(denial) => write!(f, "not allowed: {denial}"),
            Self::Stopped(stopped) => {
                let of = if *stopped == Stopped::Repository { " OWNER/REPO" } else { "" };
                write!(f, "{stopped}; to let them go on: gha-slurm resume{of}")
            }
            Self::AtCap(cap) => cap.fmt(f),
            Self::ToBeFetched(cluster) => write!(f, "waits for cluster {cluster} to fetch it"),
            Self::Fetched { cluster, gateway, .. } => {
                write!(f, "gateway {gateway} of cluster {cluster} has fetched it, and has not reported yet")
            }
            Self::ClusterSilent(silence) => silence.fmt(f),
            Self::NoCluster(cluster) => {
                write!(f, "the variable clusters has no cluster {cluster} (any more), which the job is for")
            }
            Self::NotSubmitted(answer) => f.write_str(answer),
            Self::NoCredential(answer) => write!(f, "GitHub gave no credential: {answer}"),
            Self::Lost(reason) => reason.fmt(f),
            Self::NeverQueued => f.write_str("no queued webhook was received for this job"),
            Self::Expired => f.write_str("GitHub fails a job that has been queued for 24 h"),
        }
    }
}

impl Serialize for Why {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The step that a job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextStep {
    /// What it waits for.
    pub title: &'static str,
    /// What happens then.
    pub hint: &'static str,
    /// Both in a phrase, for a line of a table.
    pub short: &'static str,
}

impl JobSummary {
    /// What is still to come; `None` when nothing is.
    pub fn next_step(&self) -> Option<NextStep> {
        match self.why {
            Some(Why::Stopped(_)) => Some(NextStep {
                title: "Waiting for the operator",
                hint: "The periodic repair submits the launch after launches are resumed.",
                short: "launches are stopped",
            }),
            _ => self.state.next_step(),
        }
    }
}

impl State {
    /// Its name for people, in lower case.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unconfirmed => "to be confirmed",
            Self::Held => "held by GitHub",
            Self::Denied => "not allowed",
            Self::InLine => "in line",
            Self::Unsubmitted => "not submitted",
            Self::Offered => "to be fetched",
            Self::Refused => "refused by the gateway",
            Self::Pending => "in Slurm",
            Self::Starting => "runner starting",
            Self::GivenUp => "given up",
            Self::Running => "running",
            Self::Finished => "ended",
            Self::Expired => "expired",
        }
    }

    fn next_step(self) -> Option<NextStep> {
        let (title, hint, short) = match self {
            Self::Unconfirmed => ("Waiting for GitHub", "Is this old job still queued?", "GitHub is being asked"),
            Self::Held => (
                "Waiting for an approval",
                "GitHub queues it once its deployment is approved.",
                "waiting for an approval on GitHub",
            ),
            Self::InLine => (
                "Waiting in the profile's line",
                "A launch starts when another one ends.",
                "waiting for its turn in the profile's line",
            ),
            Self::Unsubmitted => (
                "Waiting for the gateway",
                "The periodic repair submits the launch again.",
                "being submitted to the gateway",
            ),
            Self::Offered => (
                "Waiting for its cluster",
                "A gateway of the cluster fetches the launch and submits it.",
                "waiting for its cluster to fetch it",
            ),
            Self::Refused => {
                ("Refused by the gateway", "The periodic repair asks again now and then.", "refused by the gateway")
            }
            Self::Pending => (
                "Waiting in Slurm's queue",
                "The Slurm job redeems its launch token when it starts.",
                "the Slurm job is pending or starting",
            ),
            Self::Starting => (
                "Waiting for the runner",
                "It registers with GitHub and takes one job.",
                "the runner is registering with GitHub",
            ),
            Self::Running => ("Running", "The runner exits when the job ends.", "running"),
            Self::Denied | Self::GivenUp | Self::Finished | Self::Expired => return None,
        };
        Some(NextStep { title, hint, short })
    }
}

impl Event {
    /// What happened, as a heading.
    pub fn label(self) -> &'static str {
        match self {
            Self::Created => "Created on GitHub",
            Self::Requested => "Webhook received",
            Self::Confirmed => "Confirmed by GitHub",
            Self::SubmitFailed => "Not accepted by the gateway",
            Self::Offered => "Left for its cluster to fetch",
            Self::Fetched => "Fetched by a gateway",
            Self::Submitted => "Submitted to Slurm",
            Self::RedeemFailed => "No credential",
            Self::Redeemed => "Launch token redeemed",
            Self::Replayed => "Launch token used again",
            Self::Denied => "Not allowed",
            Self::RefusedAtNode => "Refused at the node",
            Self::Moved => "Moved to another cluster",
            Self::Lost => "Launch lost",
            Self::Started => "Started on a runner",
            Self::Finished => "Finished",
            Self::Withdrawn => "Launch withdrawn",
            Self::Cancelled => "Slurm job cancelled",
            Self::Ended => "Slurm job ended",
        }
    }

    /// Whether it is a failure.
    pub fn is_failure(self) -> bool {
        matches!(
            self,
            Self::SubmitFailed | Self::RedeemFailed | Self::Replayed | Self::Lost | Self::Denied | Self::RefusedAtNode
        )
    }
}

impl Stage {
    /// Its name for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Submit => "Webhook to gateway",
            Self::Pending => "Slurm's queue",
            Self::Start => "Runner start",
            Self::Wait => "Total wait",
            Self::Run => "Run",
        }
    }
}
