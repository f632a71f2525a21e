//! The audit log: who was let in, what was launched, what was handed out.
//!
//! Each record is one JSON line on stdout, written once, by the component that did it, at the moment when it was done. The
//! names and values of the fields are a stable interface: fields may be added, none changes its meaning. `audit` names
//! the event, `time` is in seconds of Unix time. No record holds a secret.

use gha_slurm_protocol::identity::{ClusterName, JobId, LaunchId, RepositoryName};
use serde::Serialize;
use serde_json::{Value, json};

use crate::ports::{Audit, Clock};

/// Where a secret is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// The console's form.
    Login,
    /// The API, and whether the App is installed for a repository.
    Api,
    /// Metrics.
    Metrics,
    /// The periodic repair.
    Tick,
    /// The setup in the browser.
    Setup,
    /// The exchange with gateways that fetch.
    Cluster,
}

/// What kind of credential a launch token was exchanged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// For one runner and one job.
    Jit,
    /// For any number of runners within an hour.
    RegistrationToken,
}

/// Something that is recorded.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "audit", rename_all = "snake_case")]
pub enum Record<'a> {
    /// Somebody began a session at the console.
    LogIn {
        /// The address that it came from.
        client: &'a str,
    },
    /// A wrong secret, or one that was not looked at after too many wrong ones.
    Refused {
        /// Where.
        door: Door,
        /// The address that it came from.
        client: &'a str,
        /// Whether it was not even looked at.
        limited: bool,
    },
    /// Somebody ended a session at the console.
    LogOut {
        /// The address that it came from.
        client: &'a str,
    },
    /// The gateway accepted a launch.
    Launch {
        /// The repository whose job it is for.
        repository: &'a RepositoryName,
        /// Who queued the job at GitHub, if the webhook named somebody.
        #[serde(skip_serializing_if = "Option::is_none")]
        person: Option<&'a str>,
        /// The job.
        job: JobId,
        /// The launch.
        launch: LaunchId,
        /// The profile.
        profile: &'a str,
        /// The workflow run, if the webhook named it.
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<u64>,
        /// The Slurm user that the workflow names, if it does.
        #[serde(skip_serializing_if = "Option::is_none")]
        slurm_user: Option<&'a str>,
        /// The cluster, where it has a name.
        #[serde(skip_serializing_if = "Option::is_none")]
        cluster: Option<&'a ClusterName>,
        /// The Slurm job, if the gateway told it.
        #[serde(skip_serializing_if = "Option::is_none")]
        slurm_job: Option<&'a str>,
    },
    /// A launch token was exchanged.
    Redemption {
        /// The repository that the credential is for.
        repository: &'a RepositoryName,
        /// The job that the launch was made for.
        job: JobId,
        /// The launch.
        launch: LaunchId,
        /// What for.
        credential: CredentialKind,
    },
    /// The rules of a profile deny a job its runner; once for each job.
    Denial {
        /// The job's repository.
        repository: &'a RepositoryName,
        /// Who queued the job at GitHub, if the webhook named somebody.
        #[serde(skip_serializing_if = "Option::is_none")]
        person: Option<&'a str>,
        /// The job.
        job: JobId,
        /// The launch whose token was to be exchanged.
        launch: LaunchId,
        /// The profile.
        profile: &'a str,
        /// The rule, by its key in the profile.
        rule: &'a str,
        /// The same in words.
        reason: &'a str,
    },
    /// The check on a compute node refused the job that GitHub gave to a launch's runner; once for each launch.
    RefusedAtNode {
        /// The job that the launch was made for.
        job: JobId,
        /// The launch.
        launch: LaunchId,
        /// Why, by the node's words.
        reason: &'a str,
        /// The refused job's repository, by the node's words.
        #[serde(skip_serializing_if = "Option::is_none")]
        repository: Option<&'a str>,
        /// The refused job's workflow run, by the node's words.
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<u64>,
    },
    /// A launch token was used again after it was exchanged; once for each launch.
    Replay {
        /// The job that the launch was made for.
        job: JobId,
        /// The launch.
        launch: LaunchId,
    },
    /// The operator stopped launches.
    Stop {
        /// Of this repository; of all, where it is absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        repository: Option<&'a RepositoryName>,
        /// The address that the order came from.
        client: &'a str,
    },
    /// The operator resumed launches.
    Resume {
        /// Of this repository; of all, where it is absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        repository: Option<&'a RepositoryName>,
        /// The address that the order came from.
        client: &'a str,
    },
    /// The operator revoked every launch token.
    Revocation {
        /// The address that the order came from.
        client: &'a str,
    },
    /// The setup in the browser registered the App.
    Registration {
        /// The App's ID.
        app_id: u64,
        /// The address that it came from.
        client: &'a str,
    },
}

/// Writes a record.
pub fn record(platform: &(impl Audit + Clock), what: &Record<'_>) {
    let mut line = json!(what);
    if let Value::Object(fields) = &mut line {
        fields.insert("time".to_owned(), platform.unix_seconds().into());
        // A log that is filtered by level takes it for what it is.
        fields.insert("level".to_owned(), "info".into());
    }
    platform.audit(&line.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    #[test]
    fn a_record_is_one_line_with_these_fields() {
        let repository = RepositoryName::try_from("octo/repo".to_owned()).unwrap();
        let (job, launch) = (JobId(42), "42-1".parse().unwrap());
        let launched = Record::Launch {
            repository: &repository,
            person: Some("octocat"),
            job,
            launch,
            profile: "cpu",
            run: Some(7),
            slurm_user: None,
            cluster: None,
            slurm_job: Some("17"),
        };
        let redeemed = Record::Redemption { repository: &repository, job, launch, credential: CredentialKind::Jit };
        let platform = Memory::new();
        for (what, line) in [
            (Record::LogIn { client: "192.0.2.1" }, json!({"audit": "log_in", "client": "192.0.2.1"})),
            (
                Record::Refused { door: Door::Api, client: "192.0.2.1", limited: false },
                json!({"audit": "refused", "door": "api", "client": "192.0.2.1", "limited": false}),
            ),
            (
                launched,
                json!({"audit": "launch", "repository": "octo/repo", "person": "octocat", "job": 42, "launch": "42-1",
                       "profile": "cpu", "run": 7, "slurm_job": "17"}),
            ),
            (
                redeemed,
                json!({"audit": "redemption", "repository": "octo/repo", "job": 42, "launch": "42-1",
                       "credential": "jit"}),
            ),
            (Record::Stop { repository: None, client: "::1" }, json!({"audit": "stop", "client": "::1"})),
        ] {
            record(&platform, &what);
            let written = platform.audited.borrow_mut().pop().unwrap();
            let mut expected = line;
            expected["time"] = platform.unix_seconds().into();
            expected["level"] = "info".into();
            assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), expected);
            assert!(!written.contains('\n'));
        }
    }
}
