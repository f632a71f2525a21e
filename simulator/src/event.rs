//! What happens in the fakes, as it happens: for the demo to show and for tests to wait for.

use serde_json::Value;
use tokio::sync::broadcast;

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// GitHub sends a webhook about a job. One that is missed, or whose host cannot be, is not sent.
    WebhookSent {
        /// The `action`.
        action: String,
        /// The job's id.
        job: u64,
        /// The body's size in bytes.
        bytes: usize,
    },
    /// The app answered it.
    WebhookAnswered {
        /// The `action`.
        action: String,
        /// The job's id.
        job: u64,
        /// The status; 0 when there was no answer.
        status: u16,
        /// The answer's body.
        body: Value,
    },
    /// The app read a delivery about a job from GitHub's list.
    DeliveryRead {
        /// The `action`.
        action: String,
        /// The job's id.
        job: u64,
        /// The payload's size in bytes.
        bytes: usize,
    },
    /// GitHub refused a request.
    Refused {
        /// Method and path.
        request: String,
        /// The status.
        status: u16,
        /// GitHub's message.
        message: String,
    },
    /// The App proved itself and got an installation token.
    InstallationToken {
        /// The repositories that it was narrowed to.
        repositories: Vec<String>,
    },
    /// A registration token was handed out.
    RegistrationToken {
        /// For this repository.
        repository: String,
    },
    /// A JIT configuration was handed out.
    JitConfig {
        /// For this repository.
        repository: String,
        /// Of the runner that it is bound to.
        runner: String,
    },
    /// The App gave a commit a status.
    CommitStatus {
        /// In this repository.
        repository: String,
        /// The commit.
        sha: String,
        /// `error`, `failure`, `pending` or `success`.
        state: String,
        /// What tells it from others of the commit.
        context: String,
        /// Its sentence; empty when there is none.
        description: String,
    },
    /// A runner registered.
    RunnerRegistered {
        /// Its name.
        name: String,
        /// Its labels.
        labels: Vec<String>,
    },
    /// A runner got a job.
    JobAssigned {
        /// The job's id.
        job: u64,
        /// The runner's name.
        runner: String,
    },
    /// A job has a conclusion.
    JobFinished {
        /// The job's id.
        job: u64,
        /// GitHub's word.
        conclusion: String,
    },
    /// The gateway got a launch request.
    LaunchRequested {
        /// Its body, secrets included.
        body: Value,
    },
    /// Slurm started the runner's job script.
    SlurmJobRunning {
        /// The Slurm job's id.
        slurm_job: u64,
        /// The runner's name.
        runner: String,
    },
    /// The job script exchanges its launch token.
    Redeeming {
        /// The Slurm job's id.
        slurm_job: u64,
    },
    /// The app answered the exchange of a launch token.
    Redeemed {
        /// The Slurm job's id.
        slurm_job: u64,
        /// The app's status; 0 when there was no answer.
        status: u16,
        /// The app's body, secrets included.
        body: Value,
    },
    /// The job script told the app that the check on its node refused the job.
    RefusedAtNode {
        /// The Slurm job's id.
        slurm_job: u64,
        /// What it told.
        body: Value,
    },
    /// The Slurm job ended and freed its resources.
    SlurmJobEnded {
        /// The Slurm job's id.
        slurm_job: u64,
        /// Why.
        why: String,
    },
}

/// Where events go; cheap to clone.
#[derive(Debug, Clone)]
pub struct Events(broadcast::Sender<Event>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::channel(4096).0)
    }
}

impl Events {
    /// Everything that happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }

    pub(crate) fn emit(&self, event: Event) {
        // Nobody has to listen.
        let _ = self.0.send(event);
    }
}
