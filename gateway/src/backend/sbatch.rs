//! Slurm by its commands, for a site without slurmrestd.
//!
//! Each command runs as the mapped user by a prefix that the administrator chooses, directly, never by a shell. The
//! script goes in on standard input and holds no secret, because Slurm shows it to all jobs of its user. The Slurm job's
//! environment goes in one variable, [`EXPORTS`], which `--export` names: a command's options can be seen by everybody,
//! its environment by root and its own user.
//!
//! What a command prints may begin with a banner of the site's; only what has the expected form is read.

use std::collections::{HashMap, HashSet};
use std::io;
use std::process::{ExitStatus, Output};
use std::time::Duration;

use gha_slurm_protocol::slurm_job::one_state;
use gha_slurm_protocol::values::is_plain;

use super::asked::asked;
use super::command::{command, run};
use super::positions::Positions;
use super::{BackendError, JobSpec, OwnJob, PENDING, SlurmJobId, State};
use crate::config::Sbatch;
use crate::script::{self, EXPORTS};

/// Within the deadline of the request that waits for it.
const DEADLINE: Duration = Duration::from_secs(45);

/// For a place in the queue, without which a state can be told.
const POSITION_DEADLINE: Duration = Duration::from_secs(10);
/// How many Slurm jobs one squeue is asked for: so that its options stay short.
const MOST_AT_ONCE: usize = 200;
/// By which squeue tells a time in seconds of Unix time, and not in words of its machine's time zone. A prefix that drops
/// the environment, as sudo does without `--preserve-env`, costs the expected start.
const TIMES: (&str, &str) = ("SLURM_TIME_FORMAT", "%s");
/// Where a password for a proxy may stand, which is nothing for a mapped user to read.
const PROXIES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// Slurm's commands.
pub struct Commands {
    commands: Sbatch,
    positions: Positions,
}

impl Commands {
    /// These commands, and the one that tells Slurm's configuration.
    pub fn new(commands: Sbatch, scontrol: Vec<String>) -> Self {
        Self { commands, positions: Positions::new(scontrol) }
    }

    async fn run(
        &self,
        words: &[String],
        user: &str,
        more: &[String],
        (input, variable): (&str, Option<(&str, &str)>),
    ) -> Result<Output, BackendError> {
        let mut words = words.iter().map(|word| word.replace("{user}", user));
        let program = words.next().unwrap_or_default();
        let outage = |error: io::Error| BackendError::Outage(format!("{program}: {error}"));
        let mut command = command(&program);
        command.args(words).args(more).envs(variable);
        for name in PROXIES {
            command.env_remove(name);
        }
        let output = run(&mut command, input, DEADLINE).await.map_err(outage)?;
        output.ok_or_else(|| BackendError::Outage(format!("{program} does not end")))
    }

    pub(super) async fn submit(&self, job: &JobSpec) -> Result<SlurmJobId, BackendError> {
        let script = script::with_import(&job.script);
        let exports = script::exports(&job.environment);
        let input = (script.as_str(), Some((EXPORTS, exports.as_str())));
        let output = self.run(&self.commands.sbatch, &job.user, &options(job), input).await?;
        if !output.status.success() {
            return Err(failure("sbatch", output.status, &output.stderr));
        }
        let id = submitted(&String::from_utf8_lossy(&output.stdout));
        id.ok_or_else(|| BackendError::Outage("sbatch printed no job id".to_owned()))
    }

    async fn squeue(&self, user: &str, options: &[&str]) -> Result<String, BackendError> {
        let options: Vec<String> = options.iter().map(|word| (*word).to_owned()).collect();
        let output = self.run(&self.commands.squeue, user, &options, ("", Some(TIMES))).await?;
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
        self.states(&[job]).await.pop().unwrap_or(Ok(None))
    }

    /// One squeue for those of a user, and one for each partition in which some of them wait.
    pub(super) async fn states(&self, jobs: &[OwnJob<'_>]) -> Vec<Result<Option<State>, BackendError>> {
        let users: HashSet<&str> = jobs.iter().map(|job| job.user).collect();
        let mut told: HashMap<SlurmJobId, Result<Option<State>, BackendError>> = HashMap::new();
        for user in users {
            let own: Vec<OwnJob<'_>> = jobs.iter().filter(|job| job.user == user).copied().collect();
            for some in own.chunks(MOST_AT_ONCE) {
                let asked = self.ask(user, some).await;
                told.extend(some.iter().map(|job| {
                    let state = match &asked {
                        Ok(states) => Ok(states.get(&job.id).cloned()),
                        Err(error) => Err(error.clone()),
                    };
                    (job.id, state)
                }));
            }
        }
        jobs.iter().map(|job| told.get(&job.id).cloned().unwrap_or(Ok(None))).collect()
    }

    async fn ask(&self, user: &str, jobs: &[OwnJob<'_>]) -> Result<HashMap<SlurmJobId, State>, BackendError> {
        // By all three, so that another's Slurm job with one of these ids is not shown.
        let list = |each: &mut dyn Iterator<Item = String>| each.collect::<Vec<_>>().join(",");
        let of = format!("--user={user}");
        let named = format!("--name={}", list(&mut jobs.iter().map(|job| job.name.to_owned())));
        let these = format!("--jobs={}", list(&mut jobs.iter().map(|job| job.id.to_string())));
        let asked = ["--noheader", "--states=all", "--format=%A|%j|%T|%r|%S|%P", &of, &named, &these];
        let printed = match self.squeue(user, &asked).await {
            Ok(printed) => printed,
            Err(error) if unknown(&error) => return Ok(HashMap::new()),
            Err(error) => return Err(error),
        };
        let mut states = HashMap::new();
        for line in printed.lines().filter_map(Line::read) {
            if !jobs.iter().any(|job| job.id == line.id && job.name == line.name) {
                continue;
            }
            // What is there and is not understood is not gone.
            let strange = || BackendError::Outage(format!("squeue's answer about {} is not understood", line.id));
            let mut state = line.state().ok_or_else(strange)?;
            if state.state == PENDING {
                state.position = self.position(user, line.partition().unwrap_or_default(), line.id).await;
            }
            states.insert(line.id, state);
        }
        Ok(states)
    }

    async fn position(&self, user: &str, partition: &str, id: SlurmJobId) -> Option<u32> {
        if partition.is_empty() {
            return None;
        }
        let of = format!("--partition={partition}");
        // By priority, and by age where that is the same.
        let asked = ["--noheader", "--states=PENDING", "--sort=-p,i", "--format=%A", &of];
        let listing = async {
            let printed = tokio::time::timeout(POSITION_DEADLINE, self.squeue(user, &asked)).await.ok()?.ok()?;
            Some(printed.lines().filter_map(|line| line.trim().parse().ok()).collect())
        };
        self.positions.of(partition, id, listing).await
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

/// A line of the form `17|name|STATE|reason|start|partition`.
struct Line<'a> {
    id: SlurmJobId,
    name: &'a str,
    rest: Vec<&'a str>,
}

impl<'a> Line<'a> {
    /// `None` for one that is about no Slurm job.
    fn read(line: &'a str) -> Option<Self> {
        let mut fields = line.split('|').map(str::trim);
        let (id, name) = (fields.next()?.parse().ok()?, fields.next()?);
        Some(Self { id, name, rest: fields.collect() })
    }

    /// Slurm's words for states have no blanks and no digits.
    fn state(&self) -> Option<State> {
        let [states, reason, start, _partition] = self.rest.as_slice() else { return None };
        let word = |byte: u8| byte.is_ascii_alphabetic() || b"_+,".contains(&byte);
        // `N/A` where Slurm expects nothing yet.
        let state = |states: &str| State::new(one_state(states.split(['+', ','])), Some(reason));
        (!states.is_empty() && states.bytes().all(word)).then(|| state(states).starting(start.parse().ok()))
    }

    fn partition(&self) -> Option<&'a str> {
        self.rest.last().copied().filter(|name| is_plain(name, b"-_.,", 1000))
    }
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
        let read = |text: &str| {
            let printed = format!("{banner}{text}\n");
            let mut lines = printed.lines().filter_map(Line::read);
            (lines.next().map(|line| (line.id, line.state())), lines.count())
        };
        let one = |state: State| (Some((17, Some(state))), 0);
        let pending = State::new("PENDING", Some("Resources"));
        assert_eq!(read("17|gha-slurm-1-1|PENDING|Resources|N/A|gha"), one(pending.clone()));
        let expected = State { start: Some(1_795_765_238), ..pending };
        assert_eq!(read("17|gha-slurm-1-1|PENDING|Resources|1795765238|gha,big"), one(expected.clone()));
        assert_eq!(read("17|x|running|None|1795765238|gha"), one(State::new("RUNNING", None)), "it has started");
        assert_eq!(read("17|x|NODE_FAIL+REQUEUED|None|N/A|gha"), one(State::new("REQUEUED", None)));
        let in_words = read("17|gha-slurm-1-1|PENDING|Resources|2026-11-27T12:00:00|gha");
        assert_eq!(in_words, one(State { start: None, ..expected }), "of a time zone that is not known");
        for none in ["", "17", "x|x|PENDING|None|N/A|gha"] {
            assert_eq!(read(none), (None, 0), "{none}");
        }
        for strange in ["17|x|PENDING|None|N/A", "17|x|PENDING|None|N/A|gha|y", "17|x||None|N/A|gha", "17|x"] {
            assert_eq!(read(strange), (Some((17, None)), 0), "there, and not understood: {strange}");
        }
        let odd = Line::read("17|x|PENDING|None|N/A|g$a").unwrap();
        assert!(odd.state().is_some() && odd.partition().is_none(), "of a partition that is never passed on");
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
