//! The application in its own process, as `gha-slurm up`, with its secrets in its environment.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use gha_slurm::ticking;
use gha_slurm_simulator::github::{APP_ID, GitHub};
use gha_slurm_simulator::wire::Wire;
use tokio::process::Command;

use super::process::Process;
use crate::commands::random::random_secret;

/// The first start compiles the components for this machine.
const START_DEADLINE: Duration = Duration::from_secs(120);

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
        command.arg("up").arg("--from").arg(manifest);
        command.args(["--state-dir", "", "--listen", &address.to_string(), "--log-format", "human"]);
        for (name, value) in [
            ("GITHUB_APP_ID", APP_ID),
            ("GITHUB_PRIVATE_KEY", &github.private_key().unwrap_or_default()),
            ("GITHUB_WEBHOOK_SECRET", webhook_secret),
            ("GITHUB_API_URL", &github.url()),
            ("GATEWAY_URL", &wire.gateway_url()),
            ("GATEWAY_SECRET", gateway_secret),
            ("PUBLIC_URL", &wire.app_url()),
            ("PROFILES", profiles),
            ("ADMIN_TOKEN", &admin_token),
        ] {
            command.env(format!("SPIN_VARIABLE_{name}"), value);
        }
        let (process, _) = Process::start(command, "application", START_DEADLINE).await?;
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
