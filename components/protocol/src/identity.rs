//! Names of things, as types, so that a job is never taken for a launch and nothing unchecked enters a URL or a key.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The id of a GitHub `workflow_job`. A re-run has a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value that is not the name it should be.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
#[error("not {0}")]
pub struct MalformedName(pub &'static str);

/// `owner/name`, only of characters that GitHub allows, so that it can stand in a URL's path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RepositoryName {
    full: String,
    slash: usize,
}

impl RepositoryName {
    /// The account that owns it.
    pub fn owner(&self) -> &str {
        self.full.split_at(self.slash).0
    }

    /// The name without its owner.
    pub fn name(&self) -> &str {
        self.full.split_at(self.slash).1.trim_start_matches('/')
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}

impl TryFrom<String> for RepositoryName {
    type Error = MalformedName;

    fn try_from(full: String) -> Result<Self, MalformedName> {
        let plain = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.len() <= 100
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        match full.split_once('/') {
            Some((owner, name)) if plain(owner) && plain(name) => Ok(Self { slash: owner.len(), full }),
            _ => Err(MalformedName("a repository name of the form owner/name")),
        }
    }
}

impl From<RepositoryName> for String {
    fn from(name: RepositoryName) -> Self {
        name.full
    }
}

/// One attempt to start a runner for a job: `{job}-{number}`. It is the launch token's `jti`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LaunchId {
    /// The job that it was started for.
    pub job: JobId,
    /// 1 for the job's first launch.
    pub number: u32,
}

impl LaunchId {
    /// The name that the launch's runner registers under, so that *in_progress* tells whose runner took a job.
    pub fn runner_name(&self) -> String {
        format!("{RUNNER_NAME_PREFIX}{self}")
    }

    /// The names that its one runner may have, the usual one first. The others are for when GitHub has a runner of that
    /// name that cannot be removed.
    pub fn runner_names(&self) -> impl ExactSizeIterator<Item = String> {
        let name = self.runner_name();
        RUNNER_NAME_SUFFIXES.iter().map(move |suffix| format!("{name}{suffix}"))
    }

    /// The launch whose runner has this name, when the runner is one of ours.
    pub fn of_runner(name: &str) -> Option<Self> {
        let name = name.strip_prefix(RUNNER_NAME_PREFIX)?;
        // The empty one last: it ends every name.
        RUNNER_NAME_SUFFIXES.iter().rev().find_map(|suffix| name.strip_suffix(suffix))?.parse().ok()
    }
}

const RUNNER_NAME_PREFIX: &str = "gha-slurm-";
const RUNNER_NAME_SUFFIXES: [&str; 3] = ["", "-b", "-c"];

impl fmt::Display for LaunchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.job, self.number)
    }
}

impl FromStr for LaunchId {
    type Err = MalformedName;

    fn from_str(text: &str) -> Result<Self, MalformedName> {
        let malformed = MalformedName("a launch id of the form job-number");
        let (job, number) = text.split_once('-').ok_or(malformed)?;
        let id =
            Self { job: JobId(job.parse().map_err(|_| malformed)?), number: number.parse().map_err(|_| malformed)? };
        // One spelling each: "+1-01" is not a second name of launch 1-1.
        if id.to_string() == text { Ok(id) } else { Err(malformed) }
    }
}

impl TryFrom<String> for LaunchId {
    type Error = MalformedName;

    fn try_from(text: String) -> Result<Self, MalformedName> {
        text.parse()
    }
}

impl From<LaunchId> for String {
    fn from(id: LaunchId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_name_is_safe_in_a_path() {
        let name = RepositoryName::try_from("octo-org/my.repo_1".to_owned()).unwrap();
        assert_eq!((name.owner(), name.name()), ("octo-org", "my.repo_1"));
        for bad in ["", "a", "a/", "/b", "a/b/c", "../x", "a/..", "a/b?c", "a b/c", "ä/b", "a/b\n", "a/%2e"] {
            assert!(RepositoryName::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_launch_id_has_one_spelling() {
        let id: LaunchId = "18446744073709551615-2".parse().unwrap();
        assert_eq!(LaunchId::of_runner(&id.runner_name()), Some(id));
        for bad in ["", "1", "1-", "-1", "+1-1", "01-1", "1-01", "1-1-1", "1-1 ", "18446744073709551616-1"] {
            assert!(bad.parse::<LaunchId>().is_err(), "{bad:?}");
        }
        assert_eq!(LaunchId::of_runner("somebody-else"), None);
    }

    #[test]
    fn each_name_of_a_launchs_runner_leads_to_the_launch() {
        let id: LaunchId = "42-1".parse().unwrap();
        let names: Vec<String> = id.runner_names().collect();
        assert_eq!(names, ["gha-slurm-42-1", "gha-slurm-42-1-b", "gha-slurm-42-1-c"]);
        assert!(names.iter().all(|name| LaunchId::of_runner(name) == Some(id)));
        for other in ["gha-slurm-42-1-", "gha-slurm-42-1-a", "gha-slurm-42-1-b-c", "gha-slurm-42-b", "42-1-b"] {
            assert_eq!(LaunchId::of_runner(other), None, "{other}");
        }
    }
}
