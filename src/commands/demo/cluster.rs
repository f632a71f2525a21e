//! The Slurm side: the real gateway in its own process, with its `local` backend, and the job script that Slurm would
//! run. If bash, curl or `/proc` is missing, the simulated gateway takes its place, and the demo says so.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::gateway::Gateway as Simulated;
use gha_slurm_simulator::github::GitHub;
use gha_slurm_simulator::runner;
use tempfile::TempDir;
use tokio::process::Command;

use super::policy::ADA;
use super::process::Process;
use super::{IDLE_LIMIT, REPOSITORY};

const START_DEADLINE: Duration = Duration::from_secs(20);

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

impl Gateway {
    pub(super) async fn start(secret: &str, github: &GitHub) -> anyhow::Result<Self> {
        if missing().is_some() {
            // The wire reports what happens; the simulated gateway need not.
            let gateway = Simulated::start(secret, &github.url(), IDLE_LIMIT, Events::default()).await?;
            return Ok(Self { url: gateway.url(), shipped: None });
        }
        let folder = tempfile::Builder::new().prefix("gha-slurm-demo-").tempdir()?;
        let here = folder.path();
        runner::install(&here.join("runner"))?;
        std::fs::create_dir(here.join("scratch"))?;
        let (place, github) = (serde_json::to_string(&here.display().to_string())?, github.url());
        let under = |name: &str| serde_json::to_string(&here.join(name).display().to_string());
        // JSON is YAML, and quotes whatever a path may hold. The local backend runs everything as this user.
        let yaml = format!(
            "listen: 127.0.0.1:0\nghaSharedSecret: {secret}\nbackend: local\nstateDirectory: {place}\n\
             repositories: [{{gitHubURL: 'https://github.com/{REPOSITORY}', slurmUser: demo}}]\n\
             people: {{table: {{ada-lovelace: {{id: {ADA}, slurmUsers: [ada]}}}}}}\n\
             job: {{runner: {}, scratch: {}, idleSeconds: {}, environment: {{{}: '{github}'}}}}\n",
            under("runner")?,
            under("scratch")?,
            IDLE_LIMIT.as_secs(),
            runner::GITHUB_VARIABLE,
        );
        let config = here.join("gateway.yaml");
        std::fs::write(&config, yaml)?;
        std::fs::set_permissions(&config, PermissionsExt::from_mode(0o600))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("gateway").arg("--config").arg(&config);
        let (process, address) = Process::start(command, "gateway", START_DEADLINE).await?;
        Ok(Self { url: format!("http://{address}"), shipped: Some((process, folder)) })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn last_log_lines(&self) -> String {
        self.shipped.as_ref().map(|(process, _)| process.last_log_lines()).unwrap_or_default()
    }
}
