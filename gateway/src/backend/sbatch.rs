//! Slurm by its commands, for a site without slurmrestd.
//!
//! Each command runs as the mapped user by a prefix that the administrator chooses, directly, never by a shell. The
//! script goes in on standard input and holds no secret, because Slurm shows it to all jobs of its user. The Slurm job's
//! environment goes in one variable, [`EXPORTS`], which `--export` names: a command's options can be seen by everybody,
//! its environment by root and its own user.
//!
//! What a command prints may begin with a banner of the site's; only what has the expected form is read. squeue is never
//! asked to print a name: whatever runs as the mapped user chooses it, line ends and separators included, and could so say
//! what it likes of the other Slurm jobs in the answer.

use std::collections::{HashMap, HashSet};
use std::io;
use std::process::{ExitStatus, Output};
use std::time::Duration;

use gha_slurm_protocol::slurm_job::{PENDING, one_state};
use gha_slurm_protocol::values::is_plain;

use super::asked::asked;
use super::command::{Running, Unended, command};
use super::positions::Positions;
use super::{BackendError, Found, JobSpec, Origin, OwnJob, SlurmJobId, State, Whose};
use crate::config::Sbatch;
use crate::script::{self, EXPORTS};

/// Within the deadline of the request that waits for it.
const DEADLINE: Duration = Duration::from_secs(45);

/// For a place in the queue, without which a state can be told.
const POSITION_DEADLINE: Duration = Duration::from_secs(10);
/// How many Slurm jobs one squeue is asked for: so that its options stay short.
const MOST_AT_ONCE: usize = 200;
/// By which squeue tells a time in seconds of Unix time, and not in words of its machine's time zone. A prefix that drops
/// the environment, as sudo does without `--preserve-env`, costs the expected start, and a Slurm job that has another name
/// by now cannot be cancelled.
const TIMES: (&str, &str) = ("SLURM_TIME_FORMAT", "%s");
/// What squeue tells of a Slurm job, each with its width and `|`. The reason is the only free text, so it comes last.
const FIELDS: &str =
    "--Format=JobID:20|,SubmitTime:30|,RestartCnt:12|,State:100|,StartTime:30|,Partition:1000|,Reason:300";
/// Where a password for a proxy may stand, which is nothing for a mapped user to read.
const PROXIES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// Slurm's commands.
pub struct Commands {
    commands: Sbatch,
    positions: Positions,
    /// Submissions that were not seen to end, by the Slurm job's name.
    unended: Unended,
}

impl Commands {
    /// These commands, and the one that tells Slurm's configuration.
    pub fn new(commands: Sbatch, scontrol: Vec<String>) -> Self {
        Self { commands, positions: Positions::new(scontrol), unended: Unended::default() }
    }

    async fn run(
        &self,
        words: &[String],
        user: &str,
        more: &[String],
        (input, variable): (&str, Option<(&str, &str)>),
    ) -> Result<Output, BackendError> {
        self.run_noted(words, user, more, (input, variable), None).await
    }

    /// The same of a submission under a name.
    async fn run_noted(
        &self,
        words: &[String],
        user: &str,
        more: &[String],
        (input, variable): (&str, Option<(&str, &str)>),
        name: Option<&str>,
    ) -> Result<Output, BackendError> {
        let mut words = words.iter().map(|word| word.replace("{user}", user));
        let program = words.next().unwrap_or_default();
        let outage = |error: io::Error| BackendError::Outage(format!("{program}: {error}"));
        let mut command = command(&program);
        command.args(words).args(more).envs(variable);
        for name in PROXIES {
            command.env_remove(name);
        }
        let running = Running::start(&mut command).map_err(outage)?;
        if let Some(name) = name {
            self.unended.begin(name, &running);
        }
        let output = running.end(input, DEADLINE).await.map_err(outage)?;
        let output = output.ok_or_else(|| BackendError::Outage(format!("{program} does not end")))?;
        if let Some(name) = name {
            self.unended.ended(name);
        }
        Ok(output)
    }

    /// What an earlier submission under that name does may be seen only once it has ended.
    async fn after_the_last(&self, name: &str) -> Result<(), BackendError> {
        match self.unended.wait(name).await {
            true => Ok(()),
            false => Err(BackendError::Outage("an earlier sbatch for it has not ended yet".to_owned())),
        }
    }

    pub(super) async fn submit(&self, job: &JobSpec) -> Result<SlurmJobId, BackendError> {
        let script = script::with_import(&job.script);
        let exports = script::exports(&job.environment);
        let input = (script.as_str(), Some((EXPORTS, exports.as_str())));
        self.after_the_last(&job.name).await?;
        let (words, options) = (&self.commands.sbatch, options(job));
        let output = self.run_noted(words, &job.user, &options, input, Some(&job.name)).await?;
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
        self.after_the_last(name).await?;
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
                match self.look(user, some).await {
                    Ok(found) => {
                        for (id, found) in found {
                            told.insert(id, self.place(user, id, found).await);
                        }
                    }
                    Err(error) => told.extend(some.iter().map(|job| (job.id, Err(error.clone())))),
                }
            }
        }
        jobs.iter().map(|job| told.get(&job.id).cloned().unwrap_or(Ok(None))).collect()
    }

    /// Those of a user that Slurm knows.
    async fn look(&self, user: &str, jobs: &[OwnJob<'_>]) -> Result<HashMap<SlurmJobId, Looked>, BackendError> {
        let printed = self.these(user, jobs, &[FIELDS]).await?;
        let mut lines: HashMap<SlurmJobId, Line<'_>> = HashMap::new();
        for line in printed.lines().filter_map(Line::read) {
            lines.entry(line.id).or_insert(line);
        }
        let told: Vec<(OwnJob<'_>, Line<'_>)> =
            jobs.iter().filter_map(|job| Some((*job, lines.remove(&job.id)?))).collect();
        let doubtful = |(job, line): &(OwnJob<'_>, Line<'_>)| {
            line.understood.as_ref().is_some_and(|seen| job.whose(seen.origin, false) != Whose::Own)
        };
        let doubtful: Vec<OwnJob<'_>> = told.iter().filter(|one| doubtful(one)).map(|(job, _)| *job).collect();
        let named = self.named(user, &doubtful).await?;
        let looked = |(job, line): (OwnJob<'_>, Line<'_>)| {
            let found = line.understood.map(|Seen { origin, state, partition }| {
                (Found { whose: job.whose(origin, named.contains(&job.id)), state }, partition.to_owned())
            });
            // What is there and is not understood is not gone.
            let strange = || BackendError::Outage(format!("squeue's answer about {} is not understood", job.id));
            (job.id, found.ok_or_else(strange))
        };
        Ok(told.into_iter().map(looked).collect())
    }

    /// Which of them have their names still.
    async fn named(&self, user: &str, jobs: &[OwnJob<'_>]) -> Result<HashSet<SlurmJobId>, BackendError> {
        if jobs.is_empty() {
            return Ok(HashSet::new());
        }
        let names = format!("--name={}", list(jobs.iter().map(|job| job.name.to_owned())));
        let printed = self.these(user, jobs, &["--format=%A", &names]).await?;
        Ok(printed.lines().filter_map(|line| line.trim().parse().ok()).collect())
    }

    /// What squeue prints of these; nothing when it knows none of them.
    async fn these(&self, user: &str, jobs: &[OwnJob<'_>], more: &[&str]) -> Result<String, BackendError> {
        let (of, ids) =
            (format!("--user={user}"), format!("--jobs={}", list(jobs.iter().map(|job| job.id.to_string()))));
        let asked = [&["--noheader", "--states=all", &of, &ids], more].concat();
        match self.squeue(user, &asked).await {
            Err(error) if unknown(&error) => Ok(String::new()),
            printed => printed,
        }
    }

    /// Its state, with its place in the queue.
    async fn place(&self, user: &str, id: SlurmJobId, looked: Looked) -> Result<Option<State>, BackendError> {
        let (found, partition) = looked?;
        let Some(mut state) = found.into_state() else { return Ok(None) };
        if state.state == PENDING {
            state.position = self.position(user, &partition, id).await;
        }
        Ok(Some(state))
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
        match self.look(job.user, &[job]).await?.remove(&job.id).transpose()? {
            Some((found, _)) if found.may_be_cancelled(job)? => {}
            _ => return Ok(()),
        }
        // Under whichever name it has now.
        let words = [format!("--user={}", job.user), job.id.to_string()];
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

fn list(each: impl Iterator<Item = String>) -> String {
    each.collect::<Vec<_>>().join(",")
}

/// What squeue tells of a Slurm job, with its partitions.
type Looked = Result<(Found, String), BackendError>;

/// A line of [`FIELDS`], about a Slurm job with that id.
struct Line<'a> {
    id: SlurmJobId,
    understood: Option<Seen<'a>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Seen<'a> {
    origin: Origin,
    state: State,
    /// Empty for one of a name that is never passed on.
    partition: &'a str,
}

impl<'a> Line<'a> {
    /// `None` for one that is about no Slurm job.
    fn read(line: &'a str) -> Option<Self> {
        let (id, rest) = line.split_once('|')?;
        Some(Self { id: id.trim().parse().ok()?, understood: Seen::read(rest) })
    }
}

impl<'a> Seen<'a> {
    fn read(rest: &'a str) -> Option<Self> {
        let mut fields = rest.splitn(6, '|').map(str::trim);
        let (submitted, restarts, states) = (fields.next()?, fields.next()?, fields.next()?);
        let (start, partition, reason) = (fields.next()?, fields.next()?, fields.next()?);
        // Slurm's words for states have no blanks and no digits.
        let word = |byte: u8| byte.is_ascii_alphabetic() || b"_+,".contains(&byte);
        if states.is_empty() || !states.bytes().all(word) {
            return None;
        }
        let origin = Origin { submitted: submitted.parse().ok(), restarts: restarts.parse().ok() };
        // `N/A` where Slurm expects nothing yet.
        let state = State::new(one_state(states.split(['+', ','])), Some(reason)).starting(start.parse().ok());
        let partition = if is_plain(partition, b"-_.,", 1000) { partition } else { "" };
        Some(Self { origin, state, partition })
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

/// What sbatch says before it tries again where MaxJobCount is reached. When it gives up, nothing was submitted.
const FULL: &str = "Slurm temporarily unable to accept job";

/// The commands tell everything by the same status; the words tell a refusal apart (slurm_errno.h). What is not known is
/// an outage: then Slurm is asked for the job before it is submitted again.
fn failure(tool: &str, status: ExitStatus, stderr: &[u8]) -> BackendError {
    let words = String::from_utf8_lossy(stderr);
    let words = words.trim().chars().take(400).collect::<String>();
    let says = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
    let refused = says(&["Batch job submission failed", "nvalid ", "not permitted", "ermission denied"]);
    if refused && status.code() == Some(1) && says(&[FULL]) {
        return BackendError::Later(format!("{words} (MaxJobCount is reached)"));
    }
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
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\nsbatch: error: Batch job submission failed: Resource temporarily unavailable"
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
            let first = lines.next().map(|line| (line.id, line.understood.map(|seen| seen.state)));
            (first, lines.count())
        };
        let one = |state: State| (Some((17, Some(state))), 0);
        let pending = State::new("PENDING", Some("Resources"));
        assert_eq!(read("17  |1795765000|0  |PENDING |N/A|gha|Resources  "), one(pending.clone()));
        let expected = State { start: Some(1_795_765_238), ..pending };
        assert_eq!(read("17|1795765000|0|PENDING|1795765238|gha,big|Resources"), one(expected.clone()));
        assert_eq!(read("17|x|x|running|1795765238|gha|None"), one(State::new("RUNNING", None)), "it has started");
        assert_eq!(read("17|1|1|NODE_FAIL+REQUEUED|N/A|gha|None"), one(State::new("REQUEUED", None)));
        let in_words = read("17|2026-11-27T11:00:00|0|PENDING|2026-11-27T12:00:00|gha|Resources");
        assert_eq!(in_words, one(State { start: None, ..expected }), "of a time zone that is not known");
        let reason = "burst buffer: a|b|c";
        assert_eq!(read(&format!("17|1|0|PENDING|N/A|gha|{reason}")), one(State::new("PENDING", Some(reason))));
        for none in ["", "17", "x|1|0|PENDING|N/A|gha|None"] {
            assert_eq!(read(none), (None, 0), "{none}");
        }
        for strange in ["17|1|0|PENDING|N/A|gha", "17|1|0||N/A|gha|None", "17|1|0|two words|N/A|gha|None", "17|x"] {
            assert_eq!(read(strange), (Some((17, None)), 0), "there, and not understood: {strange}");
        }
        let seen = |line| Line::read(line).unwrap().understood.unwrap();
        assert_eq!(seen("17|1|0|PENDING|N/A|g$a|None").partition, "", "which is never passed on");
        let origin = |line| seen(line).origin;
        assert_eq!(origin("17|9|2|RUNNING|N/A|gha|None"), Origin { submitted: Some(9), restarts: Some(2) });
        assert_eq!(origin("17|2026-11-27T11:00:00||RUNNING|N/A|gha|None"), Origin::default());
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
