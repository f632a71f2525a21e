//! A launch request as the gateway takes it: every value checked against a strict pattern, or refused by its field's
//! name.
//!
//! What comes through here is inert: no character that a shell, Slurm or an HTTP header reads as anything but itself.
//! The values are quoted all the same where they are used; either would do alone.

use std::fmt;

use gha_slurm_protocol::hex::hex;
use gha_slurm_protocol::identity::{JobId, LaunchId, Person, SlurmUser};
use gha_slurm_protocol::labels::check_list;
use gha_slurm_protocol::messages::{RunnerLevel, StartRunner};
use gha_slurm_protocol::resources::{MalformedField, Resources};
use gha_slurm_protocol::secret::Secret;
use gha_slurm_protocol::values::{SlurmName, is_plain};
use sha2::{Digest, Sha256};
use url::Url;

use crate::config::{RepositoryUrl, UserSettings};

/// A value that the gateway does not take.
pub type Rejected = MalformedField;

fn rejected(field: &'static str, problem: impl Into<String>) -> Rejected {
    Rejected { field, problem: problem.into() }
}

/// What names a launch here: its id, or, for an app that sends none, a digest of its token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LaunchKey(String);

impl LaunchKey {
    /// Reads a key as [`fmt::Display`] writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let digest = text.strip_prefix("t-");
        let known = match digest {
            Some(digest) => digest.len() == 32 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
            None => text.parse::<LaunchId>().is_ok(),
        };
        known.then(|| Self(text.to_owned()))
    }

    /// The Slurm job's name, by which it is found again.
    pub fn slurm_name(&self) -> String {
        format!("gha-slurm-{self}")
    }
}

impl From<LaunchId> for LaunchKey {
    fn from(id: LaunchId) -> Self {
        Self(id.to_string())
    }
}

impl fmt::Display for LaunchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A checked request.
#[derive(Debug)]
pub struct Launch {
    /// Its name.
    pub key: LaunchKey,
    /// Whose runner it is.
    pub repository: RepositoryUrl,
    /// The repository's page in its normal form.
    pub url: String,
    /// What the job script exchanges.
    pub token: Secret,
    /// Where, in the URL's normal form.
    pub redeem_url: Url,
    /// The labels, comma-separated; may be empty.
    pub labels: String,
    /// The name to register under.
    pub runner_name: String,
    /// What was asked of Slurm.
    pub resources: Resources,
    /// The app's name for the kind of job, for the audit log.
    pub profile: Option<String>,
    /// The job that it was started for, when the app tells it.
    pub job: Option<JobId>,
    /// GitHub's number for the repository.
    pub repository_id: Option<u64>,
    /// GitHub's number for the workflow run.
    pub run: Option<u64>,
    /// Who caused the job, as the app says.
    pub person: Option<Person>,
    /// The Slurm user that the workflow names.
    pub slurm_user: Option<SlurmUser>,
    /// What the runner is registered at.
    pub level: RunnerLevel,
}

impl TryFrom<StartRunner> for Launch {
    type Error = Rejected;

    fn try_from(asked: StartRunner) -> Result<Self, Rejected> {
        let page = RepositoryUrl::with_page(&asked.github_url).filter(|(_, page)| is_plain(page, b"-_.:/[]", 300));
        let (repository, url) = page.ok_or_else(|| rejected("gitHubURL", "not the page of a repository"))?;
        if !is_jwt(asked.launch_token.expose()) {
            return Err(rejected("launcherToken", "not a JWT"));
        }
        let redeem_url =
            redeem_url(&asked.redeem_url).ok_or_else(|| rejected("tokenURL", "not a plain http or https URL"))?;
        check_list(&asked.runner_labels).map_err(|error| rejected("runnerLabels", error.to_string()))?;
        let key = asked.launch.map_or_else(|| key_of_token(&asked.launch_token), LaunchKey::from);
        let runner_name = Some(asked.runner_name.clone()).filter(|name| !name.is_empty());
        // The original's default is the host's name, which two runners of one node would share.
        let runner_name = runner_name.unwrap_or_else(|| key.slurm_name());
        if !is_plain(&runner_name, b"-_.", 64) || runner_name.starts_with('-') {
            return Err(rejected("runnerName", "up to 64 letters, digits and -_."));
        }
        let resources = Resources::try_from(&asked.resources)?;
        Ok(Self {
            key,
            repository,
            url,
            token: asked.launch_token,
            redeem_url,
            labels: asked.runner_labels,
            runner_name,
            resources,
            profile: asked.profile.filter(|name| is_plain(name, b"-_.", 64)),
            job: asked.launch.map(|launch| launch.job),
            repository_id: asked.repository_id,
            run: asked.run_id,
            person: asked.person,
            slurm_user: asked.slurm_user,
            level: asked.level,
        })
    }
}

impl Launch {
    /// The page that the runner registers at when that is not the repository's.
    pub fn owner_page(&self) -> Option<&str> {
        match self.level {
            RunnerLevel::Repository => None,
            RunnerLevel::Organization => self.url.rsplit_once('/').map(|(owner, _)| owner),
        }
    }
}

fn key_of_token(token: &Secret) -> LaunchKey {
    let digest = Sha256::digest(token.expose());
    LaunchKey(format!("t-{}", hex(digest.into_iter().take(16))))
}

/// What curl is given is what was checked here, not what was typed: nothing that another parser might read differently.
fn redeem_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| is_plain(text, b"-_.~:/%?=[]", 2000))?;
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (bare && matches!(url.scheme(), "http" | "https") && is_plain(url.as_str(), b"-_.~:/%?=[]", 2000)).then_some(url)
}

/// Three parts of base64url (RFC 7515, 7.1), the signature among them.
fn is_jwt(token: &str) -> bool {
    token.split('.').count() == 3 && token.split('.').all(|part| is_plain(part, b"-_", 8192))
}

/// What Slurm is asked for under a user's settings, or the field that goes beyond it.
pub(crate) fn within(settings: &UserSettings, asked: &Resources) -> Result<Resources, Rejected> {
    let limits = &settings.limits;
    let mut granted = asked.clone();
    match (&asked.partition, &settings.partition) {
        (None, default) => granted.partition.clone_from(default),
        (Some(asked), default) => {
            let free = default.is_none() && settings.partitions.is_empty();
            if !free && default.as_ref() != Some(asked) && !settings.partitions.contains(asked) {
                return Err(rejected("partition", "not open to this Slurm user"));
            }
        }
    }
    granted.account = one_of("account", asked.account.as_ref(), settings.account.as_ref(), &settings.accounts)?;
    granted.qos = one_of("qos", asked.qos.as_ref(), settings.qos.as_ref(), &settings.qoses)?;
    granted.reservation = one_of("reservation", asked.reservation.as_ref(), None, &settings.reservations)?;
    granted.wckey = one_of("wckey", asked.wckey.as_ref(), None, &settings.wckeys)?;
    if let (Some(asked), Some(limit)) = (&asked.licenses, &limits.licenses) {
        let problem = || format!("more than {limit}, which this Slurm user may have");
        granted.licenses = Some(asked.within(limit).ok_or_else(|| rejected("licenses", problem()))?);
    }
    // What is per node, or per task, counts as often as there are nodes or tasks.
    let nodes = asked.total_nodes();
    let over = |what: &str, limit: &dyn fmt::Display| {
        let all = if nodes > 1 { format!(", on its {nodes} nodes together,") } else { String::new() };
        format!("{what}{all} than the {limit} that this Slurm user may have")
    };
    if let Some(limit) = limits.cpus
        && asked.total_cpus() > limit.get().into()
    {
        return Err(rejected("cpus", over("more", &limit)));
    }
    if let Some(limit) = limits.memory {
        let field = if asked.mem_per_cpu.is_some() { "mem_per_cpu" } else { "memory" };
        match asked.total_memory() {
            // By itself Slurm may give a task more than one, as by DefCpuPerGPU.
            _ if asked.mem_per_cpu.is_some() && asked.cpus.is_none() => {
                return Err(rejected(field, "needs cpus, because this Slurm user has a limit on memory"));
            }
            Some(total) if total > limit.mebibytes() => return Err(rejected(field, over("more", &limit))),
            Some(_) => {}
            None => granted.memory = Some(limit.share(nodes).ok_or_else(|| rejected("memory", over("more", &limit)))?),
        }
    }
    granted.time_limit = match (asked.time_limit, limits.time) {
        (Some(asked), Some(limit)) if asked > limit => {
            return Err(rejected("duration", over("longer", &format!("{limit} minutes"))));
        }
        (asked, limit) => asked.or(limit),
    };
    if let Some(limit) = limits.gpus {
        if asked.total_gres(&["gpu"]) > limit.into() {
            return Err(rejected("gres", over("more", &format!("{limit} GPUs"))));
        }
        // How many of them make a GPU is the site's to know.
        if asked.total_gres(&["shard", "mps"]) > 0 {
            return Err(rejected("gres", "parts of GPUs are not for a Slurm user with a limit on GPUs".to_owned()));
        }
    }
    if asked.exclusive && !limits.allow_exclusive() {
        return Err(rejected("exclusive", "whole nodes are not for this Slurm user"));
    }
    Ok(granted)
}

/// What is asked for when it is open to the Slurm user, or the configured one. What a user may have by Slurm's own
/// records is not asked: nothing is open that the configuration does not name.
fn one_of(
    field: &'static str,
    asked: Option<&SlurmName>,
    default: Option<&SlurmName>,
    open: &[SlurmName],
) -> Result<Option<SlurmName>, Rejected> {
    match asked {
        Some(name) if default != Some(name) && !open.contains(name) => {
            Err(rejected(field, "not open to this Slurm user"))
        }
        asked => Ok(asked.or(default).cloned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn launch(changes: Value) -> Result<Launch, Rejected> {
        let mut body = json!({
            "gitHubURL": "https://github.com/octo-org/simulation",
            "launcherToken": "eyJh.eyJz.c2ln",
            "runnerLabels": "self-hosted,slurm,slurm-cpus=8",
            "tokenURL": "https://app.example/gha/runner",
        });
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        Launch::try_from(serde_json::from_value::<StartRunner>(body).unwrap())
    }

    #[test]
    fn the_originals_request_is_taken() {
        let first = launch(json!({"runnerName": "r", "cpus": "2", "memory": "16gb", "exclusive": "true"})).unwrap();
        assert_eq!((first.resources.cpus, first.resources.exclusive), ("2".parse().ok(), true));
        assert_eq!(first.resources.memory.unwrap().mebibytes(), 16_384);
        let unnamed = launch(json!({})).unwrap();
        assert_eq!(unnamed.key, first.key, "the same token is the same launch");
        assert_eq!(unnamed.runner_name, unnamed.key.slurm_name());
        assert_eq!(LaunchKey::parse(&unnamed.key.to_string()), Some(unnamed.key));
    }

    #[test]
    fn nothing_that_a_shell_would_read_passes() {
        let evil = "x$`\";touch /tmp/x;#";
        let strings = [
            evil, "a'b", "a b", "a\nb", "a\\b", "$(id)", "a|b", "a&b", "a>b", "ä", "a\0b", "--x", "*", "~", "{a,b}",
            "!x",
        ];
        // One of the resources stands for all: each is checked where it is read.
        for field in ["gitHubURL", "launcherToken", "runnerLabels", "tokenURL", "runnerName", "gres"] {
            for text in strings {
                let refused = launch(json!({field: text})).map(|_| ()).unwrap_err();
                assert_eq!(refused.field, field, "{text:?}");
                assert!(field != "launcherToken" || !refused.to_string().contains(text), "{refused}");
            }
        }
        for url in ["https://github.com/o/r?x=$(id)", "https://u:p@github.com/o/r", "ftp://github.com/o/r", "o/r"] {
            assert_eq!(launch(json!({"gitHubURL": url})).map(|_| ()).unwrap_err().field, "gitHubURL", "{url}");
        }
        for token in ["", "a.b", "a.b.c.d", "a..c", ".b.c", "a.b.c "] {
            assert_eq!(launch(json!({"launcherToken": token})).map(|_| ()).unwrap_err().field, "launcherToken");
        }
        for gres in ["gres:gpu:2", "gres:gpu", "GRES:gpu", "none", "gpu:a:b", "gpu:1:2:3", ","] {
            assert_eq!(launch(json!({"gres": gres})).map(|_| ()).unwrap_err().field, "gres", "{gres}");
        }
        for labels in [",", "a,", "a,,b", &["x"; 101].join(","), &"x".repeat(257)] {
            assert_eq!(launch(json!({"runnerLabels": labels})).map(|_| ()).unwrap_err().field, "runnerLabels");
        }
    }

    #[test]
    fn what_is_passed_on_is_what_was_understood() {
        for typed in
            ["https:github.com/octo/sim", "https://github.com/a/../octo/sim", "https://GITHUB.com/octo/sim.git/"]
        {
            let taken = launch(json!({"gitHubURL": typed})).unwrap();
            assert_eq!(taken.url, "https://github.com/octo/sim", "{typed}");
        }
        let taken = launch(json!({"tokenURL": "https:app.example/x/../gha/runner"})).unwrap();
        assert_eq!(taken.redeem_url.as_str(), "https://app.example/gha/runner");
        for typed in
            ["https://user@app.example/", "file:///etc/passwd", "https://app.example/#x", "https://app.example/{a,b}"]
        {
            assert_eq!(launch(json!({"tokenURL": typed})).map(|_| ()).unwrap_err().field, "tokenURL", "{typed}");
        }
    }

    #[test]
    fn an_organizations_runner_registers_at_its_owners_page() {
        assert_eq!(launch(json!({})).unwrap().owner_page(), None);
        let organizations = launch(json!({"level": "organization"})).unwrap();
        assert_eq!(organizations.owner_page(), Some("https://github.com/octo-org"));
    }

    #[test]
    fn settings_fill_in_and_limit() {
        let settings: UserSettings = serde_json::from_value(json!({
            "partition": "gha", "partitions": ["big"], "account": "physics", "accounts": ["lab"], "qoses": ["high"],
            "limits": {"cpus": 8, "memory": "16G", "gpus": 2, "time": "120", "exclusive": false, "licenses": "ansys:2"},
            "reservations": ["course"],
        }))
        .unwrap();
        let asked = |changes: Value| launch(changes).unwrap().resources;
        let granted = within(&settings, &asked(json!({}))).unwrap();
        assert_eq!(granted.partition, "gha".parse().ok());
        assert_eq!((granted.memory.unwrap().mebibytes(), granted.time_limit.unwrap().minutes()), (16_384, 120));
        assert_eq!((granted.account, granted.qos), ("physics".parse().ok(), None));
        let named = within(&settings, &asked(json!({"account": "lab", "qos": "high"}))).unwrap();
        assert_eq!((named.account, named.qos), ("lab".parse().ok(), "high".parse().ok()));
        let four = within(&settings, &asked(json!({"constraint": "[a*2&b*2]", "cpus": "2"}))).unwrap();
        assert_eq!(four.memory.unwrap().mebibytes(), 4_096, "the limit is for all nodes together");
        let each = within(&settings, &asked(json!({"cpus": "4", "mem_per_cpu": "4G"}))).unwrap();
        assert_eq!((each.memory, each.mem_per_cpu), (None, "4G".parse().ok()), "no memory per node besides");
        let most = json!({"partition": "big", "account": "physics", "cpus": "8", "memory": "16G", "gres": "gpu:a100:2,disk:9", "licenses": "ansys:2", "reservation": "course", "duration": "120"});
        within(&settings, &asked(most)).unwrap();
        for (changes, field) in [
            (json!({"partition": "secret"}), "partition"),
            (json!({"account": "chemistry"}), "account"),
            (json!({"qos": "normal"}), "qos"),
            (json!({"reservation": "other"}), "reservation"),
            (json!({"wckey": "w"}), "wckey"),
            (json!({"licenses": "ansys:3"}), "licenses"),
            (json!({"licenses": "matlab"}), "licenses"),
            (json!({"cpus": "9"}), "cpus"),
            (json!({"memory": "17G"}), "memory"),
            (json!({"duration": "2:00:01"}), "duration"),
            (json!({"gres": "gpu:3"}), "gres"),
            (json!({"gres": "gpu:2,gpu:a100:1"}), "gres"),
            (json!({"gres": "GPU:3"}), "gres"),
            (json!({"gres": "shard:1"}), "gres"),
            (json!({"gres": "mps:100"}), "gres"),
            (json!({"exclusive": "true"}), "exclusive"),
            (json!({"nodes": "9"}), "cpus"),
            (json!({"nodes": "4", "cpus": "3"}), "cpus"),
            (json!({"nodes": "2", "ntasks_per_node": "5"}), "cpus"),
            (json!({"ntasks": "5", "cpus": "2"}), "cpus"),
            (json!({"nodes": "2", "memory": "9G"}), "memory"),
            (json!({"nodes": "2", "cpus": "4", "mem_per_cpu": "3G"}), "mem_per_cpu"),
            (json!({"mem_per_cpu": "1G"}), "mem_per_cpu"),
            (json!({"nodes": "3", "gres": "gpu:a100:1"}), "gres"),
            (json!({"constraint": "[a*2&b*2]", "cpus": "3"}), "cpus"),
            (json!({"constraint": "[a*2&b*2]", "memory": "5G"}), "memory"),
            (json!({"constraint": "[a*2&b*2]", "gres": "gpu:1"}), "gres"),
        ] {
            assert_eq!(within(&settings, &asked(changes)).unwrap_err().field, field);
        }
        let limited: UserSettings = serde_json::from_value(json!({"limits": {"cpus": 2}})).unwrap();
        let whole = asked(json!({"exclusive": "true"}));
        assert_eq!(within(&limited, &whole).unwrap_err().field, "exclusive", "a whole node is more than 2 CPUs");
        let said: UserSettings = serde_json::from_value(json!({"limits": {"cpus": 2, "exclusive": true}})).unwrap();
        within(&said, &whole).unwrap();
        within(&UserSettings::default(), &asked(json!({"partition": "any", "cpus": "99", "exclusive": "true"})))
            .unwrap();
        let unnamed = within(&UserSettings::default(), &asked(json!({"account": "any"})));
        assert_eq!(unnamed.unwrap_err().field, "account", "whoever is charged has to be named");
    }
}
