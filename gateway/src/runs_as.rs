//! Which Slurm user a launch runs as, and what the node is told of it.
//!
//! Without a word of the workflow's it is the repository's Slurm user. A workflow may name one: then the person behind
//! the launch has to be let be that user ([`crate::people`]). The person is the app's word; so everything that is decided
//! by it here is decided again at the node by GitHub's.

#[cfg(test)]
mod property;

use gha_slurm_protocol::identity::SlurmUser;
use gha_slurm_protocol::messages::RunnerLevel;

use crate::backend::user::FIRST_ORDINARY;
use crate::config::{Config, ROOT, RepositoryUrl, UserSettings};
use crate::launch::{Launch, Rejected};
use crate::node_policy::NodePolicy;
use crate::people::{NotAllowed, People, Wish};
use crate::service::ServiceError;

/// The decision.
#[derive(Debug)]
pub(crate) struct RunsAs {
    /// The Slurm user.
    pub(crate) user: String,
    /// What its Slurm jobs may be.
    pub(crate) settings: UserSettings,
    /// Its uid is not below.
    pub(crate) min_uid: u32,
    repositories: Vec<RepositoryUrl>,
    people: Vec<(u64, String)>,
}

fn rejected(field: &'static str, problem: impl Into<String>) -> ServiceError {
    Rejected { field, problem: problem.into() }.into()
}

/// Decides, or says whose rule is against it.
pub(crate) async fn decide(config: &Config, launch: &Launch) -> Result<RunsAs, ServiceError> {
    if let (Some(people), Some(person)) = (&config.people, &launch.person) {
        people.refuse_blocked(person)?;
    }
    if let (Some(pinned), Some(id)) = (config.mapping.id_of(&launch.repository), launch.repository_id)
        && pinned != id
    {
        let problem = format!("{} is repository {pinned} for the gateway, and this is repository {id}", launch.url);
        return Err(rejected("repositoryId", problem));
    }
    let unchecked =
        "the gateway's jobTemplate runs no check at the node, which this needs: use the built-in job script";
    if config.template.is_some() && launch.level == RunnerLevel::Organization {
        return Err(rejected("level", unchecked));
    }
    let Some(user) = &launch.slurm_user else { return by_repository(config, launch) };
    if config.template.is_some() {
        return Err(rejected("slurmUser", unchecked));
    }
    let people = config.people.as_ref().ok_or_else(|| {
        rejected("slurmUser", "a workflow names no Slurm user here: people of the gateway's configuration is not set")
    })?;
    by_person(config, launch, user, people).await
}

fn by_repository(config: &Config, launch: &Launch) -> Result<RunsAs, ServiceError> {
    let unknown = || ServiceError::UnknownRepository(launch.repository.to_string());
    let (user, settings) = config.mapping.find(&launch.repository).ok_or_else(unknown)?;
    Ok(RunsAs {
        user: user.to_owned(),
        settings: settings.clone(),
        min_uid: config.min_uid.unwrap_or(1),
        repositories: config.mapping.patterns_of(user, &launch.repository),
        people: Vec::new(),
    })
}

async fn by_person(
    config: &Config,
    launch: &Launch,
    user: &SlurmUser,
    people: &People,
) -> Result<RunsAs, ServiceError> {
    if user.as_str() == ROOT {
        let reason = "whoever asks for it".to_owned();
        return Err(ServiceError::ForbiddenUser { user: ROOT.to_owned(), reason });
    }
    let person = launch.person.as_ref().ok_or_else(|| {
        rejected("person", "needed with slurmUser: without it nobody knows whether it may be that user")
    })?;
    let wish = Wish { person, user, repository: &launch.repository, url: &launch.url };
    let granted = people.ask(wish, &config.mapping).await.map_err(|error| match error {
        NotAllowed::Denied(rejected) => rejected.into(),
        NotAllowed::Unavailable(problem) => ServiceError::PeopleUnknown(problem),
    })?;
    // A repository's runner gets jobs of that one alone, so nobody has to be left out for another's sake.
    let repositories = match launch.level {
        RunnerLevel::Repository => vec![launch.repository.clone()],
        RunnerLevel::Organization => granted.repositories,
    };
    let mut all = people.all_of(user, &repositories, &config.mapping).await;
    let blocked = |login: &str| people.block().iter().any(|pattern| pattern.matches(login));
    let own = person.login.as_str().to_ascii_lowercase();
    all.retain(|(_, login)| *login != own && !blocked(login));
    all.insert(0, (person.id, own));
    Ok(RunsAs {
        user: user.to_string(),
        settings: config.mapping.settings(user.as_str()).cloned().unwrap_or_default(),
        // Services' users are for an administrator to name, not for a workflow.
        min_uid: config.min_uid.unwrap_or(FIRST_ORDINARY),
        repositories,
        people: all,
    })
}

impl RunsAs {
    /// The node's policy; `name` is what the Slurm user is called there.
    pub(crate) fn node_policy(&self, config: &Config, launch: &Launch, name: &str) -> Result<String, Rejected> {
        let pinned = config.mapping.ids_in(&self.repositories).map(|(url, id)| (id, url));
        let mut ids: Vec<_> = pinned.collect();
        if let Some(id) = launch.repository_id
            && !ids.iter().any(|(_, url)| **url == launch.repository)
        {
            ids.push((id, &launch.repository));
        }
        let policy = NodePolicy {
            server: launch.repository.server(),
            user: name,
            repositories: &self.repositories,
            ids: &ids,
            policy: config.policies.of(&self.user),
            block: config.people.as_ref().map(People::block).unwrap_or_default(),
            people: &self.people,
        };
        policy.text()
    }
}
