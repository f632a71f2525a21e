//! Webhook received: `POST /api/github/webhooks`.
//!
//! Signature first, over the raw body; nothing is parsed before it. A *queued* job of ours is written down before
//! anything is tried, so that a 2xx means that it is not lost; then one launch is submitted. *in_progress* and
//! *completed* are facts that close it, also when they come first. GitHub counts a delivery as failed after 10 s and
//! never repeats it, so the one outbound call has 7.

use std::time::Duration;

use serde_json::json;
use url::Url;

use crate::answer::Answer;
use crate::gateway::{StartRunner, start_runner};
use crate::github::events::{Action, MalformedPayload, WorkflowJobEvent, check_json};
use crate::identity::{JobId, LaunchId};
use crate::launch_token::{Launch, LaunchTokens, TokenError};
use crate::ledger::{Claim, Ledger, Requested};
use crate::ports::Platform;
use crate::request::Request;
use crate::settings::{GatewaySettings, Settings};
use crate::signature;

const EVENT: &str = "x-github-event";
const SIGNATURE: &str = "x-hub-signature-256";
const DELIVERY: &str = "x-github-delivery";

/// GitHub caps payloads at 25 MB.
pub const MAX_BODY_BYTES: usize = 25_000_000;

const GATEWAY_DEADLINE: Duration = Duration::from_secs(7);
/// Well past the gateway's deadline: an attempt that is older died.
const SUBMISSION_LEASE: Duration = Duration::from_secs(60);

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
    Receiver { platform }.authentic(request).unwrap_or_else(|answer| *answer)
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

impl From<TokenError> for Answer {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Store(error) => error.into(),
            TokenError::Refused(detail) => Self::error(500, "the launch token cannot be signed").with_detail(detail),
        }
    }
}

struct Receiver<'a, P> {
    platform: &'a P,
}

/// Where a launch goes and what its token is for; settled before anything is written.
struct Destination {
    gateway: GatewaySettings,
    redeem: Url,
}

impl<P: Platform> Receiver<'_, P> {
    fn authentic(&self, request: &Request) -> Result<Answer, Early> {
        let secret = Settings(self.platform).webhook_secret().map_err(early)?;
        signature::verify(&secret, &request.body, request.header(SIGNATURE).unwrap_or_default())
            .map_err(|error| Box::new(Answer::error(401, error.to_string())))?;
        check_json(&request.body).map_err(early)?;
        let event = request.header(EVENT).unwrap_or_default();
        if event != "workflow_job" {
            return Ok(Decision::Ignored.because("only workflow_job events matter here", None, None));
        }
        let event = WorkflowJobEvent::parse(&request.body).map_err(early)?;
        self.ours(&event)
    }

    fn ours(&self, event: &WorkflowJobEvent) -> Result<Answer, Early> {
        let job = &event.workflow_job;
        let profiles = Settings(self.platform).profiles().map_err(early)?;
        let found = match profiles.find(&job.labels, &event.repository.full_name) {
            Ok(found) => found,
            Err(not_ours) => return Ok(Decision::Ignored.because(&not_ours.to_string(), Some(job.id), None)),
        };
        let facts = Ledger(self.platform).job(job.id);
        match &event.action {
            Action::Queued => {
                let requested = Requested {
                    repository_id: event.repository.id,
                    repository: event.repository.full_name.clone(),
                    html_url: event.repository.page().map_err(early)?,
                    installation: event.installation.map(|installation| installation.id),
                    labels: job.labels.clone(),
                    run_attempt: job.run_attempt,
                    profile: found.profile,
                    resources: found.resources,
                    at: self.platform.unix_seconds(),
                };
                self.queued(job.id, &requested)
            }
            Action::InProgress => {
                facts.record_started(job.runner_name.clone()).map_err(early)?;
                Ok(Decision::Recorded.because("a runner took the job", Some(job.id), None))
            }
            Action::Completed => {
                facts.record_finished(job.conclusion.clone()).map_err(early)?;
                Ok(Decision::Recorded.because("the job came to its end", Some(job.id), None))
            }
            Action::Waiting => {
                let why = "the job waits for an approval and is queued again after it";
                Ok(Decision::Ignored.because(why, Some(job.id), None))
            }
            Action::Other(_) => Ok(Decision::Ignored.because("this action starts and ends no job", Some(job.id), None)),
        }
    }

    fn queued(&self, job: JobId, requested: &Requested) -> Result<Answer, Early> {
        let settings = Settings(self.platform);
        let destination =
            Destination { gateway: settings.gateway().map_err(early)?, redeem: settings.redeem_url().map_err(early)? };
        let facts = Ledger(self.platform).job(job);
        if facts.finished().map_err(early)?.is_some() {
            return Ok(Decision::Ignored.because("the job came to its end before", Some(job), None));
        }
        if facts.started().map_err(early)?.is_some() {
            return Ok(Decision::Ignored.because("a runner took the job before", Some(job), None));
        }
        if facts.requested().map_err(early)?.is_none() {
            facts.record_requested(requested).map_err(early)?;
        }
        self.launch(LaunchId { job, number: 1 }, requested, &destination)
    }

    /// Submits the launch, unless that was done or is under way.
    fn launch(&self, id: LaunchId, requested: &Requested, destination: &Destination) -> Result<Answer, Early> {
        let facts = Ledger(self.platform).launch(id);
        let duplicate = |why| Ok(Decision::Duplicate.because(why, Some(id.job), Some(id)));
        if facts.launched().map_err(early)?.is_some() {
            return duplicate("the job was launched before");
        }
        let Claim::Won(attempt) = facts.submissions().claim(SUBMISSION_LEASE).map_err(early)? else {
            return duplicate("the job is being launched");
        };
        // Who looked before the last attempt ended and claims after it comes too late.
        if facts.launched().map_err(early)?.is_some() {
            return duplicate("the job was launched before");
        }
        let launch = Launch {
            repository_id: requested.repository_id,
            repository: requested.repository.clone(),
            installation: requested.installation,
            labels: requested.labels.clone(),
            run_attempt: requested.run_attempt,
            profile: requested.profile.clone(),
        };
        let redeem = &destination.redeem;
        let token = LaunchTokens::new(self.platform, redeem.as_str()).issue(id, launch).map_err(early)?;
        let (labels, profile) = (&requested.labels, &requested.profile);
        let start = StartRunner::new(id, token, redeem, &requested.html_url, labels, profile, &requested.resources);
        match start_runner(self.platform, &destination.gateway, &start, GATEWAY_DEADLINE) {
            Ok(slurm_job) => {
                // The Slurm job exists. An error now would invite a second one, so it is only told to the log.
                let recorded = facts.record_launched(slurm_job);
                let why = format!("profile {profile}");
                let answer = Decision::Launched.because(&why, Some(id.job), Some(id));
                Ok(match recorded {
                    Ok(()) => answer,
                    Err(error) => answer.with_detail(error.to_string()),
                })
            }
            Err(error) => {
                let why = error.to_string();
                facts.submissions().record_failed(attempt, &why).map_err(early)?;
                Ok(Decision::Deferred.because(&why, Some(id.job), Some(id)))
            }
        }
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
