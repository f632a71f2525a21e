//! Commands of the site's, each with a deadline.
//!
//! A command such as runuser starts the one that does the work. So each runs in a process group of its own that is killed
//! whole, at the deadline and when nobody waits any more: an sbatch that lives on would submit a second time. One that
//! cannot be killed, such as sudo's, is waited for: [`Unended`].

use std::collections::HashMap;
use std::io;
use std::process::{Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
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
    Running::start(command)?.end(input, deadline).await
}

/// A command that was started.
pub(super) struct Running {
    child: Child,
    group: Group,
}

impl Running {
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let child = command
            // Not the gateway's own folder, which the user may not enter.
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = Group::of(&child);
        Ok(Self { child, group })
    }

    /// `None` when it was killed at the deadline.
    pub(super) async fn end(self, input: &str, deadline: Duration) -> io::Result<Option<Output>> {
        let Self { mut child, mut group } = self;
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
}

/// Commands that were not seen to end, by what each was for. Whatever it did may come to be later, so nothing of the kind
/// is begun before it has ended.
#[derive(Default)]
pub(super) struct Unended(Mutex<HashMap<String, Pid>>);

impl Unended {
    /// More are looked through for those that have ended.
    const MANY: usize = 100;
    /// A process that was killed is gone at once, unless it waits for a disk.
    const WAIT: Duration = Duration::from_secs(5);

    fn groups(&self) -> MutexGuard<'_, HashMap<String, Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a command from its start on: its caller may stop waiting for it.
    pub(super) fn begin(&self, what: &str, running: &Running) {
        let Some(group) = running.group.0 else { return };
        let mut groups = self.groups();
        if groups.len() >= Self::MANY {
            groups.retain(|_, group| lives(*group));
        }
        groups.insert(what.to_owned(), group);
    }

    /// It was seen to end.
    pub(super) fn ended(&self, what: &str) {
        self.groups().remove(what);
    }

    /// Waits for the end of the one before; whether it has ended.
    pub(super) async fn wait(&self, what: &str) -> bool {
        let Some(group) = self.groups().get(what).copied() else { return true };
        let gone = async {
            while lives(group) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let ended = tokio::time::timeout(Self::WAIT, gone).await.is_ok();
        if ended {
            self.ended(what);
        }
        ended
    }
}

/// Whether anything of a process group may still do something. A zombie does not, though nobody may ever fetch its end.
fn lives(group: Pid) -> bool {
    if killpg(group, None) == Err(Errno::ESRCH) {
        return false;
    }
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = processes.filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok());
    // `17 (name) S 1 17 …`: the state, the parent, the group. The name may be anything.
    let own = stats.filter_map(|stat| {
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let (state, of) = (fields.next()?.to_owned(), fields.nth(1)?.parse::<i32>().ok()?);
        (of == group.as_raw()).then_some(matches!(state.as_str(), "Z" | "X"))
    });
    let dead: Vec<bool> = own.collect();
    // Where other users' processes are hidden, it is there without being seen.
    dead.is_empty() || dead.contains(&false)
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
    async fn one_that_was_given_up_is_waited_for() {
        let unended = Unended::default();
        assert!(unended.wait("1-1").await, "there was none");
        let running = Running::start(command("sleep").arg("60")).unwrap();
        unended.begin("1-1", &running);
        assert!(lives(running.group.0.unwrap()));
        let given_up = tokio::time::timeout(Duration::from_millis(100), running.end("", Duration::from_secs(60)));
        assert!(given_up.await.is_err());
        assert!(unended.wait("1-1").await, "killed, and gone");
        // As what sudo started: it is not ours to kill.
        let mut child = command("sleep").arg("60").process_group(0).spawn().unwrap();
        let group = Pid::from_raw(child.id().unwrap().try_into().unwrap());
        unended.groups().insert("1-1".to_owned(), group);
        let (ended, _) = tokio::join!(unended.wait("1-1"), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(lives(group));
            child.start_kill()
        });
        // A zombie, until its end is fetched.
        assert!(ended && !lives(group));
        child.wait().await.unwrap();
        assert!(unended.groups().is_empty());
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
