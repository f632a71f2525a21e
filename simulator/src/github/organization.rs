//! What the owners of organizations and repositories set: who sees a repository, and whose jobs a group of runners takes.

use super::handle::GitHub;
use super::state::group::Access;
use super::state::repository::Visibility;

impl GitHub {
    /// Makes a repository `private` (as each begins), `internal` or `public`.
    pub fn set_visibility(&self, repository: &str, visibility: &str) {
        let visibility = Visibility::of(visibility).unwrap();
        self.shared.state().repositories.named_mut(repository).unwrap().visibility = visibility;
    }

    /// Makes a repository's owner a person and not an organization.
    pub fn set_personal(&self, repository: &str) {
        self.shared.state().repositories.named_mut(repository).unwrap().personal = true;
    }

    /// Adds a runner group to an organization, for these of its repositories and no public ones; its id, which counts
    /// within the organization.
    pub fn add_runner_group(&self, organization: &str, name: &str, repositories: &[&str]) -> u64 {
        let mut state = self.shared.state();
        let ids = repositories.iter().map(|name| state.repositories.named(name).unwrap().id).collect();
        state.groups.add(organization, name, ids)
    }

    /// Gives a group to all repositories of its organization, or to those that are not public.
    pub fn open_runner_group(&self, organization: &str, group: u64, private_only: bool) {
        let access = if private_only { Access::Private } else { Access::All };
        self.shared.state().groups.find(organization, group).unwrap().access = access;
    }

    /// Lets public repositories use a group, or forbids it again.
    pub fn allow_public_repositories(&self, organization: &str, group: u64, allowed: bool) {
        self.shared.state().groups.find(organization, group).unwrap().allows_public = allowed;
    }

    /// Gives a group another name. Its id stays.
    pub fn rename_runner_group(&self, organization: &str, group: u64, name: &str) {
        name.clone_into(&mut self.shared.state().groups.find(organization, group).unwrap().name);
    }

    /// Removes a group. Its runners serve nobody any more.
    pub fn remove_runner_group(&self, organization: &str, group: u64) {
        self.shared.state().groups.remove(organization, group);
    }

    /// Makes a fork of a repository, which a person owns; its id. The App is not installed for it.
    pub fn add_fork(&self, of: &str, name: &str) -> u64 {
        self.shared.state().add_fork(of, name)
    }
}
