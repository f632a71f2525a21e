//! What a call of GitHub is about: a repository, and the place where runners for its jobs are registered.

use gha_slurm_protocol::identity::RepositoryName;

use super::types::{At, Permission};
use crate::identity::{InstallationId, RepositoryId};
use crate::ledger::Requested;
use crate::profile::RegisteredAt;

/// A repository as the App reaches it: by its id, whatever its name is by now.
#[derive(Debug, Clone, Copy)]
pub struct Reach<'a> {
    /// Its id.
    pub id: RepositoryId,
    /// The name that it had.
    pub name: &'a RepositoryName,
    /// The installation that a webhook named, if it did.
    pub installation: Option<InstallationId>,
    /// Where its runners are registered.
    pub registered_at: &'a RegisteredAt,
}

impl<'a> From<&'a Requested> for Reach<'a> {
    fn from(requested: &'a Requested) -> Self {
        Self {
            id: requested.repository_id,
            name: &requested.repository,
            installation: requested.installation,
            registered_at: &requested.registered_at,
        }
    }
}

impl Reach<'_> {
    /// The repository.
    pub(super) fn at(self) -> At<'static> {
        At::Id(self.id)
    }

    /// What it takes to register runners.
    pub(super) fn permission(self) -> Permission {
        match self.registered_at {
            RegisteredAt::Repository => Permission::AdministrationWrite,
            RegisteredAt::Organization { .. } => Permission::OrganizationRunnersWrite,
        }
    }

    /// Where runners are registered, given the name that the repository has now: an organization is known by its login
    /// alone.
    pub(super) fn runners_at(self, name: &RepositoryName) -> At<'_> {
        match self.registered_at {
            RegisteredAt::Repository => self.at(),
            RegisteredAt::Organization { .. } => At::OwnerOf(name),
        }
    }
}
