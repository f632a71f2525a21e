//! Which repository runs as which Slurm user, and what that user's jobs may be.
//!
//! An exact entry goes before `owner/*`. GitHub's names have no case, so neither have these. Two users for one entry are
//! a mistake that would be found out too late, hence an error.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use gha_slurm_protocol::identity::RepositoryName;
use url::Url;

use super::file::{Policy, Repository};
use super::{ConfigError, invalid};

/// The page of a repository: origin and `owner/name`, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepositoryUrl {
    origin: String,
    owner: String,
    name: String,
}

impl RepositoryUrl {
    /// Reads `https://host/owner/name`; a trailing slash or `.git` does not matter.
    pub fn parse(text: &str) -> Option<Self> {
        Self::with_page(text).map(|(url, _)| url)
    }

    /// The same, with the page in its one normal form: what was understood is what is passed on, never what was typed
    /// (`https:github.com/o/r`, `https://github.com/a/../o/r`). Only the case is kept.
    pub fn with_page(text: &str) -> Option<(Self, String)> {
        let url = Url::parse(text).ok()?;
        let bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !bare || url.password().is_some() || !matches!(url.scheme(), "https" | "http") {
            return None;
        }
        let path = url.path().trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let name = RepositoryName::try_from(path.to_owned()).ok()?;
        let origin = url.origin().ascii_serialization();
        let page = format!("{origin}/{name}");
        let lower = |text: &str| text.to_ascii_lowercase();
        Some((Self { owner: lower(name.owner()), name: lower(name.name()), origin }, page))
    }

    /// Reads a page, or `https://host/owner/*`.
    fn parse_pattern(text: &str) -> Option<Self> {
        match text.strip_suffix("/*") {
            Some(owner) => Self::parse(&format!("{owner}/any")).map(|url| Self { name: "*".to_owned(), ..url }),
            None => Self::parse(text),
        }
    }
}

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.origin, self.owner, self.name)
    }
}

/// Repositories to Slurm users.
#[derive(Debug)]
pub struct Mapping {
    entries: HashMap<RepositoryUrl, String>,
    policies: BTreeMap<String, Policy>,
}

impl Mapping {
    pub(super) fn new(
        repositories: Vec<Repository>,
        mut policies: BTreeMap<String, Policy>,
    ) -> Result<Self, ConfigError> {
        let mut entries = HashMap::new();
        let flat =
            repositories.into_iter().map(|entry| (entry.github_url, entry.slurm_user, "repositories".to_owned()));
        let nested = policies.iter().flat_map(|(user, policy)| {
            let key = format!("slurmUsers.{user}.repositories");
            policy.repositories.iter().map(move |url| (url.clone(), user.clone(), key.clone()))
        });
        let all: Vec<_> = flat.chain(nested).collect();
        for (text, user, key) in all {
            if !is_user_name(&user) {
                return Err(invalid(key, format!("{user:?} is no name of a Slurm user")));
            }
            let url = RepositoryUrl::parse_pattern(&text)
                .ok_or_else(|| invalid(&key, format!("{text:?} is neither https://host/owner/name nor …/owner/*")))?;
            policies.entry(user.clone()).or_default();
            if entries.insert(url, user.clone()).is_some_and(|other| other != user) {
                return Err(invalid(key, format!("{text:?} is mapped to two Slurm users")));
            }
        }
        for user in policies.keys() {
            check_user(user)?;
        }
        if entries.is_empty() {
            return Err(invalid("repositories", "no repository is mapped to a Slurm user"));
        }
        Ok(Self { entries, policies })
    }

    /// The Slurm user of a repository, and its policy.
    pub fn find(&self, repository: &RepositoryUrl) -> Option<(&str, &Policy)> {
        let owners = RepositoryUrl { name: "*".to_owned(), ..repository.clone() };
        let user = self.entries.get(repository).or_else(|| self.entries.get(&owners))?;
        self.policies.get_key_value(user).map(|(user, policy)| (user.as_str(), policy))
    }

    /// The owners whose repositories run as that Slurm user, each with its server.
    pub fn owners(&self, user: &str) -> BTreeSet<String> {
        let own = self.entries.iter().filter(|(_, mapped)| *mapped == user);
        own.map(|(url, _)| format!("{}/{}", url.origin, url.owner)).collect()
    }

    /// Every Slurm user that is mapped.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.policies.keys().map(String::as_str)
    }
}

fn check_user(user: &str) -> Result<(), ConfigError> {
    if !is_user_name(user) {
        return Err(invalid("slurmUsers", format!("{user:?} is no name of a Slurm user")));
    }
    // A runner runs what a workflow says; as root it would own the node.
    if user == "root" {
        return Err(invalid("slurmUsers", "runners do not run as root"));
    }
    Ok(())
}

/// As useradd(8) takes them, with the dots and the @ of directory services.
fn is_user_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte))
}
