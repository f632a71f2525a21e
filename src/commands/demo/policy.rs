//! What may run, and as whom: jobs that the app, the gateway or the node refuses, and the ones that run.

use std::time::Duration;

use gha_slurm_simulator::event::Event;
use gha_slurm_simulator::github::{JobSpec, Person, WebhookFault};
use serde_json::Value;
use tokio::sync::broadcast::Receiver;

use super::scenario::DEADLINE;
use super::story::Watcher;
use super::{REPOSITORY, Scenario, Stage, cluster};

/// GitHub's ID of the person whom the gateway's table knows.
pub(super) const ADA: u64 = 12;
const MALLORY: u64 = 66;

const LABELS: &[&str] = &["self-hosted", "slurm"];
const OF_ADA: &[&str] = &["people", "slurm-user=ada"];

const PROFILES: &str = "
[[profile]]
name = 'default'
labels = ['self-hosted', 'slurm']

[[profile]]
name = 'open'
labels = ['open']
forks = 'allow'

[[profile]]
name = 'people'
labels = ['people']
[profile.dynamic]
slurm_users = ['ada']
";

/// The profiles of a scenario; empty means the built-in one.
pub(super) fn profiles(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Fork | Scenario::People => PROFILES,
        Scenario::Workflow
        | Scenario::StolenRunner
        | Scenario::LostWebhook
        | Scenario::GatewayDown
        | Scenario::InsideOut => "",
    }
}

fn by(login: &str, id: u64, labels: &[&str]) -> JobSpec {
    JobSpec { actor: Person::new(login, id), ..JobSpec::new(REPOSITORY, labels) }
}

fn of_a_fork(labels: &[&str]) -> JobSpec {
    JobSpec {
        event: "pull_request".to_owned(),
        fork: Some("mallory/simulation".to_owned()),
        branch: "patch-1".to_owned(),
        ..by("mallory", MALLORY, labels)
    }
}

impl Stage<'_> {
    /// Whether it ended well.
    pub(super) async fn fork(&mut self, happening: &mut Receiver<Event>) -> anyhow::Result<bool> {
        self.start_checked_gateway().await?;
        self.screen.heading("Mallory opens a pull request from a fork; profile \"default\" allows no forks");
        self.github.queue(of_a_fork(LABELS)).await;
        let denied = self.until(happening, |event| matches!(event, Event::Redeemed { status: 403, .. })).await?;
        self.until(happening, |event| matches!(event, Event::SlurmJobEnded { .. })).await?;

        self.screen.heading("The same with profile \"open\", which allows forks; the cluster's own policy does not");
        let (job, _) = self.github.queue(of_a_fork(&["open"])).await;
        let refused = self.until(happening, |event| matches!(event, Event::RefusedAtNode { .. })).await?;
        self.until(happening, |event| matches!(event, Event::SlurmJobEnded { .. })).await?;
        let before_its_steps = !self.github.log(job).iter().any(|line| line.contains("Running step"));

        self.screen.heading("Ada pushes to the repository itself");
        let (job, _) = self.github.queue(by("ada-lovelace", ADA, LABELS)).await;
        let ran = self.until_success(job, happening).await?;
        Ok(self.summary(&[
            (denied, "the app gives a fork's job no credential, and says why"),
            (refused && before_its_steps, "the node ends a fork's job before its first step, though the app allows it"),
            (ran, "the repository's own code runs"),
        ]))
    }

    /// Whether it ended well.
    pub(super) async fn people(&mut self, happening: &mut Receiver<Event>) -> anyhow::Result<bool> {
        self.start_checked_gateway().await?;
        self.screen.heading("Ada starts a job with `runs-on: [people, slurm-user=ada]`");
        let (job, _) = self.github.queue(by("ada-lovelace", ADA, OF_ADA)).await;
        let ran = self.until_success(job, happening).await?;

        self.screen.heading("Mallory asks for the same Slurm user");
        let (job, delivery) = self.github.queue(by("mallory", MALLORY, OF_ADA)).await;
        let refused = delivery.is_some_and(|delivery| says(&delivery.answer, "do not let mallory run as ada"));
        self.github.cancel_job(job).await;
        self.show_what_happened(happening).await;

        self.screen.heading("A job asks for `slurm-user=me`");
        let (_, delivery) = self.github.queue(by("ada-lovelace", ADA, &["people", "slurm-user=me"])).await;
        let explained = delivery.is_some_and(|delivery| says(&delivery.answer, "name your Slurm user"));
        self.show_what_happened(happening).await;

        self.screen
            .heading("Mallory's job waits with Ada's labels, unknown to the app, and GitHub gives it Ada's runner");
        self.github.disturb_webhook(WebhookFault::Lost);
        let (robber, _) = self.github.queue(by("mallory", MALLORY, OF_ADA)).await;
        let (robbed, _) = self.github.queue(by("ada-lovelace", ADA, OF_ADA)).await;
        let ended = self.until(happening, |event| matches!(event, Event::RefusedAtNode { .. })).await?;
        let before_its_steps = !self.github.log(robber).iter().any(|line| line.contains("Running step"));
        let ran_after = self.until_success(robbed, happening).await?;
        Ok(self.summary(&[
            (ran, "Ada's job runs as her Slurm user"),
            (refused, "the gateway submits nothing for Mallory"),
            (explained, "slurm-user=me is refused with an explanation"),
            (ended && before_its_steps, "the node ends Mallory's job before its first step"),
            (ran_after, "Ada's job gets another launch, and runs"),
        ]))
    }

    async fn start_checked_gateway(&mut self) -> anyhow::Result<()> {
        if let Some(what) = cluster::missing() {
            anyhow::bail!("this scenario shows the check of the job script, which needs {what}");
        }
        self.start_gateway().await
    }

    /// Shows what happens until it is this; false when it does not come in time.
    async fn until(&self, happening: &mut Receiver<Event>, is: fn(&Event) -> bool) -> anyhow::Result<bool> {
        let mut watcher = Watcher::new(self.screen);
        let seen = async {
            loop {
                let event = happening.recv().await?;
                let found = is(&event);
                watcher.show(event);
                if found {
                    return anyhow::Ok(());
                }
            }
        };
        tokio::time::timeout(DEADLINE, seen).await.map_or(Ok(false), |seen| seen.map(|()| true))
    }

    /// Shows what happened so far.
    async fn show_what_happened(&self, happening: &mut Receiver<Event>) {
        let mut watcher = Watcher::new(self.screen);
        while let Ok(Ok(event)) = tokio::time::timeout(Duration::from_millis(300), happening.recv()).await {
            watcher.show(event);
        }
    }

    /// Shows what happens, with a tick now and then, until a job has succeeded.
    async fn until_success(&self, job: u64, happening: &mut Receiver<Event>) -> anyhow::Result<bool> {
        tokio::time::timeout(DEADLINE, self.until_done(&[job], happening))
            .await
            .map_or(Ok(false), |done| done.map(|()| true))
    }

    fn summary(&self, all: &[(bool, &str)]) -> bool {
        self.screen.heading("Summary");
        for (seen, what) in all {
            self.screen.verdict(*seen, what);
        }
        all.iter().all(|(seen, _)| *seen)
    }
}

/// Whether the reason in the app's answer has these words.
fn says(answer: &Value, words: &str) -> bool {
    answer.get("reason").and_then(Value::as_str).is_some_and(|reason| reason.contains(words))
}
