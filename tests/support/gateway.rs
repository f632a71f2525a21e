//! The gateway as shipped, in a process of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::GATEWAY_SECRET;

pub(crate) struct GatewayProcess {
    child: Child,
    pub(crate) url: String,
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl GatewayProcess {
    /// Starts it by that configuration; `folder` is its state's and its log's.
    pub(crate) fn start(folder: &Path, yaml: &str) -> Self {
        let mut child = Self::spawn(folder, yaml);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("the gateway listens");
        Self { url: format!("http://{address}"), child }
    }

    /// Starts one that fetches and where nothing listens.
    pub(crate) fn start_fetching(folder: &Path, yaml: &str) -> Self {
        Self { child: Self::spawn(folder, yaml), url: String::new() }
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(mut self) {
        let _ = self.child.kill();
    }

    fn spawn(folder: &Path, yaml: &str) -> Child {
        let config = folder.join("gateway.yaml");
        std::fs::write(&config, yaml).unwrap();
        // Built with the workspace, beside the host.
        let program = Path::new(env!("CARGO_BIN_EXE_gha-slurm")).with_file_name("gha-slurm-gateway");
        assert!(program.exists(), "build the gateway as well: cargo test --workspace");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("gateway.log")).unwrap();
        Command::new(program).arg("--config").arg(config).stdout(Stdio::piped()).stderr(log).spawn().unwrap()
    }

    /// What it says of a launch's Slurm job.
    pub(crate) async fn slurm_job(&self, launch: &str) -> Value {
        let url = format!("{}/runner/{launch}", self.url);
        let asked = reqwest::Client::new().get(url).header("auth-token", GATEWAY_SECRET).send().await.unwrap();
        asked.json().await.unwrap()
    }
}
