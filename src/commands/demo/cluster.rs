//! The Slurm side: the real gateway in its own process, with its `local` backend, and the job script that Slurm would
//! run. If bash, curl or `/proc` is missing, the simulated gateway takes its place, and the demo says so.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::gateway::Gateway as Simulated;
use gha_slurm_simulator::github::GitHub;
use gha_slurm_simulator::runner;
use tempfile::TempDir;
use tokio::process::Command;

use super::policy::ADA;
use super::process::{Part, Process};
use super::{IDLE_LIMIT, REPOSITORY, private_file};

pub(super) const START_DEADLINE: Duration = Duration::from_secs(20);

/// Ends with its owner, and with all that it started.
pub(super) struct Gateway {
    url: String,
    /// Its process, and the folder with its configuration, runner and work; `None` if it is simulated.
    shipped: Option<(Process, TempDir)>,
}

/// What the job script needs and this machine does not have.
pub(super) fn missing() -> Option<&'static str> {
    let found = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    };
    if !Path::new("/proc/self/fd").exists() {
        return Some("Linux");
    }
    ["bash", "curl", "setsid"].into_iter().find(|program| !found(program))
}

/// Writes a gateway's configuration into a folder of its own, beside the runner and the places that it names; its path.
/// How launches come to it stands in `way`, as YAML. The local backend runs everything as this user.
pub(super) fn configure(here: &Path, way: &str, github: &GitHub) -> anyhow::Result<PathBuf> {
    runner::install(&here.join("runner"))?;
    std::fs::create_dir(here.join("scratch"))?;
    let yaml = format!(
        "{way}\nbackend: local\nstateDirectory: {}\n\
         repositories: [{{gitHubURL: 'https://github.com/{REPOSITORY}', slurmUser: demo}}]\n\
         people: {{table: {{ada-lovelace: {{id: {ADA}, slurmUsers: [ada]}}}}}}\n\
         job: {{runner: {}, scratch: {}, idleSeconds: {}, environment: {{{}: '{}'}}}}\n",
        quoted(here)?,
        quoted(&here.join("runner"))?,
        quoted(&here.join("scratch"))?,
        IDLE_LIMIT.as_secs(),
        runner::GITHUB_VARIABLE,
        github.url(),
    );
    let config = here.join("gateway.yaml");
    private_file(&config, &yaml)?;
    Ok(config)
}

/// A path as YAML: JSON is YAML, and quotes whatever it may hold.
pub(super) fn quoted(path: &Path) -> serde_json::Result<String> {
    serde_json::to_string(&path.display().to_string())
}

impl Gateway {
    pub(super) async fn start(secret: &str, github: &GitHub) -> anyhow::Result<Self> {
        if missing().is_some() {
            // The wire reports what happens; the simulated gateway need not.
            let gateway = Simulated::start(secret, &github.url(), IDLE_LIMIT, Events::default()).await?;
            return Ok(Self { url: gateway.url(), shipped: None });
        }
        let folder = tempfile::Builder::new().prefix("gha-slurm-demo-").tempdir()?;
        let config = configure(folder.path(), &format!("listen: 127.0.0.1:0\nghaSharedSecret: {secret}"), github)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("gateway").arg("--config").arg(&config);
        let (process, first) = Part::new(command, "gateway", START_DEADLINE).start().await?;
        let address = first.strip_prefix("listening on ").context("the gateway listens nowhere")?;
        Ok(Self { url: format!("http://{address}"), shipped: Some((process, folder)) })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn last_log_lines(&self) -> String {
        self.shipped.as_ref().map(|(process, _)| process.last_log_lines()).unwrap_or_default()
    }
}
