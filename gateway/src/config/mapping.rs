//! Which repository runs as which Slurm user, and what that user's jobs may be.
//!
//! An exact entry goes before `owner/*`. GitHub's names have no case, so neither have these. Two users for one entry are
//! a mistake that would be found out too late, hence an error.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use gha_slurm_protocol::identity::{RepositoryName, SlurmUser};
use url::Url;

use super::file::{Repository, UserSettings};
use super::{ConfigError, invalid};

/// The page of a repository: origin and `owner/name`, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
    pub(crate) fn parse_pattern(text: &str) -> Option<Self> {
        match text.strip_suffix("/*") {
            Some(owner) => Self::parse(&format!("{owner}/any")).map(|url| Self { name: ANY.to_owned(), ..url }),
            None => Self::parse(text),
        }
    }

    /// Its server, such as `https://github.com`.
    pub fn server(&self) -> &str {
        &self.origin
    }

    /// `owner/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// All of its owner's.
    pub(crate) fn owners(&self) -> Self {
        Self { name: ANY.to_owned(), ..self.clone() }
    }

    /// Whether it is a repository, and not a pattern for those of an owner.
    fn is_one(&self) -> bool {
        self.name != ANY
    }

    /// Whether they are of one owner.
    pub(crate) fn has_owner_of(&self, other: &Self) -> bool {
        self.origin == other.origin && self.owner == other.owner
    }

    /// Whether `other`, a repository or a pattern, is part of this one.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.has_owner_of(other) && (!self.is_one() || self.name == other.name)
    }
}

/// The name in a pattern. No repository is called that.
const ANY: &str = "*";

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.origin, self.owner, self.name)
    }
}

/// Repositories to Slurm users.
#[derive(Debug)]
pub struct Mapping {
    entries: HashMap<RepositoryUrl, String>,
    ids: BTreeMap<RepositoryUrl, u64>,
    settings: BTreeMap<String, UserSettings>,
}

impl Mapping {
    pub(super) fn new(
        repositories: Vec<Repository>,
        mut settings: BTreeMap<String, UserSettings>,
        may_be_empty: bool,
    ) -> Result<Self, ConfigError> {
        let ids = ids(&repositories)?;
        let mut entries = HashMap::new();
        let flat =
            repositories.into_iter().map(|entry| (entry.github_url, entry.slurm_user, "repositories".to_owned()));
        let nested = settings.iter().flat_map(|(user, own)| {
            let key = format!("slurmUsers.{user}.repositories");
            own.repositories.iter().map(move |url| (url.clone(), user.clone(), key.clone()))
        });
        let all: Vec<_> = flat.chain(nested).collect();
        for (text, user, key) in all {
            check_user(&user, &key)?;
            let url = RepositoryUrl::parse_pattern(&text)
                .ok_or_else(|| invalid(&key, format!("{text:?} is neither https://host/owner/name nor …/owner/*")))?;
            settings.entry(user.clone()).or_default();
            if entries.insert(url, user.clone()).is_some_and(|other| other != user) {
                return Err(invalid(key, format!("{text:?} is mapped to two Slurm users")));
            }
        }
        for user in settings.keys() {
            check_user(user, "slurmUsers")?;
        }
        if entries.is_empty() && !may_be_empty {
            return Err(invalid("repositories", "no repository is mapped to a Slurm user"));
        }
        Ok(Self { entries, ids, settings })
    }

    /// The Slurm user of a repository, and its settings.
    pub fn find(&self, repository: &RepositoryUrl) -> Option<(&str, &UserSettings)> {
        let user = self.entries.get(repository).or_else(|| self.entries.get(&repository.owners()))?;
        self.settings.get_key_value(user).map(|(user, settings)| (user.as_str(), settings))
    }

    /// The settings of a Slurm user that is named otherwise than by a repository.
    pub fn settings(&self, user: &str) -> Option<&UserSettings> {
        self.settings.get(user)
    }

    /// Whether a repository of this one's owner is mapped to anybody.
    pub(crate) fn knows_owner_of(&self, repository: &RepositoryUrl) -> bool {
        self.entries.keys().any(|entry| entry.has_owner_of(repository))
    }

    /// The id that a repository is pinned to.
    pub(crate) fn id_of(&self, repository: &RepositoryUrl) -> Option<u64> {
        self.ids.get(repository).copied()
    }

    /// The pinned repositories among those, with their ids.
    pub(crate) fn ids_in<'a>(
        &'a self,
        patterns: &'a [RepositoryUrl],
    ) -> impl Iterator<Item = (&'a RepositoryUrl, u64)> {
        let among = |url: &RepositoryUrl| patterns.iter().any(|pattern| pattern.covers(url));
        self.ids.iter().filter(move |(url, _)| among(url)).map(|(url, id)| (url, *id))
    }

    /// The repositories and patterns on the launch's server whose jobs may run as that user. The node knows patterns
    /// and no exceptions: where a repository is another user's, its owner's pattern is left out, and the launch's own
    /// repository stands for it.
    pub(crate) fn patterns_of(&self, user: &str, launched: &RepositoryUrl) -> Vec<RepositoryUrl> {
        let others =
            |pattern: &RepositoryUrl| self.entries.iter().any(|(url, mapped)| mapped != user && pattern.covers(url));
        let own = self.entries.iter().filter(|(url, mapped)| *mapped == user && url.origin == launched.origin);
        let mut patterns: Vec<_> = own.map(|(url, _)| url.clone()).filter(|url| !others(url)).collect();
        if !patterns.iter().any(|pattern| pattern.covers(launched)) {
            patterns.push(launched.clone());
        }
        patterns.sort_unstable();
        patterns
    }

    /// The owners whose repositories run as that Slurm user, each with its server.
    pub fn owners(&self, user: &str) -> BTreeSet<String> {
        let own = self.entries.iter().filter(|(_, mapped)| *mapped == user);
        own.map(|(url, _)| format!("{}/{}", url.origin, url.owner)).collect()
    }

    /// Every Slurm user that is mapped.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.settings.keys().map(String::as_str)
    }
}

/// The ids that entries pin their repositories to.
fn ids(repositories: &[Repository]) -> Result<BTreeMap<RepositoryUrl, u64>, ConfigError> {
    let key = "repositories.repositoryId";
    let mut ids = BTreeMap::new();
    for Repository { github_url, repository_id, .. } in repositories {
        let Some(id) = *repository_id else { continue };
        let url = RepositoryUrl::parse(github_url)
            .ok_or_else(|| invalid(key, format!("{github_url:?} is not one repository, so it has no id")))?;
        if ids.insert(url, id).is_some_and(|other| other != id) {
            return Err(invalid(key, format!("{github_url:?} has two ids")));
        }
    }
    Ok(ids)
}

/// A user that a runner may run as, as far as its name tells.
pub(crate) fn check_user(user: &str, key: &str) -> Result<SlurmUser, ConfigError> {
    let name = user.parse::<SlurmUser>().map_err(|_| invalid(key, format!("{user:?} is no name of a Slurm user")))?;
    // A runner runs what a workflow says; as root it would own the node.
    match user {
        ROOT => Err(invalid(key, "runners do not run as root")),
        _ => Ok(name),
    }
}

/// Refused by its name before its uid is known.
pub(crate) const ROOT: &str = "root";
