//! What happens at GitHub: repositories come and move, jobs are queued, wait, are approved and cancelled, runners
//! register.

use serde_json::{Map, Value};

use super::dispatch::{Registration, assign, connect, enrol, finish};
use super::handle::GitHub;
use super::state::account::Person;
use super::state::app::INSTALLATION;
use super::state::delivery::Delivery;
use super::state::group::DEFAULT_GROUP;
use super::state::job::{Job, JobStatus};
use super::state::run::JobSpec;
use super::state::runner::Owner;
use super::webhook;

impl GitHub {
    /// Adds a repository with the App installed; its id.
    pub fn add_repository(&self, name: &str) -> u64 {
        let mut state = self.shared.state();
        let id = state.next_id();
        state.repositories.add(id, name);
        state.repositories.named_mut(name).unwrap().installation = Some(INSTALLATION);
        id
    }

    /// Renames a repository, or transfers it when the owner differs. The old name leads to the new one until another
    /// repository takes it. The installation stays; see [`GitHub::move_to_installation`].
    pub fn rename_repository(&self, from: &str, to: &str) {
        self.shared.state().repositories.rename(from, to);
    }

    /// Makes repositories those of an installation of that id.
    pub fn move_to_installation(&self, installation: u64, repositories: &[&str]) {
        let mut state = self.shared.state();
        for name in repositories {
            state.repositories.named_mut(name).unwrap().installation = Some(installation);
        }
    }

    /// Queues a job and sends its webhook; the delivery is `None` when it was lost.
    pub async fn queue_job(&self, repository: &str, labels: &[&str]) -> (u64, Option<Delivery>) {
        self.queue(JobSpec::new(repository, labels)).await
    }

    /// Queues a job of an environment that waits for an approval: its webhook is *queued* with the status `waiting`.
    /// GitHub sends *waiting* after that ([`GitHub::notify`]), and *queued* again when it is approved
    /// ([`GitHub::approve_job`]).
    pub async fn queue_gated_job(&self, repository: &str, labels: &[&str]) -> (u64, Option<Delivery>) {
        self.queue(JobSpec { environment: Some("production".to_owned()), ..JobSpec::new(repository, labels) }).await
    }

    /// Queues a job of any kind and sends its webhook; the delivery is `None` when it was lost.
    pub async fn queue(&self, spec: JobSpec) -> (u64, Option<Delivery>) {
        let id = self.shared.state().add_job(spec);
        let delivery = webhook::notify(&self.shared, id, "queued").await;
        assign(&self.shared);
        (id, delivery)
    }

    /// Runs the run of a job again, as that person: the new job's id. The run keeps its id and actor.
    pub async fn rerun_job(&self, id: u64, person: Person) -> (u64, Option<Delivery>) {
        let again = self.shared.state().add_attempt(id, person);
        let delivery = webhook::notify(&self.shared, again, "queued").await;
        assign(&self.shared);
        (again, delivery)
    }

    /// What the steps and hooks of a job wrote, as GitHub shows it.
    pub fn log(&self, job: u64) -> Vec<String> {
        self.job(job).map(|job| job.log).unwrap_or_default()
    }

    /// GitHub gives up a runner that it has not heard of for long: its job fails, and it is gone.
    pub async fn lose_runner(&self, name: &str) -> Option<Delivery> {
        let job = {
            let mut state = self.shared.state();
            let index = state.runners.iter().position(|runner| runner.name == name)?;
            state.runners.remove(index).job?
        };
        finish(&self.shared, job, "failure");
        webhook::notify(&self.shared, job, "completed").await
    }

    /// Approves a job that waits, and sends its second *queued*.
    pub async fn approve_job(&self, id: u64) -> Option<Delivery> {
        if let Some(job) = self.shared.state().jobs.get_mut(&id) {
            job.status = JobStatus::Queued;
        }
        let delivery = webhook::notify(&self.shared, id, "queued").await;
        assign(&self.shared);
        delivery
    }

    /// Cancels a job and sends its webhook. A runner that has no job goes on waiting for one.
    pub async fn cancel_job(&self, id: u64) -> Option<Delivery> {
        finish(&self.shared, id, "cancelled");
        webhook::notify(&self.shared, id, "completed").await
    }

    /// Sends a webhook about a job as it is, whatever the action says.
    pub async fn notify(&self, id: u64, action: &str) -> Option<Delivery> {
        webhook::notify(&self.shared, id, action).await
    }

    /// Sends a webhook of any other event about a repository: `fields` are the event's own, beside those that all have.
    pub async fn tell(
        &self,
        event: &str,
        action: &str,
        repository: &str,
        fields: Map<String, Value>,
    ) -> Option<Delivery> {
        let id = self.shared.state().repositories.named(repository).unwrap().id;
        webhook::tell(&self.shared, event, action, id, fields).await
    }

    /// Sends a recorded delivery once more, with the same guid.
    pub async fn redeliver(&self, delivery: &Delivery) -> Delivery {
        webhook::redeliver(&self.shared, delivery).await
    }

    /// A job as GitHub sees it.
    pub fn job(&self, id: u64) -> Option<Job> {
        self.shared.state().jobs.get(&id).cloned()
    }

    /// Registers a runner, as the runner program would: `repository`, `token`, `name`, `labels`.
    pub fn register_runner(&self, registration: &Value) -> bool {
        let asked = serde_json::from_value::<Registration>(registration.clone());
        let registered = asked.is_ok_and(|asked| enrol(&self.shared, &asked).is_some());
        assign(&self.shared);
        registered
    }

    /// Brings the runner of a JIT configuration online, as the runner program would; whether the configuration is good.
    pub fn start_runner(&self, encoded_jit_config: &str) -> bool {
        let started = connect(&self.shared, encoded_jit_config).is_some();
        assign(&self.shared);
        started
    }

    /// A JIT configuration of a repository, as `generate-jitconfig` gives it to somebody else.
    pub fn make_jit_config(&self, repository: &str, name: &str, labels: &[&str]) -> String {
        let mut state = self.shared.state();
        let owner = Owner::Repository(state.repositories.named(repository).unwrap().id);
        state
            .make_jit_config(
                owner,
                name,
                DEFAULT_GROUP,
                labels.iter().map(|label| (*label).to_owned()).collect(),
                "_work",
            )
            .1
    }
}
