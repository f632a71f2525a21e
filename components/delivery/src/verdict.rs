//! What became of a delivery, and why.

use gha_slurm_core::counters::WebhookOutcome;
use gha_slurm_core::ledger::Requested;
use gha_slurm_core::lifecycle::{Fault, Progress};
use gha_slurm_protocol::identity::{JobId, LaunchId};

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Its job's launch was submitted.
    Launched,
    /// Its job's launch waits for its cluster to fetch it.
    Offered,
    /// Its job's launch is submitted later.
    Deferred,
    /// It was known.
    Duplicate,
    /// What it says was written down.
    Recorded,
    /// It is none of ours, or nothing follows from it.
    Ignored,
}

impl Decision {
    pub(crate) fn because(self, reason: impl Into<String>) -> Verdict {
        Verdict { decision: self, reason: reason.into(), job: None, launch: None, worries: false, detail: None }
    }

    /// Its word in answers and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Launched => "launched",
            Self::Offered => "offered",
            Self::Deferred => "deferred",
            Self::Duplicate => "duplicate",
            Self::Recorded => "recorded",
            Self::Ignored => "ignored",
        }
    }

    /// What it is counted as, unless it left a fact.
    pub(crate) fn outcome(self) -> Option<WebhookOutcome> {
        match self {
            Self::Ignored => Some(WebhookOutcome::Ignored),
            Self::Duplicate => Some(WebhookOutcome::Duplicate),
            Self::Launched | Self::Offered | Self::Deferred | Self::Recorded => None,
        }
    }
}

/// A decision with its reason, and what it is about.
#[derive(Debug)]
pub struct Verdict {
    /// What became of it.
    pub decision: Decision,
    /// Why, for people.
    pub reason: String,
    /// The job that it is about.
    pub job: Option<JobId>,
    /// The launch that the job has.
    pub launch: Option<LaunchId>,
    /// Whether an operator should see it.
    pub worries: bool,
    /// What failed of the work that follows, for the log alone.
    pub detail: Option<String>,
}

impl Verdict {
    pub(crate) fn about(self, job: JobId) -> Self {
        Self { job: Some(job), ..self }
    }

    fn with_launch(self, launch: LaunchId) -> Self {
        Self { launch: Some(launch), ..self }
    }

    fn worrying(self) -> Self {
        Self { worries: true, ..self }
    }

    /// The work that follows is done again by the tick, so its failure is no failure of the delivery.
    pub(crate) fn followed_by(self, work: Result<(), Fault>) -> Self {
        match work {
            Ok(()) => self,
            Err(fault) => Self { detail: Some(fault.to_string()), ..self },
        }
    }

    pub(crate) fn of(job: JobId, requested: &Requested, progress: &Progress) -> Self {
        let verdict = match progress {
            Progress::Launched(id) => {
                Decision::Launched.because(format!("profile {}", requested.profile)).with_launch(*id)
            }
            Progress::Offered(id, cluster) => Decision::Offered
                .because(format!("profile {}; cluster {cluster} fetches it", requested.profile))
                .with_launch(*id),
            Progress::LaunchedBefore(id) => Decision::Duplicate.because("the job was launched before").with_launch(*id),
            Progress::UnderWay(id) => Decision::Duplicate.because("the job is being launched").with_launch(*id),
            // It is tried again.
            Progress::Deferred(id, delay) => Decision::Deferred.because(delay.to_string()).with_launch(*id).worrying(),
            Progress::Refused(id, refusal) => {
                Decision::Deferred.because(refusal.why.clone()).with_launch(*id).worrying()
            }
            // A full profile is no reason to worry.
            Progress::InLine(id) => Decision::Deferred
                .because(format!("profile {} runs as many launches as it may (max_running)", requested.profile))
                .with_launch(*id),
            Progress::Unconfirmed => Decision::Deferred
                .because("the job is older than 24 h: GitHub is asked first whether it is still queued"),
            Progress::GivenUp => Decision::Ignored.because("the job had all the launches that it may have").worrying(),
        };
        verdict.about(job)
    }
}
