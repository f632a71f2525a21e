//! The operator's switch: no launches of one repository, or none at all, until it is set back.
//!
//! While it is on, nothing is submitted, and a launch token that is out gets no credential. Jobs that wait stay
//! written down, and are launched after it is off. A repository is named as GitHub names it, compared without case.

use std::fmt;

use gha_slurm_protocol::identity::RepositoryName;

use super::{keys, write};
use crate::ports::{Clock, Store, StoreError};

/// What the switch is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every repository.
    All,
    /// This one.
    Repository(RepositoryName),
}

/// Why nothing is launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The operator stopped all launches.
    All,
    /// The operator stopped launches of the repository.
    Repository,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "the operator stopped all launches",
            Self::Repository => "the operator stopped launches of this repository",
        })
    }
}

/// The switch in a platform's store.
#[derive(Debug)]
pub struct Stops<'a, P>(pub &'a P);

impl<P: Store + Clock> Stops<'_, P> {
    /// Why no launch of a repository is submitted or redeemed now, if the operator stopped it.
    pub fn stopped(&self, repository: &RepositoryName) -> Result<Option<Stopped>, StoreError> {
        Ok(self.stopped_each(&[repository])?.pop().flatten())
    }

    /// The same of several repositories, in their order, in one step of the store.
    pub fn stopped_each(&self, repositories: &[&RepositoryName]) -> Result<Vec<Option<Stopped>>, StoreError> {
        let mut wanted = vec![keys::stop_all()];
        wanted.extend(repositories.iter().map(|repository| stop_of(repository)));
        let mut found = self.0.get_many(&wanted)?.into_iter().map(|value| value.is_some());
        let all = found.next().unwrap_or(false).then_some(Stopped::All);
        Ok(found.map(|one| all.or(one.then_some(Stopped::Repository))).collect())
    }

    /// Whether the launches of all repositories are stopped.
    pub fn all_stopped(&self) -> Result<bool, StoreError> {
        Ok(self.0.get(&keys::stop_all())?.is_some())
    }

    /// Stops launches.
    pub fn stop(&self, scope: &Scope) -> Result<(), StoreError> {
        write(self.0, &key(scope), &self.0.unix_seconds())
    }

    /// Resumes launches. What was stopped for all is resumed for all alone, and so for each repository.
    pub fn resume(&self, scope: &Scope) -> Result<(), StoreError> {
        self.0.delete(&key(scope))
    }
}

fn key(scope: &Scope) -> String {
    match scope {
        Scope::All => keys::stop_all(),
        Scope::Repository(name) => stop_of(name),
    }
}

fn stop_of(repository: &RepositoryName) -> String {
    keys::stop_repository(&repository.to_string().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    fn repository(name: &str) -> RepositoryName {
        RepositoryName::try_from(name.to_owned()).unwrap()
    }

    #[test]
    fn one_or_all_are_stopped_until_they_are_resumed() {
        let platform = Memory::new();
        let stops = Stops(&platform);
        let stopped = |name| stops.stopped(&repository(name)).unwrap().is_some();
        assert!(!stopped("octo/repo"));
        stops.stop(&Scope::Repository(repository("Octo/Repo"))).unwrap();
        assert!(stopped("octo/repo") && stopped("OCTO/repo") && !stopped("octo/other"));
        stops.stop(&Scope::All).unwrap();
        assert!(stopped("octo/other") && stops.all_stopped().unwrap());
        stops.resume(&Scope::All).unwrap();
        assert!(stopped("octo/repo") && !stopped("octo/other"), "each is set back alone");
        assert!(!stops.all_stopped().unwrap());
        let names = [repository("octo/other"), repository("octo/REPO")];
        let each = stops.stopped_each(&names.each_ref()).unwrap();
        assert_eq!(each, [None, Some(Stopped::Repository)]);
        stops.resume(&Scope::Repository(repository("octo/repo"))).unwrap();
        assert!(!stopped("octo/repo"));
    }
}
