//! The configuration file as it is written: the original service's four keys, unchanged, and ours beside them.
//!
//! Only shapes and defaults stand here; what the values mean, and whether they fit together, is for [`super`]. A key
//! that is not known is an error, because a misspelt limit is no limit.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use gha_slurm_protocol::amounts::{Memory, TimeLimit};
use gha_slurm_protocol::secret::Secret;
use gha_slurm_protocol::selection::Licenses;
use gha_slurm_protocol::values::{Cpus, SlurmName};
use serde::Deserialize;

use super::app::ClusterName;
use super::policy::PolicyKeys;
use super::{ConfigError, invalid};
use crate::people::PeopleKeys;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    pub(super) job_template: Option<String>,
    pub(super) logging: Option<String>,
    pub(super) gha_shared_secret: Option<Secret>,
    #[serde(default)]
    pub(super) repositories: Vec<Repository>,

    pub(super) gha_shared_secret_file: Option<PathBuf>,
    /// Absent: the default, or, in a gateway that fetches its launches, nowhere.
    pub(super) listen: Option<SocketAddr>,
    pub(super) tls: Option<Tls>,
    /// Plain HTTP beyond loopback is wanted: a proxy in front speaks TLS.
    #[serde(default)]
    pub(super) insecure_http: bool,
    pub(super) app: Option<App>,
    pub(super) audit_log: Option<PathBuf>,
    pub(super) min_uid: Option<u32>,
    #[serde(default = "default_scontrol")]
    pub(super) scontrol: Vec<String>,
    #[serde(default)]
    pub(super) open_metrics: bool,
    #[serde(default = "default_state_directory")]
    pub(super) state_directory: PathBuf,
    #[serde(default)]
    pub(super) slurm_users: BTreeMap<String, UserSettings>,
    #[serde(default)]
    pub(super) policy: PolicyKeys,
    pub(super) people: Option<PeopleKeys>,
    #[serde(default)]
    pub(super) backend: BackendKind,
    #[serde(default)]
    pub(super) slurmrestd: Slurmrestd,
    #[serde(default)]
    pub(super) sbatch: Sbatch,
    #[serde(default = "default_impossible_minutes")]
    pub(super) impossible_minutes: u64,
    #[serde(default)]
    pub(super) job: Job,
}

impl File {
    pub(super) fn backends(&self) -> Backends {
        Backends { kind: self.backend, slurmrestd: self.slurmrestd.clone(), sbatch: self.sbatch.clone() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Repository {
    #[serde(rename = "gitHubURL")]
    pub(super) github_url: String,
    #[serde(rename = "slurmUser")]
    pub(super) slurm_user: String,
    /// GitHub's number for it: another repository that gets its name later is not meant.
    #[serde(rename = "repositoryId")]
    pub(super) repository_id: Option<u64>,
}

/// The app that this gateway belongs to.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct App {
    /// Where launch tokens may be exchanged: everything below this URL, or below one of these.
    pub(super) url: OneOrMany,
    /// Launches are fetched there, as this cluster.
    pub(super) cluster: Option<ClusterName>,
    pub(super) secret_file: Option<PathBuf>,
    pub(super) poll_seconds: Option<u64>,
    pub(super) at_most: Option<u32>,
    pub(super) ca_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Certificate and key of the listener, PEM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What the jobs of one Slurm user may be.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserSettings {
    #[serde(default)]
    pub(super) repositories: Vec<String>,
    /// Charged account.
    pub account: Option<SlurmName>,
    /// Quality of service.
    pub qos: Option<SlurmName>,
    /// Accounts that a request may name besides.
    #[serde(default)]
    pub accounts: Vec<SlurmName>,
    /// Qualities of service that a request may name besides.
    #[serde(default)]
    pub qoses: Vec<SlurmName>,
    /// Reservations that a request may name.
    #[serde(default)]
    pub reservations: Vec<SlurmName>,
    /// Workload characterization keys that a request may name.
    #[serde(default)]
    pub wckeys: Vec<SlurmName>,
    /// Partition of a request that names none.
    pub partition: Option<SlurmName>,
    /// Partitions that a request may name; the default one is always among them. Empty: only the default one, or any
    /// when there is no default either.
    #[serde(default)]
    pub partitions: Vec<SlurmName>,
    /// The most that one Slurm job may ask for.
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub(super) policy: PolicyKeys,
}

/// Limits per Slurm job. Absent: Slurm's own limits apply.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// CPUs.
    pub cpus: Option<Cpus>,
    /// Memory. A request that names none gets this much.
    pub memory: Option<Memory>,
    /// GPUs.
    pub gpus: Option<u32>,
    /// Licenses, the most of each; no others.
    pub licenses: Option<Licenses>,
    /// Run time. A request that names none gets this much.
    #[serde(default, deserialize_with = "text_or_minutes")]
    pub time: Option<TimeLimit>,
    /// Whether a request may ask for whole nodes. Absent: only where neither CPUs, memory nor GPUs are limited, because
    /// a whole node is more than any such limit.
    pub exclusive: Option<bool>,
}

impl Limits {
    /// Whether a request may ask for whole nodes.
    pub fn allow_exclusive(&self) -> bool {
        let limited = self.cpus.is_some() || self.memory.is_some() || self.gpus.is_some();
        self.exclusive.unwrap_or(!limited)
    }
}

/// The chosen way to speak to Slurm, and the settings of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backends {
    /// Which one.
    pub kind: BackendKind,
    /// For [`BackendKind::Slurmrestd`].
    pub slurmrestd: Slurmrestd,
    /// For [`BackendKind::Sbatch`].
    pub sbatch: Sbatch,
}

impl Backends {
    /// Checks the settings of all of them, so that a mistake shows before somebody switches.
    pub(super) fn check(self) -> Result<Self, ConfigError> {
        let url = &self.slurmrestd.url;
        if !(url.starts_with("http://") && url.parse::<url::Url>().is_ok() || url.starts_with("unix:/")) {
            return Err(invalid("slurmrestd.url", "write http://host:port or unix:/path/of/the.socket"));
        }
        if !(30..=86_400).contains(&self.slurmrestd.token_seconds) {
            return Err(invalid("slurmrestd.tokenSeconds", "from 30 to 86400"));
        }
        if !(1..=64).contains(&self.slurmrestd.connections) {
            return Err(invalid("slurmrestd.connections", "from 1 to 64"));
        }
        let commands = [
            ("slurmrestd.tokenCommand", &self.slurmrestd.token_command),
            ("sbatch.sbatch", &self.sbatch.sbatch),
            ("sbatch.squeue", &self.sbatch.squeue),
            ("sbatch.scancel", &self.sbatch.scancel),
        ];
        match commands.iter().find(|(_, command)| command.is_empty()) {
            Some((key, _)) => Err(invalid(*key, "an empty command")),
            None => Ok(self),
        }
    }

    /// The keys that differ from `running`. None of them is read again by a reload.
    pub(super) fn differences(&self, running: &Self) -> impl Iterator<Item = &'static str> {
        let pairs = [
            ("backend", self.kind != running.kind),
            ("slurmrestd", self.slurmrestd != running.slurmrestd),
            ("sbatch", self.sbatch != running.sbatch),
        ];
        pairs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key)
    }
}

/// How Slurm is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// By Slurm's REST API.
    #[default]
    Slurmrestd,
    /// By the commands sbatch, squeue and scancel.
    Sbatch,
    /// Not at all: the job script runs as a child of the gateway. For the demo and for development.
    Local,
}

/// Where slurmrestd is, and how tokens for it are made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Slurmrestd {
    /// `http://host:port` or `unix:/path`.
    pub url: String,
    /// The command that mints a token; `{user}` and `{seconds}` are filled in. Not used when there is a key file.
    pub token_command: Vec<String>,
    /// Slurm's HS256 key (`jwt_key` of slurm.conf): the gateway mints by itself.
    pub jwt_key_file: Option<PathBuf>,
    /// How long a token is valid.
    pub token_seconds: u64,
    /// The most connections to slurmrestd at a time. It has 124 places for everybody.
    pub connections: usize,
}

impl Default for Slurmrestd {
    fn default() -> Self {
        let words = ["scontrol", "token", "username={user}", "lifespan={seconds}"];
        Self {
            url: "http://127.0.0.1:6820".to_owned(),
            token_command: words.map(str::to_owned).to_vec(),
            jwt_key_file: None,
            token_seconds: 300,
            connections: 8,
        }
    }
}

/// The commands of the sbatch backend, `{user}` filled in; each is run directly, not by a shell.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sbatch {
    /// Submits; the script comes on its standard input, the launch token in `GHA_SLURM_EXPORTS` of its environment.
    pub sbatch: Vec<String>,
    /// Tells a job's state.
    pub squeue: Vec<String>,
    /// Cancels.
    pub scancel: Vec<String>,
}

impl Default for Sbatch {
    fn default() -> Self {
        let command = |tool: &str| ["runuser", "-u", "{user}", "--", tool].map(str::to_owned).to_vec();
        Self { sbatch: command("sbatch"), squeue: command("squeue"), scancel: command("scancel") }
    }
}

/// What the job script gets to work with.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Job {
    /// The Slurm job's output file: `{user}`, `{home}` and Slurm's `%j` are filled in.
    pub output: String,
    /// Its working directory: `{user}` and `{home}` are filled in.
    pub directory: String,
    /// Where the private folder of each Slurm job is made. Absent: `$TMPDIR`, or /tmp.
    pub scratch: Option<String>,
    /// GitHub's runner: a folder or a `.tar.gz` that the compute nodes can read.
    pub runner: Option<String>,
    /// SHA-256 of the archive, 64 hexadecimal digits.
    pub runner_sha256: Option<String>,
    /// The command to run the runner in, such as apptainer's; `{work}` becomes the private folder.
    pub container: Vec<String>,
    /// Seconds without a job after which the runner ends.
    pub idle_seconds: u64,
    /// Seconds for which getting the credential is tried.
    pub retry_seconds: u64,
    /// Seconds that a runner has to end after SIGTERM; below Slurm's KillWait.
    pub grace_seconds: u64,
    /// A PEM file on the compute nodes with every authority to trust: the site's own and the public ones.
    pub ca_file: Option<String>,
    /// More environment for the Slurm job, such as `https_proxy`.
    pub environment: BTreeMap<String, String>,
    /// The site's own hooks of the runner, which run after the gateway's check.
    pub hooks: Hooks,
    /// The Slurm job's comment, with `{words}` to fill in. Absent: the repository's page, and by whom.
    pub comment: Option<String>,
}

/// Scripts on the compute nodes that the runner starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    /// Before a job's first step.
    pub started: Option<String>,
    /// After its last one.
    pub completed: Option<String>,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            output: "{home}/gha-slurm-%j.out".to_owned(),
            directory: "{home}".to_owned(),
            scratch: None,
            runner: None,
            runner_sha256: None,
            container: Vec::new(),
            idle_seconds: 120,
            retry_seconds: 600,
            grace_seconds: 25,
            ca_file: None,
            environment: BTreeMap::new(),
            hooks: Hooks::default(),
            comment: None,
        }
    }
}

/// The original's port, but not on every interface.
pub(super) fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5011))
}

fn default_state_directory() -> PathBuf {
    PathBuf::from("/var/lib/gha-slurm-gateway")
}

fn default_impossible_minutes() -> u64 {
    10
}

fn default_scontrol() -> Vec<String> {
    vec!["scontrol".to_owned()]
}

/// YAML reads `time: 90` as a number and `time: 02:00:00` as text.
fn text_or_minutes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<TimeLimit>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}
