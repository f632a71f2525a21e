//! The demo's main scenario: one job from *queued* to *completed*, then requests that must be refused.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use gha_slurm_simulator::event::Event;
use serde_json::Value;
use tokio::sync::broadcast::Receiver;

use super::screen::Screen;
use super::{REPOSITORY, Stage};

const DEADLINE: Duration = Duration::from_secs(60);

const STEPS: [&str; 7] = [
    "GitHub's webhook: a job is queued, with a valid signature and labels of a profile",
    "the app sends a launch token to the gateway",
    "the gateway submits the runner as a Slurm job, and it runs",
    "the Slurm job redeems its launch token at the app, once",
    "the app gets a fresh credential from GitHub",
    "the runner registers as ephemeral and takes the job",
    "the webhooks in_progress and completed arrive; the Slurm job ends",
];

impl Stage<'_> {
    /// Whether every step was seen.
    pub(super) async fn workflow(&mut self, happening: &mut Receiver<Event>) -> anyhow::Result<bool> {
        self.start_gateway().await?;
        let begun = Instant::now();
        self.screen.heading("A workflow asks for `runs-on: [self-hosted, slurm]`");
        let queued = self.github.queue_job(REPOSITORY, &["self-hosted", "slurm"]);
        let mut watcher = Watcher::new(self.screen);
        let (_, watched) = tokio::join!(queued, tokio::time::timeout(DEADLINE, watcher.watch(happening)));
        if watched.is_err() {
            self.screen.note("some steps did not happen in time");
        }
        let seen = watcher.seen;
        let took = begun.elapsed();

        let (ended, refused) = self.cancelled(happening).await;
        let others = [
            (ended, "a cancelled job's Slurm job is cancelled"),
            (refused, "its launch token gets 410, no credential"),
            (self.replayed().await, "a launch token that was redeemed gets 409"),
            (self.forged().await, "a forged launch token gets 401"),
        ];
        self.screen.heading(&format!("Summary (the job took {:.1} s)", took.as_secs_f32()));
        let mut complete = true;
        for (number, step) in (1u8..).zip(STEPS) {
            complete &= seen.contains(&number);
            self.screen.verdict(seen.contains(&number), &format!("{number} {step}"));
        }
        for (happened, what) in others {
            complete &= happened;
            self.screen.verdict(happened, &format!("- {what}"));
        }
        let app = &self.app.url;
        println!("\nNext: a real GitHub App and a real cluster; see docs/quickstart.md. The app answers at {app}.");
        Ok(complete)
    }

    /// Whether the Slurm job ended, and whether its token was refused.
    async fn cancelled(&self, happening: &mut Receiver<Event>) -> (bool, bool) {
        self.screen.heading("A job is cancelled while its Slurm job has no credential yet");
        self.wire.hold(true);
        let (job, _) = self.github.queue_job(REPOSITORY, &["self-hosted", "slurm"]).await;
        self.github.cancel_job(job).await;
        let end = async {
            while let Ok(event) = happening.recv().await {
                if let Event::SlurmJobEnded { slurm_job, why } = event {
                    self.screen.step(7, "Slurm", &format!("Slurm job {slurm_job} ended: {why}"));
                    return true;
                }
            }
            false
        };
        let ended = tokio::time::timeout(DEADLINE, end).await.unwrap_or(false);
        self.wire.hold(false);
        let launch = format!("{job}-1");
        let start = self.wire.starts().into_iter().find(|start| start.get("launch") == Some(&Value::from(&*launch)));
        let Some(start) = start else { return (ended, false) };
        (ended, self.exchange(&start, "app → latecomer").await == 410)
    }

    async fn replayed(&self) -> bool {
        self.screen.heading("The first launch token is used a second time");
        let Some(start) = self.wire.starts().into_iter().next() else { return false };
        self.exchange(&start, "app → replayer").await == 409
    }

    async fn forged(&self) -> bool {
        self.screen.heading("A launch token is forged");
        let Some(mut start) = self.wire.starts().into_iter().next() else { return false };
        if let Some(token) = start.get_mut("launcherToken") {
            let changed: String = token.as_str().unwrap_or_default().chars().rev().collect();
            *token = Value::String(changed);
        }
        self.exchange(&start, "app → forger").await == 401
    }

    async fn exchange(&self, start: &Value, who: &str) -> u16 {
        let (status, body) = self.wire.redeem(start).await;
        self.screen.step(4, who, &status.to_string());
        self.screen.wire(&body);
        status
    }
}

/// Shows what happens, and remembers which steps were seen.
pub(super) struct Watcher<'a> {
    screen: &'a Screen,
    seen: BTreeSet<u8>,
    /// Of *in_progress* and *completed*, how many the app has recorded.
    closed: u8,
    ended: bool,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(screen: &'a Screen) -> Self {
        Self { screen, seen: BTreeSet::new(), closed: 0, ended: false }
    }

    /// Shows what happens until the job is done and its Slurm job has ended.
    async fn watch(&mut self, happening: &mut Receiver<Event>) {
        while !(self.ended && self.closed == 2) {
            match happening.recv().await {
                Ok(event) => self.show(event),
                Err(_) => return,
            }
        }
    }

    fn step(&mut self, number: u8, who: &str, what: &str) {
        self.screen.step(number, who, what);
    }

    pub(super) fn show(&mut self, event: Event) {
        match event {
            Event::WebhookSent { action, job, bytes } => {
                let number = if action == "queued" { 1 } else { 7 };
                self.step(number, "GitHub → app", &format!("workflow_job {action}, job {job}, {bytes} bytes, signed"));
            }
            Event::WebhookAnswered { action, status, body, .. } => {
                let decision = body.get("decision").and_then(Value::as_str).unwrap_or_default().to_owned();
                let number = if action == "queued" { 1 } else { 7 };
                self.step(number, "app → GitHub", &format!("{status} {decision}"));
                self.screen.wire(&body);
                match decision.as_str() {
                    "launched" => drop(self.seen.insert(1)),
                    "recorded" => self.closed += 1,
                    _ => {}
                }
                self.close();
            }
            Event::DeliveryRead { action, job, bytes } => {
                let number = if action == "queued" { 1 } else { 7 };
                let what = format!("reads the delivery workflow_job {action}, job {job}, {bytes} bytes");
                self.step(number, "app → GitHub", &what);
            }
            Event::CommitStatus { sha, state, description, .. } => {
                let commit: String = sha.chars().take(7).collect();
                self.step(3, "app → GitHub", &format!("status of commit {commit}: {state} {description}"));
            }
            Event::LaunchRequested { body } => {
                self.seen.insert(2);
                self.step(2, "app → gateway", "POST /runner/start");
                self.screen.wire(&body);
            }
            Event::SlurmJobRunning { slurm_job, runner } => {
                self.seen.insert(3);
                self.step(3, "gateway → Slurm", &format!("Slurm job {slurm_job} runs {runner}"));
            }
            Event::Redeeming { slurm_job } => {
                self.step(4, "Slurm job → app", &format!("POST /gha/runner, by Slurm job {slurm_job}"));
            }
            Event::InstallationToken { repositories } => {
                let only = repositories.join(", ");
                self.step(5, "app → GitHub", &format!("App JWT for an installation token, only for {only}"));
            }
            Event::RegistrationToken { repository } => {
                self.seen.insert(5);
                self.step(5, "app → GitHub", &format!("installation token for a registration token of {repository}"));
            }
            Event::JitConfig { repository, runner } => {
                self.seen.insert(5);
                let what = format!("installation token for a JIT configuration of {runner} in {repository}");
                self.step(5, "app → GitHub", &what);
            }
            Event::Redeemed { status, body, .. } => {
                if status == 200 {
                    self.seen.insert(4);
                }
                self.step(4, "app → Slurm job", &status.to_string());
                self.screen.wire(&body);
            }
            Event::RunnerRegistered { name, labels } => {
                self.step(6, "runner → GitHub", &format!("registers {name} [{}]", labels.join(", ")));
            }
            Event::JobAssigned { job, runner } => {
                self.seen.insert(6);
                self.step(6, "GitHub → runner", &format!("job {job} goes to {runner}"));
            }
            Event::JobFinished { job, conclusion } => {
                self.step(6, "runner → GitHub", &format!("job {job} is done: {conclusion}"));
            }
            Event::RefusedAtNode { slurm_job, body } => {
                self.step(6, "node → app", &format!("the check on the node of Slurm job {slurm_job} refused the job"));
                self.screen.wire(&body);
            }
            Event::SlurmJobEnded { slurm_job, why } => {
                self.step(7, "Slurm", &format!("Slurm job {slurm_job} ended: {why}"));
                self.ended = true;
                self.close();
            }
            Event::Refused { request, status, message } => {
                self.step(5, "GitHub refuses", &format!("{request}: {status} {message}"));
            }
        }
    }

    fn close(&mut self) {
        if self.ended && self.closed == 2 {
            self.seen.insert(7);
        }
    }
}
