//! Names of things, as types, so that a job is never taken for a launch and nothing unchecked enters a URL or a key.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::values::is_plain;

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

/// The login of a GitHub account, as GitHub writes it. Logins have no case, so two spellings of one are equal. It is no
/// identity: an account can be renamed, and another one can then take the login. That is what [`Person::id`] is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Login(String);

impl Login {
    /// The login.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn lower(&self) -> impl Iterator<Item = u8> {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Login {}

impl Hash for Login {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.lower().for_each(|byte| byte.hash(state));
        0xff_u8.hash(state);
    }
}

impl PartialOrd for Login {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Login {
    fn cmp(&self, other: &Self) -> Ordering {
        self.lower().cmp(other.lower())
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Login {
    type Error = MalformedName;

    fn try_from(text: String) -> Result<Self, MalformedName> {
        // `dependabot[bot]` is an App; `ada_company` is a person whom an enterprise manages.
        let name = text.strip_suffix("[bot]").unwrap_or(&text);
        match is_plain(name, b"-_", 100) && !name.starts_with(['-', '_']) {
            true => Ok(Self(text)),
            false => Err(MalformedName("a GitHub login")),
        }
    }
}

impl FromStr for Login {
    type Err = MalformedName;

    fn from_str(text: &str) -> Result<Self, MalformedName> {
        text.to_owned().try_into()
    }
}

impl From<Login> for String {
    fn from(login: Login) -> Self {
        login.0
    }
}

/// A GitHub account at a moment: what it is called, and the number that stays.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Person {
    /// What it is called.
    pub login: Login,
    /// GitHub's number for it.
    pub id: u64,
}

/// The name of a Slurm user as useradd(8) takes them, with the dots and the `@` of directory services; it can never be
/// read as an option.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SlurmUser(String);

impl SlurmUser {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SlurmUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SlurmUser {
    type Error = MalformedName;

    fn try_from(text: String) -> Result<Self, MalformedName> {
        match is_plain(&text, b"-_.@", 64)
            && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        {
            true => Ok(Self(text)),
            false => Err(MalformedName("the name of a Slurm user")),
        }
    }
}

impl FromStr for SlurmUser {
    type Err = MalformedName;

    fn from_str(text: &str) -> Result<Self, MalformedName> {
        text.to_owned().try_into()
    }
}

impl From<SlurmUser> for String {
    fn from(user: SlurmUser) -> Self {
        user.0
    }
}

/// The name of a Slurm cluster: up to 40 lower-case letters, digits and `-`, the first a letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClusterName(String);

impl ClusterName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ClusterName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ClusterName {
    type Error = MalformedName;

    fn try_from(text: String) -> Result<Self, MalformedName> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        match text.len() <= 40 && text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(plain)
        {
            true => Ok(Self(text)),
            false => Err(MalformedName(
                "the name of a cluster: up to 40 lower-case letters, digits and '-', the first a letter",
            )),
        }
    }
}

impl FromStr for ClusterName {
    type Err = MalformedName;

    fn from_str(text: &str) -> Result<Self, MalformedName> {
        text.to_owned().try_into()
    }
}

impl From<ClusterName> for String {
    fn from(name: ClusterName) -> Self {
        name.0
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
    fn a_login_has_no_case_and_nothing_that_a_command_would_read() {
        let login = |text: &str| text.parse::<Login>();
        let hash = |login: &Login| {
            let mut hasher = std::hash::DefaultHasher::new();
            login.hash(&mut hasher);
            hasher.finish()
        };
        let (one, other) = (login("Ada-Lovelace").unwrap(), login("ada-lovelace").unwrap());
        assert_eq!((&one, hash(&one), one.cmp(&other)), (&other, hash(&other), Ordering::Equal));
        assert_eq!(one.to_string(), "Ada-Lovelace");
        assert!(login("ada_company").is_ok() && login("dependabot[bot]").is_ok() && login(&"x".repeat(100)).is_ok());
        for bad in ["", "[bot]", "-ada", "_ada", "a b", "a.b", "a[bot]x", "ada[bot][bot]", "ä", "a\n", &"x".repeat(101)]
        {
            assert!(login(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_slurm_users_name_is_never_an_option() {
        for good in ["ada", "_ci", "ada.l@example.org", "a-1"] {
            assert!(good.parse::<SlurmUser>().is_ok(), "{good}");
        }
        for bad in ["", "1ada", "-ada", ".ada", "a b", "ada\n", "a/b", "*", &"x".repeat(65)] {
            assert!(bad.parse::<SlurmUser>().is_err(), "{bad:?}");
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
