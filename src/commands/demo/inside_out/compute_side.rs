//! The compute side as its owner holds it: app, gateway and all that they start, in a network of its own where that is
//! possible.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use anyhow::Context;
use gha_slurm_core::cluster::digest;
use gha_slurm_simulator::github::GitHub;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::inside::{Orders, Program};
use super::lines::AuditLog;
use super::namespace;
use super::network::Network;
use super::relay::{End, Way};
use crate::commands::demo::process::{Log, Part, Process};
use crate::commands::demo::{application, cluster, private_file};
use crate::commands::random::random_secret;

pub(super) const CLUSTER: &str = "alps";

/// Ends with its owner, and with all that it started.
pub(super) struct ComputeSide {
    /// Where the app listens, there.
    pub(super) app: SocketAddr,
    /// Why it has no network of its own, where it has none.
    pub(super) shared: Option<String>,
    pub(super) network: Network,
    /// The lines of both logs, as they come.
    pub(super) log: UnboundedReceiver<String>,
    pub(super) audit: AuditLog,
    process: Process,
    _end: Option<End>,
    _folder: TempDir,
}

impl ComputeSide {
    pub(super) async fn start(manifest: &Path, github: &GitHub, webhook_secret: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("gha-slurm-demo-").tempdir()?;
        let here = folder.path();
        // Free where GitHub is, so it differs from GitHub's there as well.
        let app = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let secret = random_secret()?;
        let shared = namespace::impossible().await;
        let way = match shared {
            None => Some(Way { address: github_address(github)?, socket: here.join("github") }),
            Some(_) => None,
        };
        let end = way.as_ref().map(Way::arrive).transpose()?;

        let audit = here.join("audit.jsonl");
        private_file(&here.join("app-secret"), &secret)?;
        let fetching = format!(
            "app: {{url: 'http://{app}', cluster: {CLUSTER}, secretFile: app-secret}}\nauditLog: {}",
            cluster::quoted(&audit)?
        );
        let config = cluster::configure(here, &fetching, github)?;
        let gateway = Program {
            arguments: vec!["gateway".into(), "--config".into(), config.into()],
            environment: BTreeMap::new(),
        };

        let variables = application::variables(github, "", webhook_secret, &random_secret()?);
        let clusters =
            format!("[[cluster]]\nname = '{CLUSTER}'\nreach = 'fetch'\nsecret_sha256 = '{}'\n", digest(&secret));
        let of_this_kind = [
            ("SPIN_VARIABLE_PUBLIC_URL", format!("http://{app}")),
            ("SPIN_VARIABLE_CLUSTERS", clusters),
            ("SPIN_VARIABLE_WEBHOOKS", "poll".to_owned()),
            ("SPIN_VARIABLE_POLL_SECONDS", "1".to_owned()),
        ];
        let all = variables.into_iter().chain(of_this_kind).map(|(name, value)| (name.to_owned(), value));
        let served = Program { arguments: application::arguments(manifest, app, "json"), environment: all.collect() };
        let orders = serde_json::to_string(&Orders { way, app: served, gateway })?;

        let program = std::env::current_exe()?;
        let mut command = match shared {
            None => namespace::command(&program),
            Some(_) => Command::new(&program),
        };
        command.arg("compute-side");
        let (heard, log) = unbounded_channel();
        let deadline = application::START_DEADLINE + cluster::START_DEADLINE;
        let part = Part { log: Log::Heard(heard), input: Some(orders), ..Part::new(command, "compute side", deadline) };
        let (process, network) = part.start().await?;
        let network = serde_json::from_str(&network).context("the compute side does not say what its network is")?;
        Ok(Self { app, shared, network, log, audit: AuditLog::new(audit), process, _end: end, _folder: folder })
    }

    /// A process whose namespaces are its own.
    pub(super) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    pub(super) fn last_log_lines(&self) -> String {
        self.process.last_log_lines()
    }
}

fn github_address(github: &GitHub) -> anyhow::Result<SocketAddr> {
    Ok(github.url().trim_start_matches("http://").parse()?)
}
