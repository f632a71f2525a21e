//! Slurm by its commands, for a site without slurmrestd.
//!
//! Each command runs as the mapped user by a prefix that the administrator chooses, directly, never by a shell. The
//! script goes in on standard input and holds no secret, because Slurm shows it to all jobs of its user. The Slurm job's
//! environment goes in one variable, [`EXPORTS`], which `--export` names: a command's options can be seen by everybody,
//! its environment by root and its own user.
//!
//! What a command prints may begin with a banner of the site's; only what has the expected form is read.

use std::io;
use std::process::{ExitStatus, Output};
use std::time::Duration;

use gha_slurm_protocol::slurm_job::one_state;

use super::asked::asked;
use super::command::{command, run};
use super::{BackendError, JobSpec, OwnJob, SlurmJobId, State};
use crate::config::Sbatch;
use crate::script::{self, EXPORTS};

/// Within the deadline of the request that waits for it.
const DEADLINE: Duration = Duration::from_secs(45);

/// Slurm's commands.
pub struct Commands {
    commands: Sbatch,
}

impl Commands {
    /// These commands.
    pub fn new(commands: Sbatch) -> Self {
        Self { commands }
    }

    async fn run(
        &self,
        words: &[String],
        user: &str,
        more: &[String],
        (input, exports): (&str, Option<&str>),
    ) -> Result<Output, BackendError> {
        let mut words = words.iter().map(|word| word.replace("{user}", user));
        let program = words.next().unwrap_or_default();
        let outage = |error: io::Error| BackendError::Outage(format!("{program}: {error}"));
        let mut command = command(&program);
        command.args(words).args(more).envs(exports.map(|value| (EXPORTS, value)));
        let output = run(&mut command, input, DEADLINE).await.map_err(outage)?;
        output.ok_or_else(|| BackendError::Outage(format!("{program} does not end")))
    }

    pub(super) async fn submit(&self, job: &JobSpec) -> Result<SlurmJobId, BackendError> {
        let script = script::with_import(&job.script);
        let exports = script::exports(&job.environment);
        let input = (script.as_str(), Some(exports.as_str()));
        let output = self.run(&self.commands.sbatch, &job.user, &options(job), input).await?;
        if !output.status.success() {
            return Err(failure("sbatch", output.status, &output.stderr));
        }
        let id = submitted(&String::from_utf8_lossy(&output.stdout));
        id.ok_or_else(|| BackendError::Outage("sbatch printed no job id".to_owned()))
    }

    async fn squeue(&self, user: &str, options: &[&str]) -> Result<String, BackendError> {
        let options: Vec<String> = options.iter().map(|word| (*word).to_owned()).collect();
        let output = self.run(&self.commands.squeue, user, &options, ("", None)).await?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(failure("squeue", output.status, &output.stderr)),
        }
    }

    pub(super) async fn find(&self, user: &str, name: &str) -> Result<Option<SlurmJobId>, BackendError> {
        let (of, named) = (format!("--user={user}"), format!("--name={name}"));
        let printed = self.squeue(user, &["--noheader", "--states=all", "--format=%A", &of, &named]).await?;
        Ok(printed.lines().filter_map(|line| line.trim().parse().ok()).max())
    }

    pub(super) async fn state(&self, job: OwnJob<'_>) -> Result<Option<State>, BackendError> {
        // By all three, so that another's Slurm job with this id is not shown.
        let (of, named) = (format!("--user={}", job.user), format!("--name={}", job.name));
        let one = format!("--jobs={}", job.id);
        let asked = ["--noheader", "--states=all", "--format=%T|%r", &of, &named, &one];
        match self.squeue(job.user, &asked).await {
            Ok(printed) => Ok(printed.lines().rev().find_map(state)),
            Err(error) if unknown(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn cancel(&self, job: OwnJob<'_>) -> Result<(), BackendError> {
        let words = [format!("--user={}", job.user), format!("--name={}", job.name), job.id.to_string()];
        let output = self.run(&self.commands.scancel, job.user, &words, ("", None)).await?;
        match output.status.success() {
            true => Ok(()),
            false => match failure("scancel", output.status, &output.stderr) {
                error if unknown(&error) => Ok(()),
                error => Err(error),
            },
        }
    }

    pub(super) async fn probe(&self, user: &str) -> Result<String, BackendError> {
        let of = format!("--user={user}");
        self.squeue(user, &["--noheader", "--format=%A", &of]).await?;
        Ok("squeue answers".to_owned())
    }
}

/// The id in what sbatch printed: the last line of the form `17` or `17;cluster`.
fn submitted(printed: &str) -> Option<SlurmJobId> {
    printed.lines().rev().find_map(|line| line.split(';').next()?.trim().parse().ok())
}

/// A line of the form `STATE|reason`. Slurm's words for states have no blanks and no digits.
fn state(line: &str) -> Option<State> {
    let (states, reason) = line.split_once('|')?;
    let word = |byte: u8| byte.is_ascii_alphabetic() || b"_+,".contains(&byte);
    let states = states.trim();
    let named = !states.is_empty() && states.bytes().all(word);
    named.then(|| State::new(one_state(states.split(['+', ','])), Some(reason)))
}

/// The options of sbatch. None of them is a secret.
fn options(job: &JobSpec) -> Vec<String> {
    let mut options = vec![
        "--parsable".to_owned(),
        format!("--export={EXPORTS}"),
        "--no-requeue".to_owned(),
        format!("--job-name={}", job.name),
        format!("--comment={}", job.comment),
        format!("--output={}", job.output),
        format!("--error={}", job.output),
        format!("--chdir={}", job.directory),
    ];
    options.extend(asked(job).map(|one| format!("--{}={}", one.option, one.value.into_text())));
    options.extend(job.resources.gres.as_ref().map(|gres| format!("--gres={gres}")));
    if job.resources.exclusive {
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

/// What Slurm says of limits that pass by themselves: of the submitted and the partition's (2050 and 2070).
const LATER: [&str; 2] = ["violates accounting/QOS policy", "Required partition not available"];

/// The commands tell everything by the same status; the words tell a refusal apart (slurm_errno.h). What is not known is
/// an outage: then Slurm is asked for the job before it is submitted again.
fn failure(tool: &str, status: ExitStatus, stderr: &[u8]) -> BackendError {
    let words = String::from_utf8_lossy(stderr);
    let words = words.trim().chars().take(400).collect::<String>();
    let says = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
    let refused = says(&["Batch job submission failed", "nvalid ", "not permitted", "ermission denied"]);
    if refused && status.code() == Some(1) && !says(&OUTAGE) {
        // A limit on one job by itself, such as QOSMaxWallDurationPerJobLimit, never passes.
        return match says(&LATER) && !says(&["PerJob"]) {
            true => BackendError::Later(words),
            false => BackendError::Refused(words),
        };
    }
    BackendError::Outage(format!("{tool}: {status}, {words}"))
}

fn unknown(error: &BackendError) -> bool {
    matches!(error, BackendError::Refused(words) if words.contains("Invalid job id"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::backend::asked::tests::job;

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

    #[test]
    fn a_limit_that_passes_is_no_refusal() {
        let told = |words: &str| failure("sbatch", ExitStatus::from_raw(1 << 8), words.as_bytes());
        let policy = "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)";
        for words in [
            format!("sbatch: error: QOSMaxSubmitJobPerUserLimit\n{policy}"),
            policy.to_owned(),
            "sbatch: error: Batch job submission failed: Required partition not available (inactive or drain)"
                .to_owned(),
        ] {
            assert!(matches!(told(&words), BackendError::Later(_)), "{words}");
        }
        let never = format!("sbatch: error: QOSMaxWallDurationPerJobLimit\n{policy}");
        assert!(matches!(told(&never), BackendError::Refused(_)));
    }

    #[test]
    fn a_banner_before_the_answer_is_passed_over() {
        let banner = "*** Welcome to the cluster | 2026 ***\nUse is logged | see https://hpc.example\n\n";
        assert_eq!(submitted(&format!("{banner}17;cluster\n")), Some(17));
        assert_eq!(submitted(&format!("{banner}17\nhave a nice day\n")), Some(17));
        assert_eq!(submitted(banner), None);
        let read = |text: &str| format!("{banner}{text}\n").lines().rev().find_map(state);
        assert_eq!(read("PENDING|Resources"), Some(State::new("PENDING", Some("Resources"))));
        assert_eq!(read("running|None"), Some(State::new("RUNNING", None)));
        assert_eq!(read("NODE_FAIL+REQUEUED|None"), Some(State::new("REQUEUED", None)));
        assert_eq!(read(""), None);
    }

    #[test]
    fn no_option_is_a_secret() {
        let environment = vec![("GHA_SLURM_TOKEN".into(), gha_slurm_protocol::secret::Secret::new("a.b.c"))];
        let job = JobSpec { environment, ..job() };
        let options = options(&job).join(" ");
        assert!(options.contains("--time=90 --gres=gpu:2,disk:1 --exclusive"), "{options}");
        assert!(options.contains("--export=GHA_SLURM_EXPORTS ") && !options.contains("a.b.c"), "{options}");
        assert!(!script::with_import(&job.script).contains("a.b.c"));
    }
}
