//! Slurm by its commands, for a site without slurmrestd.
//!
//! Each command runs as the mapped user by a prefix that the administrator chooses, directly, never by a shell. The
//! script goes in on standard input with its environment written into it as quoted data: options and environment
//! variables of a command can be seen by others, and a prefix such as sudo keeps neither.

use std::io;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::{Answer, Backend, BackendError, JobSpec, SlurmJobId, State, command};
use crate::config::Sbatch;
use crate::script;

const DEADLINE: Duration = Duration::from_secs(60);

/// Slurm's commands.
pub struct Commands {
    commands: Sbatch,
}

impl Commands {
    /// These commands.
    pub fn new(commands: Sbatch) -> Self {
        Self { commands }
    }

    async fn run(&self, words: &[String], user: &str, more: &[String], input: &str) -> Result<Output, BackendError> {
        let mut words = words.iter().map(|word| word.replace("{user}", user));
        let program = words.next().unwrap_or_default();
        let outage = |error: io::Error| BackendError::Outage(format!("{program}: {error}"));
        let mut child = command(&program)
            .args(words)
            .args(more)
            // Not the gateway's own folder, which the user may not enter.
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(outage)?;
        let stdin = child.stdin.take();
        let whole = async {
            if let Some(mut stdin) = stdin {
                // A command that ends without reading says why by itself.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
            child.wait_with_output().await
        };
        match tokio::time::timeout(DEADLINE, whole).await {
            Ok(output) => output.map_err(outage),
            Err(_) => Err(BackendError::Outage(format!("{program} does not end"))),
        }
    }

    async fn submit(&self, job: &JobSpec) -> Result<SlurmJobId, BackendError> {
        let script = script::with_environment(job);
        let output = self.run(&self.commands.sbatch, &job.user, &options(job), &script).await?;
        if !output.status.success() {
            return Err(failure("sbatch", output.status, &output.stderr));
        }
        // `17` or `17;cluster`.
        let printed = String::from_utf8_lossy(&output.stdout);
        let id = printed.lines().last().and_then(|line| line.split(';').next()?.trim().parse().ok());
        id.ok_or_else(|| BackendError::Outage("sbatch printed no job id".to_owned()))
    }

    async fn squeue(&self, user: &str, options: &[&str]) -> Result<String, BackendError> {
        let options: Vec<String> = options.iter().map(|word| (*word).to_owned()).collect();
        let output = self.run(&self.commands.squeue, user, &options, "").await?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(failure("squeue", output.status, &output.stderr)),
        }
    }
}

/// The options of sbatch. None of them is a secret.
fn options(job: &JobSpec) -> Vec<String> {
    let asked = &job.resources;
    let mut options = vec![
        "--parsable".to_owned(),
        "--export=NIL".to_owned(),
        "--no-requeue".to_owned(),
        format!("--job-name={}", job.name),
        format!("--comment={}", job.comment),
        format!("--output={}", job.output),
        format!("--error={}", job.output),
        format!("--chdir={}", job.directory),
    ];
    let named = [
        ("partition", asked.partition.clone().map(String::from)),
        ("account", job.account.clone().map(String::from)),
        ("qos", job.qos.clone().map(String::from)),
        ("cpus-per-task", asked.cpus.map(|cpus| cpus.to_string())),
        ("mem", asked.memory.map(|memory| memory.to_string())),
        ("time", asked.time_limit.map(|limit| limit.to_string())),
        ("gres", asked.gres.clone().map(String::from)),
    ];
    options.extend(named.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", value?))));
    if asked.exclusive {
        options.push("--exclusive".to_owned());
    }
    options
}

/// What the commands say when Slurm could not be asked, or its answer was lost.
const OUTAGE: [&str; 11] = [
    "Unable to contact",
    "Communication",
    "Connection",
    "connect failure",
    "timed out",
    "try again",
    "temporarily",
    "standby",
    "authentication",
    "Zero Bytes",
    "configuration source",
];

/// The commands tell everything by the same status; the words tell a refusal apart (slurm_errno.h). What is not known is
/// an outage: then Slurm is asked for the job before it is submitted again.
fn failure(tool: &str, status: ExitStatus, stderr: &[u8]) -> BackendError {
    let words = String::from_utf8_lossy(stderr);
    let words = words.trim().chars().take(400).collect::<String>();
    let says = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
    let refused = says(&["Batch job submission failed", "nvalid ", "not permitted", "ermission denied"]);
    if refused && status.code() == Some(1) && !says(&OUTAGE) {
        return BackendError::Refused(words);
    }
    BackendError::Outage(format!("{tool}: {status}, {words}"))
}

fn unknown(error: &BackendError) -> bool {
    matches!(error, BackendError::Refused(words) if words.contains("Invalid job id"))
}

impl Backend for Commands {
    fn submit<'a>(&'a self, job: &'a JobSpec) -> Answer<'a, SlurmJobId> {
        Box::pin(self.submit(job))
    }

    fn find<'a>(&'a self, user: &'a str, name: &'a str) -> Answer<'a, Option<SlurmJobId>> {
        Box::pin(async move {
            let (of, named) = (format!("--user={user}"), format!("--name={name}"));
            let printed = self.squeue(user, &["--noheader", "--states=all", "--format=%A", &of, &named]).await?;
            Ok(printed.lines().filter_map(|line| line.trim().parse().ok()).max())
        })
    }

    fn state<'a>(&'a self, user: &'a str, job: SlurmJobId) -> Answer<'a, Option<State>> {
        Box::pin(async move {
            let one = format!("--jobs={job}");
            match self.squeue(user, &["--noheader", "--states=all", "--format=%T|%r", &one]).await {
                Ok(printed) => Ok(printed.lines().next().map(|line| {
                    let (state, reason) = line.split_once('|').unwrap_or((line, ""));
                    State::new(state, Some(reason))
                })),
                Err(error) if unknown(&error) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    fn cancel<'a>(&'a self, user: &'a str, job: SlurmJobId) -> Answer<'a, ()> {
        Box::pin(async move {
            let output = self.run(&self.commands.scancel, user, &[job.to_string()], "").await?;
            match output.status.success() {
                true => Ok(()),
                false => match failure("scancel", output.status, &output.stderr) {
                    error if unknown(&error) => Ok(()),
                    error => Err(error),
                },
            }
        })
    }

    fn probe<'a>(&'a self, user: &'a str) -> Answer<'a, String> {
        Box::pin(async move {
            let of = format!("--user={user}");
            self.squeue(user, &["--noheader", "--format=%A", &of]).await?;
            Ok("squeue answers".to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn only_a_known_refusal_is_one() {
        let told = |code: i32, words: &str| failure("sbatch", ExitStatus::from_raw(code << 8), words.as_bytes());
        for words in [
            "sbatch: error: invalid partition specified: nowhere\nsbatch: error: Batch job submission failed: Invalid partition name specified",
            "sbatch: error: Batch job submission failed: Requested node configuration is not available",
            "slurm_load_jobs error: Invalid job id specified",
        ] {
            assert!(matches!(told(1, words), BackendError::Refused(_)), "{words}");
        }
        for words in [
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
            "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received",
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
            "sbatch: fatal: Could not establish a configuration source",
            "sbatch: command not found",
            "",
        ] {
            assert!(matches!(told(1, words), BackendError::Outage(_)), "{words}");
        }
        assert!(matches!(told(127, "Batch job submission failed: x"), BackendError::Outage(_)));
    }

    #[tokio::test]
    async fn a_command_does_not_see_the_gateways_secret() {
        // Set in this process for as long as it runs; no other test reads it.
        let output = command("env").env("KEPT", "yes").output().await.unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("KEPT=yes"));
        let removed = command("env")
            .as_std()
            .get_envs()
            .any(|(name, value)| name == crate::config::SECRET_VARIABLE && value.is_none());
        assert!(removed, "whatever the gateway was started with");
    }
}
