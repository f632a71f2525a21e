//! What `explain` finds out about a job, as a type: [`super::words`] turns it into sentences, once, at the end.

use gha_slurm_core::cluster::NoCluster;
use gha_slurm_core::github::client::{GitHubError, Reason};
use gha_slurm_core::ledger::{FailureKind, Stopped};
use gha_slurm_core::policy::Denial;
use gha_slurm_core::settings::SettingError;
use gha_slurm_overview::{Cap, Silence};
use gha_slurm_protocol::identity::{ClusterName, JobId, LaunchId, RepositoryName};
use gha_slurm_protocol::labels::LabelSet;

use super::slurm::Said;

/// Where a job is and what keeps it there. Lengths of time are in seconds.
pub(super) enum Finding {
    /// The App is not installed for the repository.
    NotInstalled(RepositoryName),
    /// GitHub knows neither a job nor a run with this ID.
    NoSuchJob { repository: RepositoryName, id: u64 },
    /// There are no facts, and GitHub could not be asked.
    NotAsked { id: u64, error: GitHubError },
    /// There are no facts, and the profiles cannot be read.
    ProfilesUnreadable(SettingError),
    /// There are no facts, and GitHub says that it ended.
    EndedUnseen { conclusion: Option<String>, runner: Option<String> },
    /// There are no facts, and GitHub says that it is running.
    RunsUnseen { runner: Option<String> },
    /// GitHub holds it back, with this status.
    HeldByGithub { status: String },
    /// GitHub holds it back until its deployment is approved.
    Held { age: u64 },
    /// Its labels are none that a profile can have, for this reason.
    NoLabels { problem: String },
    /// No profile has all of its labels.
    NoProfile { labels: LabelSet, nearest: Nearest },
    /// A profile has its labels, but does not allow the repository.
    RepositoryNotAllowed { profile: String, repository: RepositoryName, labels: LabelSet },
    /// A profile has its labels, but does not allow that the repository is public.
    PublicNotAllowed { profile: String, repository: RepositoryName },
    /// The rules of its profile do not allow its run.
    Denied { denial: Denial, profile: Option<String>, age: u64 },
    /// A dynamic label asks for something that its profile does not give.
    LabelRefused { profile: String, label: String, problem: String, labels: LabelSet },
    /// A profile would take it, but none of its clusters does.
    NotPlaced { profile: String, problem: NoCluster },
    /// A profile would take it, but no webhook for it was received.
    NoWebhook { profile: String, polled: Option<Polled> },
    /// GitHub has to confirm that the old job is still queued.
    Unconfirmed { age: u64 },
    /// The operator stopped launches; the gateway's last answer to its launch, if it did not accept it before.
    Stopped { stopped: Stopped, repository: Option<RepositoryName>, answer: Option<String>, age: u64 },
    /// Its profile is at a limit; its place in line, if it is not far back.
    AtCap { cap: Cap, place: Option<usize>, age: u64 },
    /// Its launch was not tried yet.
    Submitting { age: u64 },
    /// Its launch waits for a cluster that asks; which gateway fetched it before and did not report in time, and how long
    /// ago.
    ToBeFetched { cluster: ClusterName, before: Option<(String, u64)>, age: u64 },
    /// A gateway fetched its launch so long ago and has not reported yet.
    Fetched { cluster: ClusterName, gateway: String, ago: u64 },
    /// Its launch waits for a cluster that does not ask; to which others it may go after how long a silence.
    ClusterSilent {
        silence: Silence,
        others: Vec<ClusterName>,
        silent_after: u64,
        before: Option<(String, u64)>,
        age: u64,
    },
    /// Its launch is for a cluster that is not configured.
    NoCluster { cluster: ClusterName, age: u64 },
    /// The gateway has not accepted its launch.
    NotSubmitted { tries: Tries, kind: Option<FailureKind>, retry_in: Option<u64>, now: GatewayNow, age: u64 },
    /// GitHub gives no credential, for this reason, if it is known.
    NoCredential { tries: Tries, kind: Option<FailureKind>, reason: Option<Reason>, slurm_job: SlurmJobId },
    /// The gateway accepted its launch; what it says about the Slurm job now.
    InSlurm { slurm_job: SlurmJobId, asked: Result<Option<Said>, String>, age: u64 },
    /// The credential was handed out.
    RunnerStarting { runner: String, slurm_job: SlurmJobId, age: u64 },
    /// All its launches were lost, for these reasons.
    GivenUp { lost: Vec<(LaunchId, String)> },
    /// A runner took it, and the check on its node ended it before its first step, for this reason.
    EndedAtNode { reason: String, slurm_job: SlurmJobId },
    /// It is running; in which Slurm job, if the runner is one of this application's.
    Running { runner: Option<String>, slurm_job: Option<SlurmJobId>, age: u64 },
    /// It ended.
    Finished { conclusion: Option<String>, runner: Option<String>, age: u64 },
    /// It was queued for too long.
    Expired,
}

/// How far GitHub's list of deliveries was read, where they come from there. Lengths of time are in seconds.
pub(super) struct Polled {
    pub(super) read_ago: u64,
    pub(super) newest_ago: Option<u64>,
    /// About how many wait to be read.
    pub(super) behind: u64,
}

/// The ID of a launch's Slurm job, if the gateway told it.
#[derive(Clone)]
pub(super) struct SlurmJobId(pub(super) Option<String>);

/// Failed attempts.
pub(super) struct Tries {
    pub(super) failures: u64,
    /// The last answer.
    pub(super) answer: String,
}

/// What the gateway says when it is asked for the explanation.
pub(super) enum GatewayNow {
    /// There was no need to ask.
    NotAsked,
    /// It answers.
    Answers,
    /// It does not answer properly.
    Fails(String),
    /// It cannot be asked: the gateways of this cluster ask themselves.
    Fetches(ClusterName),
}

/// A launch that was moved.
pub(super) struct Moved {
    pub(super) launch: LaunchId,
    pub(super) from: ClusterName,
    /// Where its job went.
    pub(super) to: Option<ClusterName>,
    /// How long ago, in seconds.
    pub(super) ago: u64,
}

/// The profile that is closest to a job's labels.
pub(super) enum Nearest {
    /// The job has no labels.
    NoLabels,
    /// This one lacks these of the labels.
    Profile { name: String, labels: Vec<String>, lacking: Vec<String> },
    /// None of the profiles with these names has any of the labels.
    None { names: Vec<String> },
}

/// What is known besides, whatever the job waits for.
#[derive(Default)]
pub(super) struct Besides {
    /// Its profile and its labels.
    pub(super) profile: Option<(String, LabelSet)>,
    /// Its cluster, where clusters have names.
    pub(super) cluster: Option<ClusterName>,
    /// Launches that were moved from a cluster, to which, and how long ago.
    pub(super) moved: Vec<Moved>,
    /// Whether its cluster is silent, so that what is known of its Slurm job may be old.
    pub(super) silence: Option<Silence>,
    /// Its workflow.
    pub(super) workflow: Option<String>,
    /// Its branch.
    pub(super) branch: Option<String>,
    /// Launches whose runners GitHub gave to other jobs.
    pub(super) taken: Vec<(LaunchId, JobId)>,
    /// Launches whose launch token came again after its credential was handed out.
    pub(super) replayed: Vec<LaunchId>,
    /// Launches on whose nodes the check refused the job that their runner took, and why.
    pub(super) refused: Vec<(LaunchId, String)>,
}
