//! Webhook received: `POST /api/github/webhooks`.
//!
//! Signature first, over the raw body; nothing is parsed before it. A *queued* job of ours is written down before
//! anything is tried, so that a 2xx means that it is not lost; then its launch is submitted. *in_progress* and
//! *completed* are facts that close it, also when they come first, and what follows from them is done at once. GitHub
//! counts a delivery as failed after 10 s and never repeats it by itself, so all calls of the gateway end within 7.

use std::time::Duration;

use serde_json::json;

use crate::answer::{Answer, Level};
use crate::github::credentials::forget;
use crate::github::events::{Action, MalformedPayload, WorkflowJobEvent, check_json};
use crate::github::removals;
use crate::identity::{DeliveryId, RepositoryId};
use crate::ledger::{Ledger, Requested};
use crate::lifecycle::{Destination, Progress, advance, begin, ours, retry_overdue, settle, start_waiting};
use crate::metrics;
use crate::ports::Platform;
use crate::profile::Match;
use crate::request::Request;
use crate::settings::Settings;
use crate::signature;
use gha_slurm_protocol::identity::{JobId, LaunchId};

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
    let answer = Receiver { platform }.authentic(request).unwrap_or_else(|answer| *answer);
    metrics::webhook(platform, &answer);
    answer.with_log("delivery", request.header(DELIVERY).unwrap_or_default())
}

/// An answer that ends the flow early. Boxed, because it is larger than what a step returns.
type Early = Box<Answer>;

fn early<T: Into<Answer>>(error: T) -> Early {
    Box::new(error.into())
}

impl From<MalformedPayload> for Answer {
    fn from(error: MalformedPayload) -> Self {
        Self::error(400, error.to_string())
    }
}

struct Receiver<'a, P> {
    platform: &'a P,
}

impl<P: Platform> Receiver<'_, P> {
    fn authentic(&self, request: &Request) -> Result<Answer, Early> {
        let secret = Settings(self.platform).webhook_secret().map_err(early)?;
        signature::verify(&secret, &request.body, request.header(SIGNATURE).unwrap_or_default())
            .map_err(|error| Box::new(Answer::error(401, error.to_string())))?;
        let event = request.header(EVENT).unwrap_or_default();
        if let Some(removed) = removals::removed(event, &request.body) {
            return self.removed(&removed.map_err(early)?);
        }
        if event != "workflow_job" {
            check_json(&request.body).map_err(early)?;
            return Ok(Decision::Ignored.because("only workflow_job events matter here", None, None));
        }
        let event = WorkflowJobEvent::parse(&request.body).map_err(early)?;
        let delivery = request.header(DELIVERY).and_then(|id| DeliveryId::try_from(id.to_owned()).ok());
        self.ours(&event, delivery)
    }

    /// A repository's jobs stay as they are: GitHub sends nothing more of them, and the tick learns that from GitHub.
    fn removed(&self, repositories: &[RepositoryId]) -> Result<Answer, Early> {
        if repositories.is_empty() {
            return Ok(Decision::Ignored.because("the App loses no repository by it", None, None));
        }
        forget(self.platform, repositories).map_err(early)?;
        Ok(Decision::Recorded.because("the tokens kept for the removed repositories are forgotten", None, None))
    }

    fn ours(&self, event: &WorkflowJobEvent, delivery: Option<DeliveryId>) -> Result<Answer, Early> {
        let job = &event.workflow_job;
        let profiles = Settings(self.platform).profiles().map_err(early)?;
        let found = match profiles.find(&job.labels, &event.repository.full_name) {
            Ok(found) => found,
            Err(not_ours) => return Ok(Decision::Ignored.because(&not_ours.to_string(), Some(job.id), None)),
        };
        if let Action::Waiting | Action::Other(_) = event.action {
            let why = "the job is not queued yet, or this action starts and ends no job";
            return Ok(Decision::Ignored.because(why, Some(job.id), None));
        }
        // Before anything is written: what is stored under a wrong setting would fail later, unseen.
        let destination = Destination::read(self.platform, BUDGET).map_err(early)?;
        let answer = match &event.action {
            Action::Queued => self.queued(event, delivery, found, &destination),
            _ => self.closed(event, delivery, &destination),
        }?;
        // The delivery is dealt with whatever comes of others' work.
        Ok(match retry_overdue(self.platform, &destination) {
            Ok(_) => answer,
            Err(error) => answer.with_detail(error.to_string()),
        })
    }

    fn queued(
        &self,
        event: &WorkflowJobEvent,
        delivery: Option<DeliveryId>,
        found: Match,
        destination: &Destination,
    ) -> Result<Answer, Early> {
        let job = &event.workflow_job;
        let facts = Ledger(self.platform).job(job.id);
        let view = facts.view().map_err(early)?;
        let ignored = |why| Ok(Decision::Ignored.because(why, Some(job.id), None));
        if view.finished.is_some() {
            return ignored("the job came to its end before");
        }
        if view.started.is_some() {
            return ignored("a runner took the job before");
        }
        let now = self.platform.unix_seconds();
        let (requested, known) = match view.requested {
            Some(requested) if requested.expired(now) => {
                return ignored("GitHub gives a job up after 24 h in the queue");
            }
            Some(requested) => (requested, true),
            None => {
                let requested = Requested {
                    repository_id: event.repository.id,
                    repository: event.repository.full_name.clone(),
                    html_url: event.repository.page().map_err(early)?,
                    installation: event.installation.map(|installation| installation.id),
                    labels: job.labels.clone(),
                    run_attempt: job.run_attempt,
                    profile: found.profile,
                    max_running: found.max_running,
                    resources: found.resources,
                    name: job.name.clone(),
                    workflow: job.workflow_name.clone(),
                    branch: job.head_branch.clone(),
                    delivery,
                    created_at: job.created_at.unwrap_or(now),
                    at: now,
                };
                facts.record_requested(&requested).map_err(early)?;
                (requested, false)
            }
        };
        // From here on the job is not lost, so the answer is a 2xx whatever happens.
        let progress = if known {
            advance(self.platform, destination, job.id, &requested, false)
        } else {
            begin(self.platform, destination, job.id, &requested)
        };
        let progress = match progress {
            Ok(progress) => progress,
            Err(error) => {
                let why = "the job is kept, but its launch could not be submitted now";
                return Ok(Decision::Deferred.because(why, Some(job.id), None).with_detail(error.to_string()));
            }
        };
        Ok(Decision::of(job.id, &requested, &progress))
    }

    fn closed(
        &self,
        event: &WorkflowJobEvent,
        delivery: Option<DeliveryId>,
        destination: &Destination,
    ) -> Result<Answer, Early> {
        let job = &event.workflow_job;
        let facts = Ledger(self.platform).job(job.id);
        let mut view = facts.view().map_err(early)?;
        let known = view.requested.is_some() || view.started.is_some() || view.finished.is_some();
        let finished = event.action == Action::Completed;
        // A *completed* that names a runner tells of the start as well, should *in_progress* be lost.
        if view.started.is_none() && (!finished || job.runner_name.as_ref().is_some_and(|name| !name.is_empty())) {
            let runner = job.runner_name.clone();
            let launch = ours(self.platform, runner.as_deref(), event.repository.id).map_err(early)?;
            view.started = Some(facts.record_started(runner, launch, delivery.clone(), known).map_err(early)?);
        }
        if finished && view.finished.is_none() {
            let known = known || view.started.is_some();
            facts.record_finished(job.conclusion.clone(), delivery, known).map_err(early)?;
            view = facts.view().map_err(early)?;
        }
        let why = if finished { "the job came to its end" } else { "a runner took the job" };
        let answer = Decision::Recorded.because(why, Some(job.id), None);
        let followed = settle(self.platform, destination, job.id, &view).and_then(|()| match &view.requested {
            Some(requested) => start_waiting(self.platform, destination, requested),
            None => Ok(()),
        });
        Ok(match followed {
            Ok(()) => answer,
            Err(error) => answer.with_detail(error.to_string()),
        })
    }
}

/// What became of a delivery.
#[derive(Clone, Copy)]
enum Decision {
    Launched,
    Deferred,
    Duplicate,
    Recorded,
    Ignored,
}

impl Decision {
    fn of(job: JobId, requested: &Requested, progress: &Progress) -> Answer {
        let (decision, why, launch) = match progress {
            Progress::Launched(id) => (Self::Launched, format!("profile {}", requested.profile), Some(*id)),
            Progress::LaunchedBefore(id) => (Self::Duplicate, "the job was launched before".to_owned(), Some(*id)),
            Progress::UnderWay(id) => (Self::Duplicate, "the job is being launched".to_owned(), Some(*id)),
            Progress::Deferred(id, why) => (Self::Deferred, why.clone(), Some(*id)),
            Progress::InLine(id) => {
                let why = format!("profile {} runs as many launches as it may (max_running)", requested.profile);
                (Self::Deferred, why, Some(*id))
            }
            Progress::Unconfirmed => {
                let why = "the job is older than 24 h: GitHub is asked first whether it is still queued".to_owned();
                (Self::Deferred, why, None)
            }
            Progress::GivenUp => (Self::Ignored, "the job had all the launches that it may have".to_owned(), None),
        };
        let answer = decision.because(&why, Some(job), launch);
        match progress {
            // It is tried again; a full profile is no reason to worry.
            Progress::Deferred(..) | Progress::GivenUp => answer.at(Level::Warn),
            _ => answer,
        }
    }

    fn because(self, reason: &str, job: Option<JobId>, launch: Option<LaunchId>) -> Answer {
        let (status, decision) = match self {
            Self::Launched => (200, "launched"),
            Self::Deferred => (202, "deferred"),
            Self::Duplicate => (200, "duplicate"),
            Self::Recorded => (200, "recorded"),
            Self::Ignored => (200, "ignored"),
        };
        Answer::new(status, json!({"decision": decision, "reason": reason, "job": job, "launch": launch}))
    }
}
