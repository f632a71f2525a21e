//! A part of the demo in its own process: it is started, waited for until it listens, and ended with its owner; the last
//! lines of its log are kept.

use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const KEPT_LINES: usize = 20;
/// How long it may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct Process {
    log: Arc<Mutex<VecDeque<String>>>,
    child: Child,
}

impl Process {
    /// Starts a command, and returns what follows its `listening on `.
    pub(super) async fn start(mut command: Command, name: &str, deadline: Duration) -> anyhow::Result<(Self, String)> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start the {name}"))?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let stderr = child.stderr.take().with_context(|| format!("the {name} has no stderr"))?;
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
        let stdout = child.stdout.take().with_context(|| format!("the {name} has no stdout"))?;
        let mut lines = BufReader::new(stdout).lines();
        let process = Self { log, child };
        let listens = async {
            while let Some(line) = lines.next_line().await.ok().flatten() {
                if let Some(address) = line.strip_prefix("listening on ") {
                    return Some(address.trim().to_owned());
                }
            }
            None
        };
        match tokio::time::timeout(deadline, listens).await {
            Ok(Some(address)) => {
                // What it prints later has to be read too, or a full pipe would stop it.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                Ok((process, address))
            }
            _ => {
                // Its last lines may still be on their way.
                tokio::time::sleep(Duration::from_millis(200)).await;
                anyhow::bail!("the {name} does not start:\n{}", process.last_log_lines())
            }
        }
    }

    pub(super) fn last_log_lines(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) else { return };
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
