//! The gateway's configuration: read, checked as a whole, and then never doubted again.
//!
//! A [`Config`] is immutable; a reload makes a new one and puts it in the old one's place, or leaves the old one where
//! it is. No message here shows a value that may be a secret.

mod app;
mod file;
mod mapping;
mod policy;
mod weakness;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use gha_slurm_protocol::secret::Secret;
use thiserror::Error;

pub(crate) use self::app::cluster_secret;
pub use self::app::{APP_SECRET_VARIABLE, AppUrls, ClusterName, Fetching};
// Whatever may be set: a new backend is named in one file.
pub use self::file::*;
pub use self::mapping::{Mapping, RepositoryUrl};
pub(crate) use self::mapping::{ROOT, check_user};
pub use self::policy::{Pattern, Policies, Policy};
use crate::backend::user::{own_group, own_name};
use crate::comment;
use crate::people::{Groups, People};

/// The environment variable that may hold the shared secret.
pub const SECRET_VARIABLE: &str = "GHA_SLURM_GATEWAY_SECRET";

/// Linux takes 128 KiB, and a launch token is part of it.
const MAX_TEMPLATE_BYTES: usize = 64 * 1024;

/// Why a configuration is not used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file that cannot be read.
    #[error("cannot read {}: {error}{}", path.display(), who_reads(path, error))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Not YAML, or not of the right shape.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1; 0 when the parser tells none.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What is wrong.
        message: String,
    },
    /// A value that cannot be, or that does not fit the others.
    #[error("{key}: {problem}")]
    Invalid {
        /// The key, dotted.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// What to do about a file that is somebody else's.
fn who_reads(path: &Path, error: &std::io::Error) -> String {
    if error.kind() != std::io::ErrorKind::PermissionDenied {
        return String::new();
    }
    let (user, group, path) = (own_name(), own_group(), path.display());
    format!(
        "; {user}, as which this runs, has to read it: chgrp {group} {path} && chmod 0640 {path} (of another service's \
         file, of a copy), and enter the folders above it"
    )
}

pub(crate) fn invalid(key: impl Into<String>, problem: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { key: key.into(), problem: problem.into() }
}

/// A configuration that was checked.
#[derive(Debug)]
pub struct Config {
    /// Where to listen. `None` only in a gateway that fetches its launches: nothing listens then.
    pub listen: Option<SocketAddr>,
    /// With TLS, when this is there.
    pub tls: Option<Tls>,
    /// Where launch tokens may be exchanged; `None` when the file names no app.
    pub app: Option<AppUrls>,
    /// How launches are fetched from the app; `None` when it sends them.
    pub fetching: Option<Fetching>,
    /// The file of the audit log.
    pub audit_log: Option<PathBuf>,
    /// No job runs as a user with a smaller uid, when it is set.
    pub min_uid: Option<u32>,
    /// The command that tells Slurm's configuration.
    pub scontrol: Vec<String>,
    /// Whether `/metrics` needs no secret.
    pub open_metrics: bool,
    /// The folder of the launch index.
    pub state_directory: PathBuf,
    /// What the app proves itself with. None of them where nothing listens.
    pub secrets: SharedSecrets,
    /// The file that the secret stands in; `None` when it came by the environment, or where there is none.
    pub secret_file: Option<PathBuf>,
    /// Which repositories run as whom, within which limits.
    pub mapping: Mapping,
    /// Which jobs may run as whom.
    pub policies: Policies,
    /// Who may be which Slurm user; `None` when a workflow may name none.
    pub people: Option<People>,
    /// How Slurm is spoken to.
    pub backends: Backends,
    /// After how many minutes a Slurm job is ended that Slurm will never start; 0: never.
    pub impossible_minutes: u64,
    /// For the job script.
    pub job: Job,
    /// The original's own job script with its placeholders, in place of the built-in one.
    pub template: Option<String>,
    /// The level of the original's `logging`.
    pub logging: Option<String>,
}

impl Config {
    /// Reads and checks a file. `environment` looks up environment variables.
    pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        Self::parse(&read(path)?, path, environment)
    }

    /// Reads and checks the text of a file. `path` is for messages, and for the files that it names relative to itself.
    pub fn parse(text: &str, path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        // No snippet: the line that is wrong may be the secret's.
        let options = serde_saphyr::options! { with_snippet: false };
        let mut key = String::new();
        let file = serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
            serde_path_to_error::deserialize::<_, file::File>(deserializer).map_err(|error| {
                key = error.path().to_string();
                error.into_inner()
            })
        });
        let file = file.map_err(|error| {
            let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
            let message = match key.as_str() {
                "" | "." | "?" => error.to_string(),
                key => format!("{key}: {error}"),
            };
            ConfigError::Malformed { path: path.to_owned(), line, column, message }
        })?;
        let app = file.app.as_ref().map(|app| AppUrls::new(&app.url)).transpose()?;
        let fetching = match (&file.app, &app) {
            (Some(app), Some(urls)) => Fetching::new(app, urls, (path, file.insecure_http), environment)?,
            _ => None,
        };
        let listen = file.listen.or_else(|| fetching.is_none().then(file::default_listen));
        let (secrets, secret_file) = match listen {
            Some(_) => secrets(&file, path, environment)?,
            None => (SharedSecrets(Vec::new()), None),
        };
        check_job(&file.job, file.job_template.is_some())?;
        let backends = file.backends().check()?;
        if file.job_template.as_ref().is_some_and(|template| template.len() > MAX_TEMPLATE_BYTES) {
            return Err(invalid(
                "jobTemplate",
                "longer than 64 KiB; it has to fit into one variable of an environment",
            ));
        }
        if file.scontrol.is_empty() {
            return Err(invalid("scontrol", "an empty command"));
        }
        match listen {
            Some(listen) if !listen.ip().is_loopback() && file.tls.is_none() && !file.insecure_http => {
                return Err(invalid(
                    "listen",
                    format!(
                        "{listen} is not loopback, and without tls the shared secret and all launch tokens would travel \
                         in clear: set tls, listen on 127.0.0.1 behind a proxy, or write insecureHttp: true"
                    ),
                ));
            }
            None if file.tls.is_some() => {
                return Err(invalid(
                    "tls",
                    "nothing listens: with app.cluster, name where to in listen, or remove tls",
                ));
            }
            _ => {}
        }
        if file.impossible_minutes > 10_080 {
            return Err(invalid("impossibleMinutes", "from 0 (never) to 10080, a week"));
        }
        let groups = file.people.as_ref().map(|people| people.groups.clone()).unwrap_or_default();
        let groups = Groups::new(groups)?;
        let own = file.slurm_users.iter().map(|(user, settings)| (user, &settings.policy));
        let policies = Policies::new(&file.policy, own, &groups)?;
        let people = file.people.map(|keys| People::new(keys, &groups, path.parent())).transpose()?;
        let mapping = Mapping::new(file.repositories, file.slurm_users, people.is_some())?;
        Ok(Self {
            listen,
            tls: file.tls,
            app,
            fetching,
            audit_log: file.audit_log,
            min_uid: file.min_uid,
            scontrol: file.scontrol,
            open_metrics: file.open_metrics,
            state_directory: file.state_directory,
            secrets,
            secret_file,
            mapping,
            policies,
            people,
            backends,
            impossible_minutes: file.impossible_minutes,
            job: file.job,
            template: file.job_template.filter(|text| !text.trim().is_empty()),
            logging: file.logging,
        })
    }

    /// Whether launches are fetched from another app than `running` does, or as another cluster.
    fn is_elsewhere(&self, running: &Self) -> bool {
        match (&self.fetching, &running.fetching) {
            (Some(own), Some(running)) => own.is_elsewhere(running),
            (own, running) => own.is_some() != running.is_some(),
        }
    }

    /// Keeps all of `app` as in `running` where a restart is needed for some of it. The old app is asked until then, and
    /// the new one's secret is nothing for it to see.
    pub(crate) fn keep_app(&mut self, running: &Self) {
        if self.is_elsewhere(running) {
            self.app.clone_from(&running.app);
            self.fetching.clone_from(&running.fetching);
        }
    }

    /// The keys that differ from `running` and need a restart to take effect.
    pub fn needs_restart(&self, running: &Self) -> Vec<&'static str> {
        let pairs = [
            ("listen", self.listen != running.listen),
            ("app", self.is_elsewhere(running)),
            ("stateDirectory", self.state_directory != running.state_directory),
            ("logging", self.logging != running.logging),
        ];
        let own = pairs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key);
        own.chain(self.backends.differences(&running.backends)).collect()
    }
}

/// Those of the environment that are secrets.
pub(crate) const SECRET_VARIABLES: [&str; 2] = [SECRET_VARIABLE, APP_SECRET_VARIABLE];

/// The value of a variable that may stand for a key of the file: a secret's, and no other.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|_| SECRET_VARIABLES.contains(&name))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })
}

/// The text of a secret's file; `maker` says how one that is not there is made.
fn read_secret(path: &Path, maker: &str) -> Result<String, ConfigError> {
    read(path).map_err(|error| match error {
        ConfigError::Unreadable { path, error } if error.kind() == std::io::ErrorKind::NotFound => {
            ConfigError::Unreadable { path, error: std::io::Error::new(error.kind(), format!("{error}; {maker}")) }
        }
        error => error,
    })
}

/// The cluster and the app that the file at `path` names, as far as it can be read and whether or not the rest of it is
/// right: it may name a secret that is about to be made.
pub(crate) fn names(path: &Path) -> (Option<ClusterName>, Option<url::Url>) {
    let Ok(text) = std::fs::read_to_string(path) else { return (None, None) };
    let options = serde_saphyr::options! { with_snippet: false };
    let file = serde_saphyr::from_str_with_options::<file::File>(&text, options);
    let Some(app) = file.ok().and_then(|file| file.app) else { return (None, None) };
    let url = match &app.url {
        file::OneOrMany::One(url) => url::Url::parse(url).ok(),
        file::OneOrMany::Many(_) => None,
    };
    (app.cluster, url)
}

/// The secrets that the app may send. Two, one on each line, while one replaces the other.
#[derive(Debug, Clone)]
pub struct SharedSecrets(Vec<Secret>);

impl SharedSecrets {
    const MOST: usize = 2;

    /// `None` if there is none, or are too many.
    fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let secrets = lines.map(Secret::new).collect::<Vec<_>>();
        (1..=Self::MOST).contains(&secrets.len()).then_some(Self(secrets))
    }

    /// Whether what the app sent is one of them, in constant time.
    pub fn admit(&self, token: &str) -> bool {
        self.0.iter().fold(false, |admitted, secret| admitted | secret.matches(token))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter()
    }
}

fn secrets(
    file: &file::File,
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(SharedSecrets, Option<PathBuf>), ConfigError> {
    let (secrets, place) = match (environment(SECRET_VARIABLE), &file.gha_shared_secret_file) {
        (Some(secret), _) => (SharedSecrets::parse(&secret), None),
        (None, Some(name)) => {
            // As systemd's credentials and a file beside the configuration are named.
            let name = path.parent().map_or_else(|| name.clone(), |folder| folder.join(name));
            let maker = format!("(umask 027; openssl rand -hex 32 > {}) makes one", name.display());
            (SharedSecrets::parse(&read_secret(&name, &maker)?), Some(name))
        }
        (None, None) => {
            let Some(secret) = &file.gha_shared_secret else {
                return Err(invalid(
                    "ghaSharedSecret",
                    format!(
                        "no secret is set: set ghaSharedSecretFile, {SECRET_VARIABLE} or ghaSharedSecret; or, for a \
                         gateway that fetches its launches, set app.cluster and no listen"
                    ),
                ));
            };
            (SharedSecrets::parse(secret.expose()), Some(path.to_owned()))
        }
    };
    let Some(secrets) = secrets else {
        return Err(invalid(
            "ghaSharedSecret",
            format!(
                "one secret on a line, or two while one replaces the other: set ghaSharedSecretFile, {SECRET_VARIABLE} \
                 or ghaSharedSecret"
            ),
        ));
    };
    Ok((secrets, place))
}

fn check_job(job: &Job, own_template: bool) -> Result<(), ConfigError> {
    if job.runner.is_none() && !own_template {
        return Err(invalid(
            "job.runner",
            "name the folder or .tar.gz of GitHub's runner as the compute nodes see it (or bring a jobTemplate)",
        ));
    }
    let archive = job.runner.as_deref().is_some_and(|runner| runner.ends_with(".tar.gz"));
    match &job.runner_sha256 {
        Some(sum) if sum.len() != 64 || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            return Err(invalid("job.runnerSha256", "64 hexadecimal digits"));
        }
        None if archive => {
            return Err(invalid("job.runnerSha256", "needed for an archive; GitHub's release page has it"));
        }
        _ => {}
    }
    for (key, value) in [("job.idleSeconds", job.idle_seconds), ("job.retrySeconds", job.retry_seconds)] {
        if !(1..=86_400).contains(&value) {
            return Err(invalid(key, "from 1 to 86400"));
        }
    }
    if !(1..=3600).contains(&job.grace_seconds) {
        return Err(invalid("job.graceSeconds", "from 1 to 3600"));
    }
    let paths = [
        ("job.output", Some(&job.output)),
        ("job.directory", Some(&job.directory)),
        ("job.scratch", job.scratch.as_ref()),
        ("job.runner", job.runner.as_ref()),
        ("job.caFile", job.ca_file.as_ref()),
        ("job.hooks.started", job.hooks.started.as_ref()),
        ("job.hooks.completed", job.hooks.completed.as_ref()),
    ];
    for (key, path) in paths {
        if path.is_some_and(|path| !(path.starts_with('/') || path.starts_with("{home}")) || !plain_path(path)) {
            return Err(invalid(key, "an absolute path of letters, digits and -_./%{}@+"));
        }
    }
    let hooks = [("job.hooks.started", &job.hooks.started), ("job.hooks.completed", &job.hooks.completed)];
    if let Some((key, _)) = hooks.iter().find(|(_, hook)| hook.as_ref().is_some_and(|hook| !hook.ends_with(".sh"))) {
        return Err(invalid(*key, "GitHub's runner takes a script whose name ends in .sh"));
    }
    job.comment.as_deref().map_or(Ok(()), comment::check)?;
    if !job.output.contains("%j") {
        return Err(invalid("job.output", "needs %j, so that each Slurm job has a file of its own"));
    }
    check_environment(&job.environment)
}

/// A path that no shell and no Slurm reads as anything else.
fn plain_path(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./%{}@+".contains(&byte))
}

fn check_environment(environment: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    for (name, value) in environment {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !plain || !name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
            return Err(invalid(format!("job.environment.{name}"), "not a name of an environment variable"));
        }
        if name.starts_with("GHA_SLURM_") {
            return Err(invalid(format!("job.environment.{name}"), "names with GHA_SLURM_ are the gateway's own"));
        }
        let hook = match name.as_str() {
            "ACTIONS_RUNNER_HOOK_JOB_STARTED" => {
                Some("the gateway's check of each job has it: name yours in job.hooks.started")
            }
            "ACTIONS_RUNNER_HOOK_JOB_COMPLETED" => Some("name it in job.hooks.completed"),
            _ => None,
        };
        if let Some(instead) = hook {
            return Err(invalid(format!("job.environment.{name}"), instead));
        }
        if value.contains(['\0', '\n']) {
            return Err(invalid(format!("job.environment.{name}"), "must be one line"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
