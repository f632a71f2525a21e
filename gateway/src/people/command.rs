//! The site's own command, for a directory that only it can ask.
//!
//! It gets the person and the repository in its argv, no shell in between, and prints a Slurm user a line. Only an exit
//! status of 0 and lines that are names of users are an answer: "nobody" when there is none. Everything else is no answer
//! at all, and no launch waits longer for one than [`DEADLINE`].

use std::collections::HashMap;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gha_slurm_protocol::identity::{Login, Person, SlurmUser};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Semaphore;

use crate::backend::command::{Group, command};
use crate::config::{ConfigError, invalid};

const DEADLINE: Duration = Duration::from_secs(5);
/// How long an answer counts: a retried launch does not ask again, and who leaves is out soon.
const KEPT: Duration = Duration::from_secs(60);
const MOST_KEPT: usize = 1024;
const MOST_AT_ONCE: usize = 8;
const MAX_OUTPUT_BYTES: usize = 16 * 1024;
const MAX_USERS: usize = 64;

type Key = (Login, u64, String);

/// The command.
#[derive(Debug)]
pub(super) struct Command {
    program: String,
    words: Vec<String>,
    places: Semaphore,
    kept: Mutex<HashMap<Key, (Instant, Vec<SlurmUser>)>>,
}

impl Command {
    pub(super) fn new(words: Vec<String>) -> Result<Self, ConfigError> {
        let mut words = words.into_iter();
        let program = words.next().filter(|program| program.starts_with('/'));
        let program = program.ok_or_else(|| invalid("people.command", "name the program by its absolute path"))?;
        let words: Vec<_> = words.collect();
        if !words.iter().any(|word| word.contains("{login}") || word.contains("{id}")) {
            return Err(invalid("people.command", "give it the person: {login}, or {id}, or both"));
        }
        Ok(Self { program, words, places: Semaphore::new(MOST_AT_ONCE), kept: Mutex::default() })
    }

    /// Whether its answer is for one repository.
    pub(super) fn knows_repository(&self) -> bool {
        self.words.iter().any(|word| word.contains("{repository}"))
    }

    /// The Slurm users that it prints for a person.
    pub(super) async fn users(&self, person: &Person, repository: &str) -> Result<Vec<SlurmUser>, String> {
        let key = (person.login.clone(), person.id, repository.to_owned());
        if let Some(users) = self.kept(&key) {
            return Ok(users);
        }
        let run = async {
            let _place = self.places.acquire().await;
            self.run(person, repository).await
        };
        let answer = match tokio::time::timeout(DEADLINE, run).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
        };
        match &answer {
            Ok(users) => self.keep(key, users.clone()),
            Err(problem) => tracing::error!(problem, login = %person.login, "people.command gives no answer"),
        }
        answer.map_err(|problem| format!("people.command of the gateway: {problem}"))
    }

    fn kept(&self, key: &Key) -> Option<Vec<SlurmUser>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).filter(|(at, _)| at.elapsed() < KEPT).map(|(_, users)| users.clone())
    }

    fn keep(&self, key: Key, users: Vec<SlurmUser>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_KEPT {
            kept.retain(|_, (at, _)| at.elapsed() < KEPT);
        }
        if kept.len() < MOST_KEPT {
            kept.insert(key, (Instant::now(), users));
        }
    }

    async fn run(&self, person: &Person, repository: &str) -> Result<Vec<SlurmUser>, String> {
        let id = person.id.to_string();
        // No value has a brace in it, so none is taken for another's place.
        let fill = |word: &String| {
            let word = word.replace("{login}", person.login.as_str()).replace("{id}", &id);
            word.replace("{repository}", repository)
        };
        let mut child = command(&self.program)
            .args(self.words.iter().map(fill))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}", self.program))?;
        let mut group = Group::of(&child);
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (out, err) = tokio::try_join!(output(out), output(err))?;
        let status = child.wait().await.map_err(|error| error.to_string())?;
        group.leave();
        if !err.is_empty() {
            let words: String = String::from_utf8_lossy(&err).trim().chars().take(400).collect();
            tracing::warn!(words, "people.command complains");
        }
        understand(status, &out)
    }
}

/// All of it, or an error as soon as it is too much.
async fn output(stream: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    let Some(stream) = stream else { return Ok(all) };
    let limit = u64::try_from(MAX_OUTPUT_BYTES + 1).unwrap_or(u64::MAX);
    stream.take(limit).read_to_end(&mut all).await.map_err(|error| error.to_string())?;
    match all.len() <= MAX_OUTPUT_BYTES {
        true => Ok(all),
        false => Err("it prints more than 16 KiB".to_owned()),
    }
}

fn understand(status: ExitStatus, printed: &[u8]) -> Result<Vec<SlurmUser>, String> {
    if !status.success() {
        return Err(format!("it ended with {status}"));
    }
    let rubbish = || "it prints something else than one Slurm user a line".to_owned();
    let text = std::str::from_utf8(printed).map_err(|_| rubbish())?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let users = lines.map(|line| line.parse().map_err(|_| rubbish())).collect::<Result<Vec<SlurmUser>, _>>()?;
    match users.len() <= MAX_USERS {
        true => Ok(users),
        false => Err(rubbish()),
    }
}
