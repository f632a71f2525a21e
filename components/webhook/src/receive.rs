//! Webhook received: `POST /api/github/webhooks`.
//!
//! Signature first, over the raw body; nothing is parsed before it. A *queued* job of ours is written down before
//! anything is tried, so that a 2xx means that it is not lost; then its launch is submitted. *in_progress* and
//! *completed* are facts that close it, also when they come first, and what follows from them is done at once. GitHub
//! counts a delivery as failed after 10 s and never repeats it by itself, so all calls of the gateway end within 7.

use std::time::Duration;

use gha_slurm_core::cluster::NoCluster;
use gha_slurm_core::counters::{Counter, WebhookOutcome};
use gha_slurm_core::github::credentials::forget;
use gha_slurm_core::identity::{DeliveryId, RepositoryId};
use gha_slurm_core::ledger::{Ledger, Requested};
use gha_slurm_core::lifecycle::{
    Destination, Fault, Progress, WrittenDown, begin, hold, ours, release, retry_overdue, settle, start_waiting,
    write_down,
};
use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_core::profile::{Match, NotOurs, Starter, Wanted};
use gha_slurm_core::settings::{SettingError, Settings};
use gha_slurm_edge::answer::{Answer, Level};
use gha_slurm_edge::request::Request;
use gha_slurm_protocol::identity::{JobId, LaunchId};
use serde_json::json;
use thiserror::Error;

use crate::events::{Action, BadPage, MalformedPayload, Sender, WorkflowJobEvent, check_json};
use crate::removals;
use crate::signature::{self, SignatureError};

const EVENT: &str = "x-github-event";
const SIGNATURE: &str = "x-hub-signature-256";
const DELIVERY: &str = "x-github-delivery";

/// GitHub caps payloads at 25 MB.
pub const MAX_BODY_BYTES: usize = 25_000_000;

/// For all calls of the gateway together.
const BUDGET: Duration = Duration::from_secs(7);

/// Answers one delivery.
pub fn receive<P: Platform>(platform: &P, request: &Request) -> Answer {
    if request.method != "POST" {
        return Answer::method_not_allowed("POST");
    }
    let missing: Vec<_> =
        [EVENT, SIGNATURE, DELIVERY].into_iter().filter(|name| request.header(name).is_none()).collect();
    if !missing.is_empty() {
        return Answer::error(400, format!("Required headers missing: {}", missing.join(", ")));
    }
    let received = Receiver { platform }.authentic(request);
    let outcome = match &received {
        Ok(verdict) => verdict.decision.outcome(),
        Err(unhandled) => Some(unhandled.outcome()),
    };
    if let Some(outcome) = outcome {
        Counter::Webhook(outcome).sample(platform);
    }
    let answer = received.map_or_else(Answer::from, Answer::from);
    answer.with_log("delivery", request.header(DELIVERY).unwrap_or_default())
}

/// Why a delivery was not dealt with.
#[derive(Debug, Error)]
enum Unhandled {
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error(transparent)]
    Malformed(#[from] MalformedPayload),
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Unplaced(#[from] NoCluster),
}

impl From<BadPage> for Unhandled {
    fn from(bad: BadPage) -> Self {
        match bad {
            BadPage::Malformed(error) => error.into(),
            BadPage::Setting(error) => error.into(),
        }
    }
}

impl Unhandled {
    fn outcome(&self) -> WebhookOutcome {
        match self {
            Self::Signature(_) => WebhookOutcome::Unauthorized,
            Self::Malformed(_) => WebhookOutcome::Malformed,
            Self::Setting(_) | Self::Store(_) | Self::Unplaced(_) => WebhookOutcome::Failed,
        }
    }
}

impl From<Unhandled> for Answer {
    fn from(unhandled: Unhandled) -> Self {
        match unhandled {
            Unhandled::Signature(error) => Self::error(401, error.to_string()),
            Unhandled::Malformed(error) => Self::error(400, error.to_string()),
            Unhandled::Setting(error) => error.into(),
            Unhandled::Store(error) | Unhandled::Unplaced(NoCluster::Store(error)) => error.into(),
            Unhandled::Unplaced(error) => SettingError::new("profiles", error.to_string()).into(),
        }
    }
}

struct Receiver<'a, P> {
    platform: &'a P,
}

impl<P: Platform> Receiver<'_, P> {
    fn authentic(&self, request: &Request) -> Result<Verdict, Unhandled> {
        let secret = Settings(self.platform).webhook_secret()?;
        signature::verify(&secret, &request.body, request.header(SIGNATURE).unwrap_or_default())?;
        let event = request.header(EVENT).unwrap_or_default();
        if let Some(removed) = removals::removed(event, &request.body) {
            return self.removed(&removed?);
        }
        if event != "workflow_job" {
            check_json(&request.body)?;
            return Ok(Decision::Ignored.because("only workflow_job events matter here"));
        }
        let event = WorkflowJobEvent::parse(&request.body)?;
        let delivery = request.header(DELIVERY).and_then(|id| DeliveryId::try_from(id.to_owned()).ok());
        self.ours(&event, delivery)
    }

    /// A repository's jobs stay as they are: GitHub sends nothing more of them, and the tick learns that from GitHub.
    fn removed(&self, repositories: &[RepositoryId]) -> Result<Verdict, Unhandled> {
        if repositories.is_empty() {
            return Ok(Decision::Ignored.because("the App loses no repository by it"));
        }
        forget(self.platform, repositories)?;
        Ok(Decision::Recorded.because("the tokens kept for the removed repositories are forgotten"))
    }

    fn ours(&self, event: &WorkflowJobEvent, delivery: Option<DeliveryId>) -> Result<Verdict, Unhandled> {
        let job = &event.workflow_job;
        let profiles = Settings(self.platform).profiles()?;
        let found = profiles.find(Wanted {
            labels: &job.labels,
            repository: &event.repository.full_name,
            public: event.repository.is_public(),
            starter: Starter::Told(event.sender.as_ref().and_then(Sender::known)),
        });
        match found {
            Ok(found) => self.follow(event, delivery, Some(found)),
            // What its profile says now, and of whoever caused this event, changes nothing of a job that was taken.
            Err(NotOurs::Repository { .. } | NotOurs::Public { .. } | NotOurs::Dynamic { .. })
                if self.is_known(job.id)? =>
            {
                self.follow(event, delivery, None)
            }
            // GitHub may give a runner of ours to a job that none was launched for.
            Err(_) if self.is_on_ours(event)? => self.follow(event, delivery, None),
            Err(not_ours) => Ok(Decision::Ignored.because(not_ours.to_string()).about(job.id)),
        }
    }

    /// Does what follows from an event of a job of ours; `found` is its profile, where that is still to be looked up.
    fn follow(
        &self,
        event: &WorkflowJobEvent,
        delivery: Option<DeliveryId>,
        found: Option<Match>,
    ) -> Result<Verdict, Unhandled> {
        if let Action::Other(_) = event.action {
            return Ok(Decision::Ignored.because("this action starts and ends no job").about(event.workflow_job.id));
        }
        // Before anything is written: what is stored under a wrong setting would fail later, unseen.
        let destination = Destination::read(self.platform, BUDGET)?;
        let verdict = match &event.action {
            Action::Queued | Action::Waiting => self.queued(event, delivery, found, &destination),
            _ => self.closed(event, delivery, &destination),
        }?;
        Ok(verdict.followed_by(retry_overdue(self.platform, &destination)))
    }

    /// Whether the job was taken before.
    fn is_known(&self, job: JobId) -> Result<bool, StoreError> {
        Ok(Ledger(self.platform).job(job).requested()?.is_some())
    }

    /// Whether the job's runner is one that was launched here.
    fn is_on_ours(&self, event: &WorkflowJobEvent) -> Result<bool, StoreError> {
        Ok(ours(self.platform, event.workflow_job.runner_name.as_deref(), event.repository.named())?.is_some())
    }

    fn queued(
        &self,
        event: &WorkflowJobEvent,
        delivery: Option<DeliveryId>,
        found: Option<Match>,
        destination: &Destination,
    ) -> Result<Verdict, Unhandled> {
        let job = &event.workflow_job;
        let facts = Ledger(self.platform).job(job.id);
        let view = facts.view()?;
        let ignored = |why: &str| Ok(Decision::Ignored.because(why).about(job.id));
        if view.finished.is_some() {
            return ignored("the job came to its end before");
        }
        if view.started.is_some() {
            return ignored("a runner took the job before");
        }
        if let Some(denied) = &view.denied {
            return ignored(&format!("GitHub was asked about the run, and {}", denied.denial));
        }
        let now = self.platform.unix_seconds();
        if view.expired(now) && !view.is_held() {
            return ignored("GitHub gives a job up after 24 h in the queue");
        }
        let news = delivery.as_ref().is_none_or(|delivery| !view.knows(delivery));
        let (known, held) = (view.requested.is_some(), view.held.is_some());
        let requested = match (view.requested, found) {
            (Some(requested), _) => requested,
            (None, Some(found)) => match self.request(event, delivery.clone(), found, destination) {
                Err(Unhandled::Unplaced(error @ NoCluster::TooMuch(_))) => return ignored(&error.to_string()),
                request => request?,
            },
            (None, None) => return ignored("the job was deleted meanwhile"),
        };
        if event.holds() {
            if held {
                return Ok(Decision::Duplicate.because("GitHub was known to hold the job back").about(job.id));
            }
            facts.record_held(delivery, (!known).then_some(&requested))?;
            let why = "GitHub holds the job back until its deployment is approved; it is launched after that";
            return Ok(Decision::Recorded.because(why).about(job.id).followed_by(hold(
                self.platform,
                destination,
                job.id,
            )));
        }
        let released = held && view.released.is_none();
        if released && !news {
            return Ok(Decision::Duplicate.because("GitHub holds the job back by now").about(job.id));
        }
        let written = match (released, known) {
            (true, _) => {
                facts.record_released()?;
                WrittenDown::Shared
            }
            (false, true) => WrittenDown::Shared,
            (false, false) => write_down(self.platform, job.id, &requested)?,
        };
        // From here on the job is not lost, so the answer is a 2xx whatever happens.
        let progress = if released {
            release(self.platform, destination, job.id, &requested)
        } else {
            begin(self.platform, destination, job.id, &requested, written)
        };
        let progress = match progress {
            Ok(progress) => progress,
            Err(error) => {
                let why = "the job is kept, but its launch could not be submitted now";
                return Ok(Decision::Deferred.because(why).about(job.id).followed_by(Err(error)));
            }
        };
        Ok(Verdict::of(job.id, &requested, &progress))
    }

    fn request(
        &self,
        event: &WorkflowJobEvent,
        delivery: Option<DeliveryId>,
        found: Match,
        destination: &Destination,
    ) -> Result<Requested, Unhandled> {
        let job = &event.workflow_job;
        let clusters = found.placement.order(self.platform, &destination.clusters, job.id, &found.resources)?;
        let now = self.platform.unix_seconds();
        let settings = Settings(self.platform);
        Ok(Requested {
            repository_id: event.repository.id,
            repository: event.repository.full_name.clone(),
            html_url: event.repository.page(|page| settings.is_github_page(page))?,
            installation: event.installation.map(|installation| installation.id),
            labels: job.labels.clone(),
            run_attempt: job.run_attempt,
            profile: found.profile,
            max_running: found.max_running,
            max_running_per_repository: found.max_running_per_repository,
            clusters,
            resources: found.resources,
            name: job.name.clone(),
            workflow: job.workflow_name.clone(),
            branch: job.head_branch.clone(),
            person: event.sender.as_ref().map(|sender| sender.login.clone()).unwrap_or_default(),
            person_id: event.sender.as_ref().and_then(|sender| sender.id),
            run_id: job.run_id,
            rules: found.rules,
            slurm_user: found.slurm_user,
            sha: job.head_sha.clone().and_then(|sha| sha.try_into().ok()),
            registered_at: found.registered_at,
            delivery,
            created_at: job.created_at.unwrap_or(now),
            at: now,
        })
    }

    fn closed(
        &self,
        event: &WorkflowJobEvent,
        delivery: Option<DeliveryId>,
        destination: &Destination,
    ) -> Result<Verdict, Unhandled> {
        let job = &event.workflow_job;
        let facts = Ledger(self.platform).job(job.id);
        let mut view = facts.view()?;
        let known = view.requested.is_some() || view.started.is_some() || view.finished.is_some();
        let finished = event.action == Action::Completed;
        // A *completed* that names a runner tells of the start as well, should *in_progress* be lost.
        if view.started.is_none() && (!finished || job.runner_name.as_ref().is_some_and(|name| !name.is_empty())) {
            let runner = job.runner_name.clone();
            let launch = ours(self.platform, runner.as_deref(), event.repository.named())?;
            view.started = Some(facts.record_started(runner, launch, delivery.clone(), known)?);
        }
        if finished && view.finished.is_none() {
            let known = known || view.started.is_some();
            facts.record_finished(job.conclusion.clone(), delivery, known)?;
            view = facts.view()?;
        }
        let why = if finished { "the job came to its end" } else { "a runner took the job" };
        let verdict = Decision::Recorded.because(why).about(job.id);
        let followed = settle(self.platform, destination, job.id, &view).and_then(|()| match &view.requested {
            Some(requested) => start_waiting(self.platform, destination, requested),
            None => Ok(()),
        });
        Ok(verdict.followed_by(followed))
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy)]
enum Decision {
    Launched,
    Offered,
    Deferred,
    Duplicate,
    Recorded,
    Ignored,
}

impl Decision {
    fn because(self, reason: impl Into<String>) -> Verdict {
        Verdict { decision: self, reason: reason.into(), job: None, launch: None, level: None, detail: None }
    }

    /// What it is counted as, unless it left a fact.
    fn outcome(self) -> Option<WebhookOutcome> {
        match self {
            Self::Ignored => Some(WebhookOutcome::Ignored),
            Self::Duplicate => Some(WebhookOutcome::Duplicate),
            Self::Launched | Self::Offered | Self::Deferred | Self::Recorded => None,
        }
    }
}

/// A decision with its reason, and what it is about.
#[derive(Debug)]
struct Verdict {
    decision: Decision,
    reason: String,
    job: Option<JobId>,
    launch: Option<LaunchId>,
    level: Option<Level>,
    /// For the log alone.
    detail: Option<String>,
}

impl Verdict {
    fn about(self, job: JobId) -> Self {
        Self { job: Some(job), ..self }
    }

    fn with_launch(self, launch: LaunchId) -> Self {
        Self { launch: Some(launch), ..self }
    }

    fn at(self, level: Level) -> Self {
        Self { level: Some(level), ..self }
    }

    /// The work that follows is done again by the tick, so its failure is no failure of the delivery.
    fn followed_by(self, work: Result<(), Fault>) -> Self {
        match work {
            Ok(()) => self,
            Err(fault) => Self { detail: Some(fault.to_string()), ..self },
        }
    }

    fn of(job: JobId, requested: &Requested, progress: &Progress) -> Self {
        let verdict = match progress {
            Progress::Launched(id) => {
                Decision::Launched.because(format!("profile {}", requested.profile)).with_launch(*id)
            }
            Progress::LaunchedBefore(id) => Decision::Duplicate.because("the job was launched before").with_launch(*id),
            Progress::UnderWay(id) => Decision::Duplicate.because("the job is being launched").with_launch(*id),
            Progress::Offered(id, cluster) => Decision::Offered
                .because(format!("profile {}; cluster {cluster} fetches it", requested.profile))
                .with_launch(*id),
            // It is tried again.
            Progress::Deferred(id, delay) => {
                Decision::Deferred.because(delay.to_string()).with_launch(*id).at(Level::Warn)
            }
            Progress::Refused(id, refusal) => {
                Decision::Deferred.because(refusal.why.clone()).with_launch(*id).at(Level::Warn)
            }
            // A full profile is no reason to worry.
            Progress::InLine(id) => Decision::Deferred
                .because(format!("profile {} runs as many launches as it may (max_running)", requested.profile))
                .with_launch(*id),
            Progress::Unconfirmed => Decision::Deferred
                .because("the job is older than 24 h: GitHub is asked first whether it is still queued"),
            Progress::GivenUp => {
                Decision::Ignored.because("the job had all the launches that it may have").at(Level::Warn)
            }
        };
        verdict.about(job)
    }
}

impl From<Verdict> for Answer {
    fn from(verdict: Verdict) -> Self {
        let (status, decision) = match verdict.decision {
            Decision::Launched => (200, "launched"),
            Decision::Offered => (202, "offered"),
            Decision::Deferred => (202, "deferred"),
            Decision::Duplicate => (200, "duplicate"),
            Decision::Recorded => (200, "recorded"),
            Decision::Ignored => (200, "ignored"),
        };
        let Verdict { reason, job, launch, level, detail, .. } = verdict;
        let body = json!({"decision": decision, "reason": reason, "job": job, "launch": launch});
        Self { level, detail, ..Self::new(status, body) }
    }
}
