//! The application in its own process, as `gha-slurm up`, with its secrets in its environment.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use gha_slurm::ticking;
use gha_slurm_simulator::github::{APP_ID, GitHub};
use gha_slurm_simulator::wire::Wire;
use tokio::process::Command;

use super::process::{Part, Process};
use crate::commands::random::random_secret;

/// The first start compiles the components for this machine.
pub(super) const START_DEADLINE: Duration = Duration::from_secs(120);

/// What `gha-slurm` is told to serve it there, with its store in memory.
pub(super) fn arguments(manifest: &Path, address: SocketAddr, log_format: &str) -> Vec<OsString> {
    let (manifest, address) = (manifest.as_os_str().to_owned(), address.to_string());
    let fixed = ["--state-dir", "", "--listen", &address, "--log-format", log_format].map(OsString::from);
    ["up".into(), "--from".into(), manifest].into_iter().chain(fixed).collect()
}

/// The variables of every scenario, as they stand in its environment.
pub(super) fn variables(
    github: &GitHub,
    profiles: &str,
    webhook_secret: &str,
    admin_token: &str,
) -> [(&'static str, String); 6] {
    [
        ("SPIN_VARIABLE_GITHUB_APP_ID", APP_ID.to_owned()),
        ("SPIN_VARIABLE_GITHUB_PRIVATE_KEY", github.private_key().unwrap_or_default()),
        ("SPIN_VARIABLE_GITHUB_WEBHOOK_SECRET", webhook_secret.to_owned()),
        ("SPIN_VARIABLE_GITHUB_API_URL", github.url()),
        ("SPIN_VARIABLE_PROFILES", profiles.to_owned()),
        ("SPIN_VARIABLE_ADMIN_TOKEN", admin_token.to_owned()),
    ]
}

/// Ends with its last owner.
pub(super) struct Application {
    pub(super) url: String,
    address: SocketAddr,
    admin_token: String,
    process: Process,
}

impl Application {
    pub(super) async fn start(
        manifest: &Path,
        github: &GitHub,
        wire: &Wire,
        profiles: &str,
        webhook_secret: &str,
        gateway_secret: &str,
    ) -> anyhow::Result<Self> {
        // The application has to know its address before it listens there.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let url = format!("http://{address}");
        let admin_token = random_secret()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments(manifest, address, "human"));
        command.envs(variables(github, profiles, webhook_secret, &admin_token));
        for (name, value) in
            [("GATEWAY_URL", &*wire.gateway_url()), ("GATEWAY_SECRET", gateway_secret), ("PUBLIC_URL", &wire.app_url())]
        {
            command.env(format!("SPIN_VARIABLE_{name}"), value);
        }
        let (process, _) = Part::new(command, "application", START_DEADLINE).start().await?;
        wire.connect_app(&url);
        Ok(Self { url, address, admin_token, process })
    }

    /// Runs the periodic repair now instead of in 30 s.
    pub(super) async fn tick(&self) -> anyhow::Result<()> {
        let status = ticking::tick(self.address, &self.admin_token).await?;
        anyhow::ensure!(status == 200, "the tick was answered with {status}");
        Ok(())
    }

    pub(super) fn last_log_lines(&self) -> String {
        self.process.last_log_lines()
    }
}
