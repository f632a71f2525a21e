//! Runner groups of organizations: whose jobs their runners take. Ids count within each organization, so that two
//! organizations have groups of the same id.

use std::collections::BTreeSet;

use super::repository::{Repository, Visibility};

/// The group that is always there.
pub(crate) const DEFAULT_GROUP: u64 = 1;

#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) access: Access,
    pub(crate) allows_public: bool,
}

/// Which of the organization's repositories may use a group.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    All,
    /// Those that are not public.
    Private,
    /// Those with these ids.
    Selected(BTreeSet<u64>),
}

impl Access {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Private => "private",
            Self::Selected(_) => "selected",
        }
    }
}

impl Group {
    pub(crate) fn standard() -> Self {
        Self { id: DEFAULT_GROUP, name: "Default".to_owned(), access: Access::All, allows_public: false }
    }

    /// Whether jobs of that repository of its organization may run on its runners.
    pub(crate) fn serves(&self, repository: &Repository) -> bool {
        let public = repository.visibility == Visibility::Public;
        let chosen = match &self.access {
            Access::All => true,
            Access::Private => !public,
            Access::Selected(ids) => ids.contains(&repository.id),
        };
        chosen && (self.allows_public || !public)
    }
}

/// The groups of all organizations, each with its organization's login in lower case. Every one has [`DEFAULT_GROUP`].
#[derive(Default)]
pub(crate) struct Groups(Vec<(String, Group)>);

impl Groups {
    pub(crate) fn of(&mut self, organization: &str) -> impl Iterator<Item = &mut Group> {
        let login = organization.to_lowercase();
        if !self.0.iter().any(|(owner, _)| *owner == login) {
            self.0.push((login.clone(), Group::standard()));
        }
        self.0.iter_mut().filter(move |(owner, _)| *owner == login).map(|(_, group)| group)
    }

    pub(crate) fn find(&mut self, organization: &str, id: u64) -> Option<&mut Group> {
        self.of(organization).find(|group| group.id == id)
    }

    pub(crate) fn named(&mut self, organization: &str, name: &str) -> Option<&mut Group> {
        self.of(organization).find(|group| group.name == name)
    }

    /// Adds a group that serves these repositories; its id.
    pub(crate) fn add(&mut self, organization: &str, name: &str, repositories: BTreeSet<u64>) -> u64 {
        let id = self.of(organization).map(|group| group.id).max().unwrap_or_default() + 1;
        let access = Access::Selected(repositories);
        let group = Group { id, name: name.to_owned(), access, allows_public: false };
        self.0.push((organization.to_lowercase(), group));
        id
    }

    pub(crate) fn remove(&mut self, organization: &str, id: u64) {
        self.0.retain(|(owner, group)| !owner.eq_ignore_ascii_case(organization) || group.id != id);
    }
}
