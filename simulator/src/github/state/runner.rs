//! Self-hosted runners, and the JIT configurations that they start from.

use jwt_simple::reexports::ct_codecs::{Base64, Encoder};
use serde_json::{Map, Value, json};

use super::group::Groups;
use super::job::{Job, JobStatus};
use super::repository::Repository;
use crate::random::{random_bytes, random_text};

/// Whose runners they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// By its id.
    Repository(u64),
    /// By its login.
    Organization(String),
}

pub(crate) struct Runner {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) owner: Owner,
    /// The id of its group; a repository's own runners have the first.
    pub(crate) group: u64,
    pub(crate) labels: Vec<String>,
    pub(crate) job: Option<u64>,
    /// A runner of a JIT configuration is known before it connects.
    pub(crate) online: bool,
}

impl Runner {
    pub(crate) fn is_idle(&self) -> bool {
        self.online && self.job.is_none()
    }

    /// Whether GitHub may give it that job: any idle runner that serves the repository, of a group that the repository may
    /// use, and with all of its labels.
    pub(crate) fn fits(&self, job: &Job, repository: &Repository, groups: &mut Groups) -> bool {
        let serves = match &self.owner {
            Owner::Repository(id) => *id == repository.id,
            Owner::Organization(login) => {
                let group = groups.find(login, self.group);
                repository.is_of(login) && group.is_some_and(|group| group.serves(repository))
            }
        };
        let has = |label: &String| self.labels.iter().any(|own| own.eq_ignore_ascii_case(label));
        job.status == JobStatus::Queued && self.is_idle() && serves && job.labels.iter().all(has)
    }
}

/// The `encoded_jit_config` of a runner: base64 of JSON, whose names are the files that the runner program writes beside
/// itself and whose values are their contents in base64. As GitHub makes it, `.runner` has all values as strings.
///
/// Source: actions/runner, `Runner.cs` (`ExecuteCommand`) and `ConfigurationStore.cs` (`RunnerSettings`).
pub(crate) fn encoded_jit_config(id: u64, name: &str, url: &str, work_folder: &str) -> String {
    let settings = json!({
        "AgentId": id.to_string(), "AgentName": name, "DisableUpdate": "True", "Ephemeral": "True", "PoolId": "1",
        "PoolName": null, "ServerUrl": "https://pipelines.actions.githubusercontent.com/simulated/",
        "WorkFolder": work_folder, "GitHubUrl": url,
    });
    let credentials = json!({
        "Scheme": "OAuth", "Data": {
            "ClientId": random_text(32).to_lowercase(), "RequireFipsCryptography": "True",
            "AuthorizationUrl": "https://vstoken.actions.githubusercontent.com/_apis/oauth2/token/simulated",
        },
    });
    // As long as an RSA key of 2048 bits, and none.
    let part = |length| base64(&random_bytes(length));
    let key = json!({
        "d": part(256), "dp": part(128), "dq": part(128), "exponent": "AQAB", "inverseQ": part(128),
        "modulus": part(256), "p": part(128), "q": part(128),
    });
    let files = [(".runner", settings), (".credentials", credentials), (".credentials_rsaparams", key)];
    let files = files.map(|(name, content)| (name.to_owned(), Value::from(base64(content.to_string().as_bytes()))));
    base64(Value::from(Map::from_iter(files)).to_string().as_bytes())
}

fn base64(bytes: &[u8]) -> String {
    Base64::encode_to_string(bytes).unwrap()
}
