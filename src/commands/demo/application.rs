//! The application in a process of its own, as `gha-slurm up`, with its secrets in its environment.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use gha_slurm::ticking;
use gha_slurm_simulator::gateway::Gateway;
use gha_slurm_simulator::github::{APP_ID, GitHub};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const KEPT_LINES: usize = 20;
/// The first start compiles the components for this machine.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// Ends with its last owner.
pub(super) struct Application {
    pub(super) url: String,
    address: SocketAddr,
    admin_token: String,
    log: Arc<Mutex<VecDeque<String>>>,
    _process: Child,
}

impl Application {
    pub(super) async fn start(
        manifest: &Path,
        github: &GitHub,
        gateway: &Gateway,
        webhook_secret: &str,
        gateway_secret: &str,
    ) -> anyhow::Result<Self> {
        // The application has to know its own address before it listens there.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let url = format!("http://{address}");
        let admin_token = random_secret()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("up").arg("--from").arg(manifest);
        command.args(["--state-dir", "", "--listen", &address.to_string()]);
        for (name, value) in [
            ("GITHUB_APP_ID", APP_ID),
            ("GITHUB_PRIVATE_KEY", &github.private_key().unwrap_or_default()),
            ("GITHUB_WEBHOOK_SECRET", webhook_secret),
            ("GITHUB_API_URL", &github.url()),
            ("GATEWAY_URL", &gateway.url()),
            ("GATEWAY_SECRET", gateway_secret),
            ("PUBLIC_URL", &url),
            ("PROFILES", ""),
            ("ADMIN_TOKEN", &admin_token),
        ] {
            command.env(format!("SPIN_VARIABLE_{name}"), value);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("cannot start the application")?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let stderr = process.stderr.take().context("the application has no stderr")?;
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_back(line);
                if kept.len() > KEPT_LINES {
                    kept.pop_front();
                }
            }
        });
        let stdout = process.stdout.take().context("the application has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let app = Self { url, address, admin_token, log, _process: process };
        match tokio::time::timeout(START_DEADLINE, lines.next_line()).await {
            Ok(Ok(Some(line))) if line.starts_with("listening on") => Ok(app),
            _ => {
                // Its last words may still be on their way.
                tokio::time::sleep(Duration::from_millis(200)).await;
                anyhow::bail!("the application does not start:\n{}", app.last_log_lines())
            }
        }
    }

    /// Runs the periodic repair now instead of in 30 s.
    pub(super) async fn tick(&self) -> anyhow::Result<()> {
        let status = ticking::tick(self.address, &self.admin_token).await?;
        anyhow::ensure!(status == 200, "the tick was answered with {status}");
        Ok(())
    }

    pub(super) fn last_log_lines(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }
}

/// 160 random bits.
pub(super) fn random_secret() -> anyhow::Result<String> {
    let mut bytes = [0; 20];
    getrandom::getrandom(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
