//! What goes wrong in practice, and how it is repaired: one scenario each.

use std::time::Duration;

use gha_slurm_simulator::event::Event;
use gha_slurm_simulator::github::{JobStatus, WebhookFault};
use tokio::sync::broadcast::Receiver;

use super::story::Watcher;
use super::{REPOSITORY, Scenario, Stage};

const LABELS: &[&str] = &["self-hosted", "slurm"];
pub(super) const DEADLINE: Duration = Duration::from_secs(60);
/// Between two ticks, while something has to be repaired.
const PACE: Duration = Duration::from_secs(2);

impl Stage<'_> {
    /// Whether it ended well.
    pub(super) async fn play(&mut self, scenario: Scenario, happening: &mut Receiver<Event>) -> anyhow::Result<bool> {
        if scenario != Scenario::GatewayDown {
            self.start_gateway().await?;
        }
        let (jobs, what) = match scenario {
            Scenario::GatewayDown => {
                self.screen.heading("Three jobs are queued while the gateway is down");
                let mut jobs = Vec::new();
                for _ in 0..3 {
                    jobs.push(self.github.queue_job(REPOSITORY, LABELS).await.0);
                }
                self.start_gateway().await?;
                (jobs, "the gateway was down, no job was lost, and each was launched once")
            }
            Scenario::LostWebhook => {
                self.screen.heading("A job is queued, but its webhook does not reach the app");
                self.github.disturb_webhook(WebhookFault::Unreachable);
                let (job, _) = self.github.queue_job(REPOSITORY, LABELS).await;
                (vec![job], "the delivery failed, GitHub sent it again on request, and the job was launched once")
            }
            Scenario::StolenRunner | Scenario::Workflow | Scenario::Fork | Scenario::People | Scenario::InsideOut => {
                self.screen.heading(
                    "Two jobs wait; the runner of the second one starts first, and GitHub gives it to the first",
                );
                self.wire.hold(true);
                let (robber, _) = self.github.queue_job(REPOSITORY, LABELS).await;
                let (robbed, _) = self.github.queue_job(REPOSITORY, LABELS).await;
                self.wire.let_pass(&format!("{robbed}-1"));
                let stolen = tokio::time::timeout(DEADLINE, self.until_taken(robber)).await;
                anyhow::ensure!(stolen.is_ok_and(|by| by == format!("gha-slurm-{robbed}-1")), "no runner was stolen");
                self.wire.hold(false);
                (vec![robber, robbed], "a job took another job's runner, and its own launch served that job")
            }
        };
        let ended = tokio::time::timeout(DEADLINE, self.until_done(&jobs, happening)).await;
        let launches = self.wire.starts().len();
        let good = matches!(ended, Ok(Ok(()))) && launches == jobs.len();
        self.screen.heading("Summary");
        self.screen.verdict(good, &format!("{what} ({launches} launches for {} jobs)", jobs.len()));
        if let Ok(Err(error)) = ended {
            return Err(error);
        }
        Ok(good)
    }

    /// The name of the runner that took a job.
    async fn until_taken(&self, job: u64) -> String {
        loop {
            if let Some((_, name)) = self.github.job(job).and_then(|job| job.runner) {
                return name;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Shows what happens, with a tick now and then, until all jobs are done.
    pub(super) async fn until_done(&self, jobs: &[u64], happening: &mut Receiver<Event>) -> anyhow::Result<()> {
        let mut watcher = Watcher::new(self.screen);
        loop {
            while let Ok(event) = tokio::time::timeout(PACE, happening.recv()).await {
                watcher.show(event?);
            }
            let success = JobStatus::Completed("success".to_owned());
            if jobs.iter().all(|job| self.github.job(*job).is_some_and(|job| job.status == success)) {
                return Ok(());
            }
            self.screen.note("    the periodic repair runs (POST /internal/tick)");
            self.app.tick().await?;
        }
    }
}
