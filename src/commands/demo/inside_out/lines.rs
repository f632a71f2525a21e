//! What app and gateway write for machines, as far as the scenario looks at it: the app's log and the gateway's audit log.

use std::path::PathBuf;

use serde::Deserialize;

/// A line of the app's log.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum AppLine {
    /// A gateway asked for work.
    Exchange {
        cluster: String,
        /// What it was given to submit.
        launches: Vec<String>,
        /// How many things it told.
        reports: u32,
    },
    /// A launch token was exchanged, or was not.
    Redeem { status: u16, launch: String },
}

impl AppLine {
    /// `None` for every other line.
    pub(super) fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

/// A line of the gateway's audit log.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(super) enum Audited {
    Submitted {
        launch: String,
        slurm_job: u64,
        slurm_user: String,
    },
    #[serde(other)]
    Other,
}

/// A file of such lines that grows.
pub(super) struct AuditLog {
    path: PathBuf,
    /// So many bytes were read.
    read: usize,
}

impl AuditLog {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// The whole lines that were added since the last call.
    pub(super) fn news(&mut self) -> Vec<Audited> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let added = text.get(self.read..).unwrap_or_default();
        let whole = added.rfind('\n').map_or(0, |end| end + 1);
        self.read += whole;
        added.get(..whole).unwrap_or_default().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_line_of_the_apps_log_is_what_its_event_says() {
        let exchange = r#"{"cancel":[],"cluster":"alps","component":"cluster","event":"exchange","gateway":"login1",
            "launches":["7-1"],"level":"INFO","reports":0,"status":200,"target":"guest","unknown":[]}"#;
        let launches = vec!["7-1".to_owned()];
        assert_eq!(
            AppLine::parse(exchange),
            Some(AppLine::Exchange { cluster: "alps".to_owned(), launches, reports: 0 })
        );
        let redeem = r#"{"event":"redeem","job":"7","launch":"7-1","status":200}"#;
        assert_eq!(AppLine::parse(redeem), Some(AppLine::Redeem { status: 200, launch: "7-1".to_owned() }));
        for other in [
            r#"{"event":"tick","status":200}"#,
            r#"{"event":"exchange","status":401,"error":"no"}"#,
            r#"{"timestamp":"x","fields":{"message":"submitted","launch":"7-1"},"target":"gha_slurm_gateway::service"}"#,
            "thread 'main' panicked",
        ] {
            assert_eq!(AppLine::parse(other), None, "{other}");
        }
    }

    #[test]
    fn each_line_of_the_audit_log_is_read_once_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut log = AuditLog::new(path.clone());
        assert_eq!(log.news(), [], "there is no file yet");
        let mut file = std::fs::File::create(path).unwrap();
        file.write_all(b"{\"v\":1,\"event\":\"launch\",\"outcome\":\"refused\"}\n{\"v\":1,\"event\":\"launch\",")
            .unwrap();
        assert_eq!(log.news(), [Audited::Other]);
        file.write_all(b"\"outcome\":\"submitted\",\"launch\":\"7-1\",\"slurm_job\":1,\"slurm_user\":\"demo\"}\n")
            .unwrap();
        let submitted = Audited::Submitted { launch: "7-1".to_owned(), slurm_job: 1, slurm_user: "demo".to_owned() };
        assert_eq!(log.news(), [submitted]);
        assert_eq!(log.news(), []);
    }
}
