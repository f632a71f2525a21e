//! Commands of the site's, each with a deadline.
//!
//! A command such as runuser starts the one that does the work. So each runs in a process group of its own that is killed
//! whole, at the deadline and when nobody waits any more: an sbatch that lives on would submit a second time.

use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::config::SECRET_VARIABLES;

/// A command that may run as a mapped user, whose processes can read its environment: the gateway's secrets are not part
/// of that, nor what would set options of Slurm's commands or go on into the Slurm job.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for name in SECRET_VARIABLES {
        command.env_remove(name);
    }
    let slurms = |name: &str| name.starts_with("SLURM_") || name.starts_with("SBATCH_");
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in names.filter(|name| slurms(name) && name != "SLURM_CONF") {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end; `None` when it was killed at the deadline.
pub(super) async fn run(command: &mut Command, input: &str, deadline: Duration) -> io::Result<Option<Output>> {
    let mut child = command
        // Not the gateway's own folder, which the user may not enter.
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let mut group = Group::of(&child);
    let stdin = child.stdin.take();
    let whole = async {
        if let Some(mut stdin) = stdin {
            // A command that ends without reading says why by itself.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let ended = tokio::time::timeout(deadline, whole).await;
    if ended.is_ok() {
        group.leave();
    }
    ended.ok().transpose()
}

/// A process group that ends with its owner.
pub(crate) struct Group(Option<Pid>);

impl Group {
    /// The group of a child that leads one.
    pub(crate) fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    /// Its leader has ended, and with it what was waited for: its number may become another's.
    pub(crate) fn leave(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Fails only for a group that is gone, or whose processes are another user's (sudo).
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn at_the_deadline_all_that_it_started_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let late = folder.path().join("late");
        let script = format!("sh -c 'sleep 2; touch {}' & wait", late.display());
        let ended = run(command("sh").args(["-c", &script]), "", Duration::from_millis(300)).await;
        assert!(ended.unwrap().is_none());
        let waited_for = tokio::time::timeout(Duration::from_millis(300), async {
            run(command("sh").args(["-c", &script]), "", Duration::from_secs(60)).await
        });
        assert!(waited_for.await.is_err(), "nobody waits any more");
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert!(!late.exists());
    }

    #[tokio::test]
    async fn a_command_does_not_see_the_gateways_secrets() {
        // Set in this process for as long as it runs; no other test reads it.
        let output = command("env").env("KEPT", "yes").output().await.unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("KEPT=yes"));
        let command = command("env");
        let removed = |secret: &str| command.as_std().get_envs().any(|(name, value)| name == secret && value.is_none());
        assert!(SECRET_VARIABLES.iter().all(|name| removed(name)), "whatever the gateway was started with");
    }
}
