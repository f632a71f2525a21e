//! How jobs get runners. A queued job goes to any idle runner of its repository or organization that has all of its
//! labels, as at GitHub: not to the runner that was started for it.

use std::sync::Arc;

use serde::Deserialize;

use super::state::Shared;
use super::state::group::{DEFAULT_GROUP, Group};
use super::state::job::JobStatus;
use super::state::runner::{Owner, Runner};
use super::webhook;
use crate::event::Event;

/// Gives every queued job to a fitting idle runner, if there is one.
pub(crate) fn assign(shared: &Arc<Shared>) {
    let mut assigned = Vec::new();
    {
        let mut state = shared.state();
        let state = &mut *state;
        if !state.runners.iter().any(Runner::is_idle) {
            return;
        }
        for (id, job) in &mut state.jobs {
            let Some(repository) = state.repositories.get(job.repository_id) else { continue };
            let groups = &mut state.groups;
            if let Some(runner) = state.runners.iter_mut().find(|runner| runner.fits(job, repository, groups)) {
                let group = match &runner.owner {
                    Owner::Organization(login) => groups.find(login, runner.group).cloned(),
                    Owner::Repository(_) => None,
                };
                let group = group.unwrap_or_else(Group::standard);
                job.runner_group = Some((group.id, group.name));
                runner.job = Some(*id);
                job.status = JobStatus::InProgress;
                job.runner = Some((runner.id, runner.name.clone()));
                assigned.push((*id, runner.name.clone()));
            }
        }
    }
    for (job, runner) in assigned {
        shared.events.emit(Event::JobAssigned { job, runner });
        let shared = Arc::clone(shared);
        tokio::spawn(async move { webhook::notify(&shared, job, "in_progress").await });
    }
}

/// Ends a job. An ephemeral runner goes with it.
pub(crate) fn finish(shared: &Shared, id: u64, conclusion: &str) {
    let mut state = shared.state();
    let Some(job) = state.jobs.get_mut(&id) else { return };
    job.status = JobStatus::Completed(conclusion.to_owned());
    state.runners.retain(|runner| runner.job != Some(id));
    drop(state);
    shared.events.emit(Event::JobFinished { job: id, conclusion: conclusion.to_owned() });
}

/// What the runner program sends to register by a token.
#[derive(Deserialize)]
pub(crate) struct Registration {
    /// `owner/name`, or an organization's login.
    repository: String,
    token: String,
    name: String,
    labels: Vec<String>,
    /// The name of a group of the organization's.
    runner_group: Option<String>,
}

/// Registers an ephemeral runner; its id when the token is good for that. `--replace`: one of the same name gives way.
pub(crate) fn enrol(shared: &Shared, asked: &Registration) -> Option<u64> {
    let mut state = shared.state();
    let owner = match state.repositories.named(&asked.repository) {
        Some(repository) => Owner::Repository(repository.id),
        None => Owner::Organization(asked.repository.clone()),
    };
    let (for_owner, end) = state.registration_tokens.get(&asked.token)?;
    if *for_owner != owner || state.expired(*end) {
        return None;
    }
    state.runners.retain(|runner| runner.owner != owner || runner.name != asked.name);
    let group = match (&asked.runner_group, &owner) {
        (Some(name), Owner::Organization(login)) => state.groups.named(login, name)?.id,
        (Some(_), Owner::Repository(_)) => return None,
        (None, _) => DEFAULT_GROUP,
    };
    let id = state.next_id();
    let (name, labels) = (asked.name.clone(), asked.labels.clone());
    state.runners.push(Runner { id, name, owner, group, labels, job: None, online: true });
    drop(state);
    shared.events.emit(Event::RunnerRegistered { name: asked.name.clone(), labels: asked.labels.clone() });
    Some(id)
}

/// Brings the runner of a JIT configuration online, once; its id.
pub(crate) fn connect(shared: &Shared, encoded_jit_config: &str) -> Option<u64> {
    let mut state = shared.state();
    let id = state.jit_configs.remove(encoded_jit_config)?;
    let runner = state.runners.iter_mut().find(|runner| runner.id == id)?;
    runner.online = true;
    let (name, labels) = (runner.name.clone(), runner.labels.clone());
    drop(state);
    shared.events.emit(Event::RunnerRegistered { name, labels });
    Some(id)
}
