//! A part of the demo in its own process: it is started, waited for until it says on its standard output that it is there,
//! and ended with its owner; the last lines of its log are kept.

use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc::UnboundedSender;

const KEPT_LINES: usize = 20;
/// How long it may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is started.
pub(super) struct Part {
    pub(super) command: Command,
    /// For people.
    pub(super) name: &'static str,
    /// Until when it has to be there.
    pub(super) deadline: Duration,
    pub(super) log: Log,
    /// The first line of its standard input, which then stays open for as long as its owner lives.
    pub(super) input: Option<String>,
}

/// Where the log of a part goes.
pub(super) enum Log {
    /// Its last lines are kept.
    Kept,
    /// So are they here, and each line is passed on.
    Heard(UnboundedSender<String>),
    /// To the log of this process.
    Inherited,
}

pub(super) struct Process {
    log: Arc<Mutex<VecDeque<String>>>,
    child: Child,
}

impl Part {
    /// Its log is kept, and it reads nothing.
    pub(super) fn new(command: Command, name: &'static str, deadline: Duration) -> Self {
        Self { command, name, deadline, log: Log::Kept, input: None }
    }

    /// Starts it, and returns the first line that it prints: it is there.
    pub(super) async fn start(self) -> anyhow::Result<(Process, String)> {
        let Self { mut command, name, deadline, log, input } = self;
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).kill_on_drop(true);
        command.stderr(if matches!(log, Log::Inherited) { Stdio::inherit() } else { Stdio::piped() });
        let mut child = command.spawn().with_context(|| format!("cannot start the {name}"))?;
        let kept = Arc::default();
        if let Some(stderr) = child.stderr.take() {
            let heard = if let Log::Heard(heard) = log { Some(heard) } else { None };
            tokio::spawn(keep(BufReader::new(stderr).lines(), Arc::clone(&kept), heard));
        }
        let stdout = child.stdout.take().with_context(|| format!("the {name} has no stdout"))?;
        let mut lines = BufReader::new(stdout).lines();
        let mut process = Process { log: kept, child };
        if let (Some(input), Some(stdin)) = (input, &mut process.child.stdin) {
            stdin.write_all(format!("{input}\n").as_bytes()).await?;
        }
        match tokio::time::timeout(deadline, lines.next_line()).await {
            Ok(Ok(Some(first))) => {
                // What it prints later has to be read too, or a full pipe would stop it.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                Ok((process, first))
            }
            _ => {
                // Its last lines may still be on their way.
                tokio::time::sleep(Duration::from_millis(200)).await;
                anyhow::bail!("the {name} does not start:\n{}", process.last_log_lines())
            }
        }
    }
}

async fn keep(
    mut lines: Lines<BufReader<ChildStderr>>,
    kept: Arc<Mutex<VecDeque<String>>>,
    heard: Option<UnboundedSender<String>>,
) {
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(heard) = &heard {
            // Nobody has to listen any more.
            let _ = heard.send(line.clone());
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(line);
        if kept.len() > KEPT_LINES {
            kept.pop_front();
        }
    }
}

impl Process {
    /// `None` when it has ended.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    pub(super) fn last_log_lines(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) else { return };
        drop(self.child.stdin.take());
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
