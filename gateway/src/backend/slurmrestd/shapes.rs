//! What each version of slurmrestd's API takes and answers, as pure functions over JSON.
//!
//! v0.0.36 to v0.0.38 take numbers and an object of environment variables; from v0.0.39 on numbers are
//! `{set, infinite, number}` and the environment is a list (Slurm's REST API release notes). Answers differ in names
//! more than in meaning, so one reader takes them all.

use std::collections::HashMap;
use std::fmt;

use gha_slurm_protocol::slurm_job::one_state;
use serde_json::{Map, Value, json};

use crate::backend::asked::{Setting, asked};
use crate::backend::{BackendError, Found, JobSpec, Origin, OwnJob, SlurmJobId, State};

/// A version of the API: the last number of `v0.0.N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32);

impl Version {
    pub(super) const OLDEST: Self = Self(36);
    /// Of the release after Slurm 26.05, which has v0.0.45.
    const NEWEST: Self = Self(46);
    const FIRST_WITH_PREFER: Self = Self(38);
    const FIRST_WITH_OBJECTS: Self = Self(39);
    const FIRST_WITH_SHARED: Self = Self(40);

    /// From the newest to the oldest.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (Self::OLDEST.0..=Self::NEWEST.0).rev().map(Self)
    }

    /// The newest version that an OpenAPI document offers and that is known here. Where all of them are newer, the oldest
    /// of those, which differs the least from the newest that is known: it is spoken as that one.
    pub(super) fn newest_of(api: &Value) -> Option<Self> {
        let paths = api.get("paths")?.as_object()?;
        let offered = paths.keys().filter_map(|path| {
            let number = path.strip_prefix("/slurm/v0.0.")?.strip_suffix("/job/submit")?;
            number.parse().ok().map(Self)
        });
        let offered: Vec<Self> = offered.filter(|version| *version >= Self::OLDEST).collect();
        let known = offered.iter().filter(|version| version.is_known()).max();
        known.or_else(|| offered.iter().min()).copied()
    }

    /// Whether what it takes and answers is known here.
    pub(super) fn is_known(self) -> bool {
        (Self::OLDEST..=Self::NEWEST).contains(&self)
    }

    /// What `check` says of one that is not.
    pub(super) fn doubt(self) -> Option<String> {
        let newest = Self::NEWEST;
        (!self.is_known())
            .then(|| format!("newer than {newest}, the newest that this gateway knows, and spoken as that one"))
    }

    /// The body of `job/submit`.
    pub(super) fn submission(self, job: &JobSpec) -> Value {
        let resources = &job.resources;
        let mut fields = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        };
        set("name", Some(job.name.clone().into()));
        set("comment", Some(job.comment.clone().into()));
        set("standard_output", Some(job.output.clone().into()));
        set("standard_error", Some(job.output.clone().into()));
        set("current_working_directory", Some(job.directory.clone().into()));
        // A launch token is redeemed once: a second run of the script would find nothing. Measured on 22.05: up to
        // v0.0.38 `requeue` is ignored.
        match self < Self::FIRST_WITH_OBJECTS {
            true => set("no_requeue", Some(true.into())),
            false => set("requeue", Some(false.into())),
        }
        // A preference, so it may be missing where 22.05's newest version is not spoken: others refuse what they do not know.
        let knows = |field: &str| field != "prefer" || self >= Self::FIRST_WITH_PREFER;
        for one in asked(job).filter(|one| knows(one.field)) {
            let value = match one.value {
                // Measured on 22.05: up to v0.0.38 they have other names, and are words.
                Setting::Nodes(text) if self < Self::FIRST_WITH_OBJECTS => {
                    let name = if one.field == "required_nodes" { "nodelist" } else { "exclude_nodes" };
                    set(name, Some(text.into()));
                    continue;
                }
                Setting::Nodes(text) => json!([text]),
                Setting::Word(text) => text.into(),
                Setting::Count(number) => number.into(),
                Setting::Size(size) => size.mebibytes().into(),
                Setting::Limit { number, .. } => self.limit(number),
            };
            set(one.field, Some(value));
        }
        let environment = job.environment.iter().map(|(name, value)| (name, value.expose()));
        if self < Self::FIRST_WITH_OBJECTS {
            set("gres", resources.gres.as_ref().map(|gres| gres.as_str().into()));
            set("exclusive", resources.exclusive.then(|| "exclusive".into()));
            set(
                "environment",
                Some(environment.map(|(name, value)| (name.clone(), value.into())).collect::<Map<_, _>>().into()),
            );
        } else {
            set("tres_per_node", resources.gres.as_ref().map(|gres| tres(gres.as_str()).into()));
            // Measured on 24.11: v0.0.42 ignores `exclusive`, v0.0.40 and v0.0.41 take both; 23.02 has `exclusive`.
            match self < Self::FIRST_WITH_SHARED {
                true => set("exclusive", resources.exclusive.then(|| json!(["true"]))),
                false => set("shared", resources.exclusive.then(|| json!(["none"]))),
            }
            set(
                "environment",
                Some(environment.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().into()),
            );
        }
        json!({"script": job.script, "job": fields})
    }

    /// Whether a failure's number tells a token that is not accepted from a slurmctld that is away. Measured: from
    /// v0.0.39 on the first is 1007; before, both have none.
    fn tells_tokens_apart(self) -> bool {
        self >= Self::FIRST_WITH_OBJECTS
    }

    fn limit(self, value: u64) -> Value {
        if self < Self::FIRST_WITH_OBJECTS {
            value.into()
        } else {
            json!({"set": true, "infinite": false, "number": value})
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v0.0.{}", self.0)
    }
}

/// `gpu:2,disk:1` as newer releases write it: `gres/gpu:2,gres/disk:1`.
fn tres(gres: &str) -> String {
    gres.split(',').map(|one| format!("gres/{one}")).collect::<Vec<_>>().join(",")
}

/// A failure that slurmrestd told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The token is not accepted.
    Unauthenticated(String),
    /// What 22.05 says of a token that it does not accept, and of a slurmctld that died with the answer.
    Unclear(String),
    /// No number at all ("Unspecified error").
    Unnumbered(String),
    /// Slurm's own error: number and words.
    Slurm(u64, String),
    /// A status without any error in the body.
    Status(u16, String),
}

/// EAGAIN, which slurmctld answers to a submission where its MaxJobCount is reached (measured on 22.05).
const MAX_JOB_COUNT: u64 = 11;
/// "Protocol authentication error".
const UNAUTHENTICATED: u64 = 1007;
/// "Zero Bytes were transmitted or received".
const ZERO_BYTES: u64 = 5005;
/// Limits that pass by themselves (slurm_errno.h): what a user may have submitted, which Slurm does not name here, and a
/// partition that is inactive or drained.
const LATER: [u64; 2] = [2050, 2070];
/// Errors that pass by themselves (slurm_errno.h): controller busy or in standby, job record, indexes, deferral.
const PASSING: [u64; 9] = [2007, 2020, 2026, 2027, 2061, 2090, 2103, 2125, 2131];
/// Unknown, completing, finished.
const OVER: [u64; 4] = [2017, 2021, 2084, 2086];
/// Accepted by Slurm although no node or partition can hold it: such a Slurm job stays pending for ever.
const NEVER_FITS: [u64; 4] = [2005, 2006, 2014, 2015];
/// The same in the words of 24.11 and 26.05, which tell it among the warnings.
const NEVER_FITS_WORDS: &str = "Requested partition configuration not available now";

impl Failure {
    /// The failure of an answer that is not 2xx, in that version of the API.
    pub(super) fn read(status: u16, body: &Value, version: Option<Version>) -> Self {
        match Self::inside(body) {
            // What slurmrestd itself cannot parse has no number of Slurm's.
            Some(Self::Unclear(words) | Self::Unnumbered(words)) if matches!(status, 400 | 422) => {
                Self::Status(status, words)
            }
            Some(Self::Slurm(number, words)) if matches!(status, 400 | 422) && number > 9000 => {
                Self::Status(status, words)
            }
            // With a token that 22.05 does not accept it answers so to a question, and by ZERO_BYTES to the rest.
            Some(Self::Unnumbered(words)) if !version.is_some_and(Version::tells_tokens_apart) => Self::Unclear(words),
            Some(failure) => failure,
            None if status == 401 => Self::Unauthenticated(
                "status 401; does slurmrestd run with -a rest_auth/jwt, and with SLURM_JWT=daemon in its environment?"
                    .to_owned(),
            ),
            None if matches!(status, 403 | 511) => Self::Unauthenticated(format!("status {status}")),
            None => Self::Status(status, format!("status {status}")),
        }
    }

    /// The first error that a body tells, whatever its status is.
    pub(super) fn inside(body: &Value) -> Option<Self> {
        let errors = body.get("errors").and_then(Value::as_array).into_iter().flatten();
        // v0.0.42 tells of a cancel per job.
        let statuses = body.get("status").and_then(Value::as_array).into_iter().flatten();
        let each = errors.chain(statuses.filter_map(|status| status.get("error")));
        let mut told = each.filter_map(|error| {
            let number = ["error_number", "error_code", "number", "code", "errno"];
            let number = number.into_iter().find_map(|name| error.get(name).and_then(Value::as_u64)).unwrap_or(0);
            // From 23.02 on `description` says what was tried, and `error` what is wrong.
            let words = ["error", "string", "message", "description"].into_iter();
            let words = words.filter_map(|name| error.get(name).and_then(Value::as_str)).find(|text| !text.is_empty());
            (number != 0 || words.is_some()).then(|| (number, words.unwrap_or("no reason given")))
        });
        let (number, words) = told.next()?;
        let words = format!("{} ({number})", words.chars().take(300).collect::<String>());
        Some(match number {
            UNAUTHENTICATED => Self::Unauthenticated(words),
            ZERO_BYTES => Self::Unclear(words),
            0 => Self::Unnumbered(words),
            _ => Self::Slurm(number, words),
        })
    }

    /// Whether it says that the Slurm job is finished or not known.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Slurm(number, words) => OVER.contains(number) || words.contains("Invalid job id"),
            Self::Unclear(words) | Self::Unnumbered(words) => words.contains("Invalid job id"),
            _ => false,
        }
    }
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Slurm(MAX_JOB_COUNT, words) => Self::Later(format!("Slurm: {words}: MaxJobCount is reached")),
            Failure::Slurm(number, words) if LATER.contains(&number) => Self::Later(format!("Slurm: {words}")),
            Failure::Slurm(number @ 2000..=2999, words) if !PASSING.contains(&number) => Self::Refused(words),
            // What slurmrestd itself finds wrong with the request, such as a key that it does not know.
            Failure::Status(400 | 422, words) => Self::Refused(words),
            Failure::Slurm(_, words) | Failure::Status(_, words) | Failure::Unnumbered(words) => Self::Outage(words),
            Failure::Unclear(words) => Self::Outage(format!("{words}; perhaps the gateway's token is not accepted")),
            Failure::Unauthenticated(words) => Self::Outage(format!("the gateway's token is not accepted: {words}")),
        }
    }
}

/// What a submission came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Submitted {
    /// It is in the queue.
    Runs(SlurmJobId),
    /// It is in the queue and can never start.
    NeverFits(SlurmJobId, String),
    /// It is not in the queue.
    Failed(Failure),
}

impl Submitted {
    /// Reads an answer with status 200, which may be a refusal all the same.
    pub(super) fn read(body: &Value) -> Self {
        let id = body.get("job_id").or_else(|| body.pointer("/result/job_id")).and_then(Value::as_u64);
        match (id.filter(|id| *id > 0), Failure::inside(body)) {
            (Some(id), None) if never_fits(body) => Self::NeverFits(id, NEVER_FITS_WORDS.to_owned()),
            (Some(id), None) => Self::Runs(id),
            (Some(id), Some(Failure::Slurm(number, words))) if NEVER_FITS.contains(&number) => {
                Self::NeverFits(id, words)
            }
            (Some(id), Some(failure)) => {
                tracing::warn!(slurm_job = id, ?failure, "Slurm took the job with a remark");
                Self::Runs(id)
            }
            (None, Some(failure)) => Self::Failed(failure),
            (None, None) => Self::Failed(Failure::Status(200, "an answer without a job_id".to_owned())),
        }
    }
}

fn never_fits(body: &Value) -> bool {
    let warnings = body.get("warnings").and_then(Value::as_array).into_iter().flatten();
    let mut words = warnings.filter_map(|warning| warning.get("description").and_then(Value::as_str));
    words.any(|words| words == NEVER_FITS_WORDS)
}

fn jobs(body: &Value) -> impl Iterator<Item = &Value> {
    body.get("jobs").and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(job: &'a Value, field: &str) -> Option<&'a str> {
    job.get(field).and_then(Value::as_str)
}

/// One word of several when Slurm tells several.
fn state_of(job: &Value) -> Option<String> {
    match job.get("job_state")? {
        Value::String(state) => Some(one_state(state.split([',', '+', ' ']))),
        Value::Array(states) => Some(one_state(states.iter().filter_map(Value::as_str))),
        _ => None,
    }
}

/// A plain number, or `{set, infinite, number}`, which is one only when it is set and not infinite.
fn number(job: &Value, field: &str) -> Option<u64> {
    let value = job.get(field)?;
    let says = |name: &str| value.get(name).and_then(Value::as_bool);
    match value {
        Value::Object(_) if says("set") != Some(true) || says("infinite") == Some(true) => None,
        Value::Object(fields) => fields.get("number").and_then(Value::as_u64),
        plain => plain.as_u64(),
    }
}

/// That user's Slurm job in the answer to `GET job/{id}`. Another user's with the same id is none. Its place in the queue is not told: that would take the queue of the whole site, some 4 kB a Slurm job.
pub(super) fn found(body: &Value, own: OwnJob<'_>) -> Option<Found> {
    let read = |job| {
        let state = State::new(state_of(job)?, text(job, "state_reason")).starting(number(job, "start_time"));
        let origin = Origin { submitted: number(job, "submit_time"), restarts: number(job, "restart_cnt") };
        Some(Found { whose: own.whose(origin, text(job, "name") == Some(own.name)), state })
    };
    jobs(body).filter(|job| text(job, "user_name") == Some(own.user)).find_map(read)
}

/// The newest Slurm job of each name that a user has in the answer to `GET jobs`. Anybody may give a Slurm job any name,
/// but not any user.
pub(super) fn newest_by_name(body: &Value, user: &str) -> HashMap<String, SlurmJobId> {
    let mut newest = HashMap::new();
    for job in jobs(body).filter(|job| text(job, "user_name") == Some(user)) {
        if let (Some(name), Some(id)) = (text(job, "name"), job.get("job_id").and_then(Value::as_u64)) {
            let known = newest.entry(name.to_owned()).or_insert(id);
            *known = id.max(*known);
        }
    }
    newest
}

/// Whether slurmctld answered a ping. 24.11 says by 200 that it did not, also when it does not accept the token.
pub(super) fn answers(ping: &Value) -> bool {
    let pings = ping.get("pings").and_then(Value::as_array).into_iter().flatten();
    let up = |ping: &Value| {
        let says = |name: &str| ping.get(name).and_then(Value::as_str) == Some("UP");
        says("ping") || says("pinged") || ping.get("responding").and_then(Value::as_bool) == Some(true)
    };
    pings.map(up).reduce(|one, other| one || other).unwrap_or(true)
}

/// What a ping says of a slurmctld that does not answer, in v0.0.45's words.
pub(super) fn ping_status(ping: &Value) -> Option<&str> {
    ping.pointer("/pings/0/status").and_then(Value::as_str).filter(|words| *words != "No error")
}

/// Slurm's release in any answer.
pub(super) fn release(body: &Value) -> &str {
    let meta = ["/meta/Slurm/release", "/meta/slurm/release"];
    meta.into_iter().find_map(|path| body.pointer(path)?.as_str()).unwrap_or("of unknown release")
}

#[cfg(test)]
mod tests;
