//! The table of people: what the configuration and the file have in common.

use std::collections::BTreeMap;
use std::fmt;

use gha_slurm_protocol::identity::{Login, SlurmUser};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Granted, Wish};
use crate::config::{ConfigError, Mapping, RepositoryUrl, check_user, invalid};

/// An entry as it is written: a Slurm user, or a map.
#[derive(Debug)]
pub(crate) enum EntryKeys {
    User(String),
    Map(MapKeys),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MapKeys {
    id: Option<u64>,
    slurm_users: Vec<String>,
    repositories: Option<Vec<String>>,
}

/// Not by `untagged`, whose errors name neither the key nor the reason.
impl<'de> Deserialize<'de> for EntryKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;
        impl<'de> Visitor<'de> for Entry {
            type Value = EntryKeys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a Slurm user, or {id, slurmUsers, repositories}")
            }

            fn visit_str<E>(self, text: &str) -> Result<EntryKeys, E> {
                Ok(EntryKeys::User(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EntryKeys, A::Error> {
                MapKeys::deserialize(MapAccessDeserializer::new(map)).map(EntryKeys::Map)
            }
        }
        deserializer.deserialize_any(Entry)
    }
}

/// What one person may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    id: Option<u64>,
    users: Vec<SlurmUser>,
    repositories: Option<Vec<RepositoryUrl>>,
}

impl Allowance {
    /// GitHub's number for the account; 0 when the site does not tell it.
    pub(super) fn id(&self) -> u64 {
        self.id.unwrap_or(0)
    }

    pub(super) fn names(&self, user: &SlurmUser) -> bool {
        self.users.contains(user)
    }

    /// Whether it holds for all of that, which may be a pattern. Without a list it holds wherever an owner is mapped.
    pub(super) fn holds_for(&self, repository: &RepositoryUrl, mapping: &Mapping) -> bool {
        match &self.repositories {
            Some(patterns) => patterns.iter().any(|pattern| pattern.covers(repository)),
            None => mapping.knows_owner_of(repository),
        }
    }

    /// What it holds for of the owner of a repository that it holds for.
    fn of_owner(&self, repository: &RepositoryUrl) -> Vec<RepositoryUrl> {
        match &self.repositories {
            Some(patterns) => patterns.iter().filter(|pattern| pattern.has_owner_of(repository)).cloned().collect(),
            None => vec![repository.owners()],
        }
    }
}

/// Why a table does not let somebody be a Slurm user; what says more is greater.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    NotListed,
    NotThatUser,
    NotThere,
    OtherLogin(Login),
    OtherId(u64),
}

impl Refusal {
    /// For people.
    pub(super) fn words(&self, wish: Wish<'_>) -> String {
        let Wish { person, user, url, .. } = wish;
        let login = &person.login;
        match self {
            Self::NotListed | Self::NotThatUser => format!("people of the gateway do not let {login} run as {user}"),
            Self::NotThere => format!("people of the gateway do not let {login} run as {user} for {url}"),
            Self::OtherLogin(listed) => format!(
                "people of the gateway list account {} as {listed}, and it is called {login} now: change the entry",
                person.id
            ),
            Self::OtherId(listed) => format!(
                "people of the gateway list {login} as account {listed}, and this is account {}: another one has the \
                 login by now",
                person.id
            ),
        }
    }
}

/// People by their logins.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table(BTreeMap<Login, Allowance>);

impl Table {
    pub(super) fn new(entries: BTreeMap<String, EntryKeys>, prefix: &str) -> Result<Self, ConfigError> {
        let mut table = BTreeMap::new();
        for (text, entry) in entries {
            let key = format!("{prefix}.{text}");
            let login = text.parse::<Login>().map_err(|_| invalid(&key, "the key has to be a GitHub login"))?;
            let allowance = allowance(entry, &key)?;
            if table.insert(login, allowance).is_some() {
                return Err(invalid(key, "listed twice: logins have no case"));
            }
        }
        Ok(Self(table))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Login, &Allowance)> {
        self.0.iter()
    }

    /// The number of a listed account.
    pub(super) fn id_of(&self, login: &Login) -> Option<u64> {
        self.0.get(login)?.id
    }

    pub(super) fn users(&self) -> impl Iterator<Item = &SlurmUser> {
        self.0.values().flat_map(|allowance| &allowance.users)
    }

    pub(super) fn ask(&self, wish: Wish<'_>, mapping: &Mapping) -> Result<Granted, Refusal> {
        let Wish { person, user, repository, .. } = wish;
        let Some(allowance) = self.0.get(&person.login) else {
            let renamed = self.0.iter().find(|(_, allowance)| allowance.id == Some(person.id));
            return Err(renamed.map_or(Refusal::NotListed, |(login, _)| Refusal::OtherLogin(login.clone())));
        };
        match allowance.id {
            Some(id) if id != person.id => Err(Refusal::OtherId(id)),
            _ if !allowance.names(user) => Err(Refusal::NotThatUser),
            _ if !allowance.holds_for(repository, mapping) => Err(Refusal::NotThere),
            _ => Ok(Granted { repositories: allowance.of_owner(repository) }),
        }
    }
}

fn allowance(entry: EntryKeys, key: &str) -> Result<Allowance, ConfigError> {
    let MapKeys { id, slurm_users, repositories } = match entry {
        EntryKeys::User(user) => MapKeys { id: None, slurm_users: vec![user], repositories: None },
        EntryKeys::Map(map) => map,
    };
    if id == Some(0) {
        return Err(invalid(format!("{key}.id"), "GitHub's ids start at 1"));
    }
    let key_of_users = format!("{key}.slurmUsers");
    if slurm_users.is_empty() {
        return Err(invalid(key_of_users, "name a Slurm user, or leave the entry out"));
    }
    let users = slurm_users.iter().map(|user| check_user(user, &key_of_users)).collect::<Result<_, _>>()?;
    let pattern = |text: &String| {
        RepositoryUrl::parse_pattern(text).ok_or_else(|| {
            invalid(format!("{key}.repositories"), format!("{text:?} is neither https://host/owner/name nor …/owner/*"))
        })
    };
    let repositories = repositories.map(|texts| texts.iter().map(pattern).collect::<Result<_, _>>()).transpose()?;
    Ok(Allowance { id, users, repositories })
}
