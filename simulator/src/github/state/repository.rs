//! Repositories: known by their ids for good, and by names that change. A name that was left leads to the repository
//! until another one takes it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::PAGES;
use super::account::account_id;

/// Who can see a repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Visibility {
    /// Whom it was given to.
    #[default]
    Private,
    /// The enterprise's members.
    Internal,
    /// Everybody.
    Public,
}

impl Visibility {
    pub(crate) fn of(word: &str) -> Option<Self> {
        [Self::Private, Self::Internal, Self::Public].into_iter().find(|known| known.word() == word)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Internal => "internal",
            Self::Public => "public",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Repository {
    pub(crate) id: u64,
    /// `owner/name`
    pub(crate) name: String,
    /// The installation that covers it.
    pub(crate) installation: Option<u64>,
    pub(crate) visibility: Visibility,
    pub(crate) fork: bool,
    /// Whether a person owns it and not an organization.
    pub(crate) personal: bool,
    /// Whether its organization allows it runners of its own.
    pub(crate) runners_disabled: bool,
    /// The number of its last run.
    last_run: u64,
}

impl Repository {
    /// As GitHub shows it within anything else. An internal one is private, too.
    pub(crate) fn resource(&self) -> Value {
        let (owner, name) = self.name.split_once('/').unwrap();
        let kind = if self.personal { "User" } else { "Organization" };
        json!({
            "id": self.id, "name": name, "full_name": self.name, "html_url": format!("{PAGES}/{}", self.name),
            "private": self.visibility != Visibility::Public, "visibility": self.visibility.word(), "fork": self.fork,
            "owner": {"login": owner, "id": account_id(owner), "type": kind},
        })
    }

    /// The organization that it belongs to, as events show it.
    pub(crate) fn organization(&self) -> Option<Value> {
        (!self.personal).then(|| json!({"login": self.owner(), "id": account_id(self.owner())}))
    }

    /// Whether it belongs to the organization of that login.
    pub(crate) fn is_of(&self, organization: &str) -> bool {
        !self.personal && self.owner().eq_ignore_ascii_case(organization)
    }

    /// The login of the account that it belongs to.
    pub(crate) fn owner(&self) -> &str {
        self.name.split_once('/').unwrap().0
    }
}

#[derive(Default)]
pub(crate) struct Repositories {
    by_id: BTreeMap<u64, Repository>,
    /// Names that were left, in lower case.
    left: BTreeMap<String, u64>,
}

/// What a name leads to.
pub(crate) enum Found<'a> {
    Here(&'a Repository),
    Moved(&'a Repository),
}

impl Repositories {
    pub(crate) fn add(&mut self, id: u64, name: &str) {
        let repository = Repository {
            id,
            name: name.to_owned(),
            installation: None,
            visibility: Visibility::default(),
            fork: false,
            personal: false,
            runners_disabled: false,
            last_run: 0,
        };
        self.by_id.insert(id, repository);
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Repository> {
        self.by_id.get(&id)
    }

    /// The number of a repository's next run.
    pub(crate) fn next_run_number(&mut self, id: u64) -> u64 {
        let repository = self.by_id.get_mut(&id).unwrap();
        repository.last_run += 1;
        repository.last_run
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Repository> {
        self.by_id.values()
    }

    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Repository> {
        self.by_id.values_mut()
    }

    /// Those that an installation covers.
    pub(crate) fn of(&self, installation: u64) -> impl Iterator<Item = &Repository> {
        self.all().filter(move |repository| repository.installation == Some(installation))
    }

    /// The repository that has this name now, in any case.
    pub(crate) fn named(&self, name: &str) -> Option<&Repository> {
        self.all().find(|repository| repository.name.eq_ignore_ascii_case(name))
    }

    pub(crate) fn named_mut(&mut self, name: &str) -> Option<&mut Repository> {
        self.all_mut().find(|repository| repository.name.eq_ignore_ascii_case(name))
    }

    pub(crate) fn find(&self, name: &str) -> Option<Found<'_>> {
        let moved = || self.left.get(&name.to_lowercase()).and_then(|id| self.get(*id)).map(Found::Moved);
        self.named(name).map(Found::Here).or_else(moved)
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let repository = self.named_mut(from).unwrap();
        let id = repository.id;
        to.clone_into(&mut repository.name);
        self.left.insert(from.to_lowercase(), id);
    }
}
