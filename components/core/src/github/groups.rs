//! The runner group of a launch: named by a profile, known to GitHub by an id that counts within its organization.
//!
//! GitHub registers a runner in any group of an organization, whether or not the repository may use that group; where it may
//! not, the runner gets no job, and nobody is told. So GitHub is asked which groups the repository may use. The id is kept
//! for some minutes. What is not found is not kept, so whoever corrects a group need not wait.

use gha_slurm_protocol::identity::RepositoryName;
use serde::{Deserialize, Serialize};

use super::client::{GitHub, GitHubError, InstallationToken, Reason, Refusal};
use super::types::{At, RunnerGroup};
use crate::identity::RepositoryId;
use crate::ledger::{keys, read, write};
use crate::ports::{Clock, Http, Random, Store};
use crate::text::clean;

/// The group that every organization has from its beginning, and the one group of a repository.
pub(super) const DEFAULT_GROUP: u64 = 1;

/// Access to a group may change, and nobody tells of it.
const KEPT_SECONDS: u64 = 10 * 60;
/// Of one repository. More profiles than that take turns.
const MOST_KEPT: usize = 8;
/// The longest name of a group that is told, in characters.
const MOST_TOLD: usize = 100;

/// What is kept of a repository: groups that it may use. What two replicas write at once is as good as either.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// The login of the organization, in lower case.
    organization: String,
    /// The name that was asked for; absent for the default one.
    group: Option<String>,
    id: u64,
    at: u64,
}

/// One group to be found, by a token that may see groups.
pub(super) struct GroupOf<'a, P> {
    pub(super) platform: &'a P,
    pub(super) github: &'a GitHub<'a, P>,
    pub(super) token: &'a InstallationToken,
    /// By its id and by its name.
    pub(super) repository: (RepositoryId, &'a RepositoryName),
    /// Its name; the default one without.
    pub(super) wanted: Option<&'a str>,
}

impl<P: Store + Http + Clock + Random> GroupOf<'_, P> {
    /// The id that is kept.
    pub(super) fn kept(&self) -> Option<u64> {
        let organization = self.organization();
        let fits = |kept: &Kept| kept.organization == organization && kept.group.as_deref() == self.wanted;
        self.all_kept().into_iter().find(fits).map(|kept| kept.id)
    }

    /// The id by GitHub's word, which is kept from now on.
    pub(super) fn ask(&self) -> Result<u64, GitHubError> {
        let (repository_id, repository) = self.repository;
        let id = match self.choose(self.github.runner_groups(self.token, repository, true)?) {
            Some(group) => group.id,
            None => match self.choose(self.github.runner_groups(self.token, repository, false)?) {
                Some(_) => return Err(self.refusal(Reason::GroupClosed)),
                None if self.wanted.is_some() => return Err(self.refusal(Reason::NoGroup)),
                None => DEFAULT_GROUP,
            },
        };
        let organization = self.organization();
        let mut all = self.all_kept();
        all.retain(|kept| kept.organization == organization && kept.group.as_deref() != self.wanted);
        all.truncate(MOST_KEPT - 1);
        let group = self.wanted.map(str::to_owned);
        all.insert(0, Kept { organization, group, id, at: self.platform.unix_seconds() });
        // Not kept, it is asked for again.
        let _ = write(self.platform, &keys::runner_groups(repository_id), &all);
        Ok(id)
    }

    /// What was kept not too long ago. What cannot be read is asked for again.
    fn all_kept(&self) -> Vec<Kept> {
        let all: Option<Vec<Kept>> = read(self.platform, &keys::runner_groups(self.repository.0)).ok().flatten();
        let now = self.platform.unix_seconds();
        let fresh = |kept: &Kept| kept.at <= now && now - kept.at < KEPT_SECONDS;
        all.unwrap_or_default().into_iter().filter(fresh).collect()
    }

    /// The organization's own group comes before one of the same name that it inherits from its enterprise, and the very
    /// name before one in other case.
    fn choose(&self, groups: Vec<RunnerGroup>) -> Option<RunnerGroup> {
        let fits = |group: &RunnerGroup| match self.wanted {
            None => group.default,
            Some(name) => group.name.to_lowercase() == name.to_lowercase(),
        };
        let distance = |group: &RunnerGroup| (self.wanted.is_some_and(|name| group.name != name), group.inherited);
        groups.into_iter().filter(fits).min_by_key(distance)
    }

    fn organization(&self) -> String {
        self.repository.1.owner().to_ascii_lowercase()
    }

    fn refusal(&self, reason: Reason) -> GitHubError {
        let repository = self.repository.1;
        let (organization, group) = (repository.owner(), told(self.wanted.unwrap_or("Default")));
        let message = match reason {
            Reason::NoGroup => format!("the organization {organization} has no runner group '{group}'"),
            _ => format!("the runner group '{group}' of the organization {organization} is not open to {repository}"),
        };
        let detail = format!("{}/actions/runner-groups: {message}", At::OwnerOf(repository));
        GitHubError::Refused(Refusal { reason, message, detail })
    }
}

/// Whoever registers a runner by a registration token chooses its group: a profile's choice would be none.
pub(super) fn needs_jit(group: &str) -> GitHubError {
    let message = format!("a registration token is not bound to the runner group '{}'", told(group));
    GitHubError::Refused(Refusal { reason: Reason::GroupNeedsJit, detail: message.clone(), message })
}

/// A group's name, in a text that a script reads out of a JSON string.
fn told(group: &str) -> String {
    clean(group, MOST_TOLD).replace('"', "'").replace('\\', "/")
}
