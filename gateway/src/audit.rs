//! The audit log: who asked for what, and what came of it, one JSON object a line.
//!
//! Its schema is for other programs and changes only by `v`. A secret, a token or a body never stands in it. Requests
//! without the shared secret cost their sender nothing, so of those only so many a second are written down one by one.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use gha_slurm_protocol::identity::Person;
use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use serde::Serialize;

use crate::backend::SlurmJobId;
use crate::config::{self, ConfigError};
use crate::launch::Launch;

const MOST_REFUSED_A_SECOND: u32 = 10;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    /// `POST /runner/start`, or a launch that was fetched.
    Launch,
    /// `POST /runner/cancel`, or a cancel that was fetched.
    Cancel,
    /// `POST /api/reload`.
    Reload,
    /// Anything else that was refused.
    Request,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// A new Slurm job.
    Submitted,
    /// The launch had its Slurm job already.
    Known,
    /// A cancel or a reload was carried out.
    Done,
    /// The shared secret was missing or wrong.
    Unauthorized,
    /// Refused for what it asks.
    Refused,
    /// Not at present.
    Unavailable,
}

/// What a request was about, as far as it was understood.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Subject {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) launch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repository_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) person: Option<Person>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slurm_user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slurm_job: Option<SlurmJobId>,
    /// The cluster as which it was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
}

impl Subject {
    /// A launch, with the Slurm user that it would run as.
    pub(crate) fn of(launch: &Launch, slurm_user: Option<String>) -> Self {
        Self {
            launch: Some(launch.key.to_string()),
            repository: Some(launch.url.clone()),
            profile: launch.profile.clone(),
            slurm_user,
            person: launch.person.clone(),
            repository_id: launch.repository_id,
            run: launch.run,
            slurm_job: None,
            cluster: None,
        }
    }
}

/// One line.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    pub(crate) event: Event,
    pub(crate) outcome: Outcome,
    /// The status of the answer; of what was fetched, the one that a request would have got.
    pub(crate) status: u16,
    /// The other end of the connection: the app, or the proxy before the gateway. Of a request only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<std::net::IpAddr>,
    #[serde(flatten)]
    pub(crate) subject: &'a Subject,
    /// Why it was not carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Line<'a> {
    v: u8,
    time: String,
    #[serde(flatten)]
    record: &'a Record<'a>,
    /// Refused requests before this one that have no line of their own.
    #[serde(skip_serializing_if = "is_zero")]
    suppressed: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// The file, or nothing when none is configured.
pub struct AuditLog {
    open: Option<Mutex<Open>>,
}

struct Open {
    file: File,
    second: u64,
    refused: u32,
    suppressed: u32,
}

impl AuditLog {
    /// Opens the file to append to, for nobody else to read.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(Self { open: None }) };
        let failed = |problem: String| config::invalid("auditLog", format!("{}: {problem}", path.display()));
        // Neither through a link nor waiting for a FIFO's other end, whoever put one there.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).custom_flags(flags.bits());
        let file = options.open(path).map_err(|error| failed(error.to_string()))?;
        let facts = file.metadata().map_err(|error| failed(error.to_string()))?;
        if !facts.is_file() || facts.uid() != geteuid().as_raw() {
            return Err(failed("not a file of the gateway's own user".to_owned()));
        }
        if facts.mode() & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(0o600)).map_err(|error| failed(error.to_string()))?;
        }
        Ok(Self { open: Some(Mutex::new(Open { file, second: 0, refused: 0, suppressed: 0 })) })
    }

    /// Writes a line. A disk that is full stops nothing.
    pub(crate) fn write(&self, record: &Record<'_>) {
        let Some(open) = &self.open else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if record.outcome == Outcome::Unauthorized && !open.has_room(now.as_secs()) {
            return;
        }
        let suppressed = std::mem::take(&mut open.suppressed);
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let time = DateTime::<Utc>::from_timestamp(seconds, now.subsec_nanos()).unwrap_or_default();
        let line = Line { v: 1, time: time.to_rfc3339_opts(SecondsFormat::Millis, true), record, suppressed };
        let written = serde_json::to_string(&line).map_err(std::io::Error::from).and_then(|mut text| {
            text.push('\n');
            open.file.write_all(text.as_bytes())
        });
        if let Err(error) = written {
            tracing::error!(%error, "the audit log cannot be written");
        }
    }
}

impl Open {
    fn has_room(&mut self, second: u64) -> bool {
        if second != self.second {
            (self.second, self.refused) = (second, 0);
        }
        self.refused += 1;
        let room = self.refused <= MOST_REFUSED_A_SECOND;
        self.suppressed += u32::from(!room);
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_flood_of_refused_requests_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let log = AuditLog::open(Some(&path)).unwrap();
        let subject = Subject::default();
        let record = |outcome| Record {
            event: Event::Launch,
            outcome,
            status: 401,
            address: Some([192, 0, 2, 1].into()),
            subject: &subject,
            reason: None,
        };
        for _ in 0..200 {
            log.write(&record(Outcome::Unauthorized));
        }
        log.write(&record(Outcome::Submitted));
        let lines = lines(&path);
        assert!(lines.len() <= 31, "{}", lines.len());
        let suppressed: u64 = lines.iter().filter_map(|line| line["suppressed"].as_u64()).sum();
        assert_eq!(usize::try_from(suppressed).unwrap() + lines.len(), 201);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn only_a_file_of_ones_own_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink(at("elsewhere"), at("link")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for name in ["link", "fifo"] {
            assert!(AuditLog::open(Some(&at(name))).is_err(), "{name}");
        }
        assert!(!at("elsewhere").exists());
        std::fs::write(at("loose"), "").unwrap();
        std::fs::set_permissions(at("loose"), Permissions::from_mode(0o644)).unwrap();
        AuditLog::open(Some(&at("loose"))).unwrap();
        assert_eq!(std::fs::metadata(at("loose")).unwrap().mode() & 0o777, 0o600);
    }
}
