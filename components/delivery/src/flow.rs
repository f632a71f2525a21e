//! What follows from a delivery: the one flow that all of them take.
//!
//! A *queued* job of ours is written down before anything is tried, so that a verdict means that it is not lost; then its
//! launch is submitted. *in_progress* and *completed* are facts that close it, also when they come first, and what follows
//! from them is done at once.

use std::time::Duration;

use gha_slurm_core::cluster::NoCluster;
use gha_slurm_core::counters::{Counter, WebhookOutcome};
use gha_slurm_core::github::credentials::forget;
use gha_slurm_core::identity::{DeliveryId, RepositoryId};
use gha_slurm_core::ledger::{Ledger, Requested};
use gha_slurm_core::lifecycle::{
    Destination, WrittenDown, begin, hold, ours, release, retry_overdue, settle, start_waiting, write_down,
};
use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_core::profile::{Match, NotOurs, Starter, Wanted};
use gha_slurm_core::settings::{SettingError, Settings};
use gha_slurm_protocol::identity::{ClusterName, JobId};
use thiserror::Error;

use crate::events::{Action, BadPage, MalformedPayload, Sender, WORKFLOW_JOB, WorkflowJobEvent, check_json};
use crate::removals;
use crate::verdict::{Decision, Verdict};

/// A delivery whose sender is known to be GitHub.
#[derive(Debug, Clone)]
pub struct Delivery<'a> {
    /// The event, as in `X-GitHub-Event`.
    pub event: &'a str,
    /// Its id, the same for all attempts; `None` if it is malformed.
    pub id: Option<DeliveryId>,
    /// The payload, as JSON.
    pub body: &'a [u8],
}

/// Why a delivery was not dealt with.
#[derive(Debug, Error)]
pub enum Unhandled {
    /// It is not what GitHub sends, and never will be.
    #[error(transparent)]
    Malformed(#[from] MalformedPayload),
    /// A setting is wrong: it may be handled once that is corrected.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The profile of its job is wrong: this one may be handled once that is corrected, and others at once.
    #[error(transparent)]
    Profile(SettingError),
    /// The store failed: it may be handled another time.
    #[error(transparent)]
    Store(#[from] StoreError),
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
            Self::Malformed(_) => WebhookOutcome::Malformed,
            Self::Setting(_) | Self::Profile(_) | Self::Store(_) => WebhookOutcome::Failed,
        }
    }
}

/// Does what follows from a delivery; all calls of the gateway end within `budget`. Once there is a verdict, nothing of
/// the delivery is lost. It may be handled any number of times.
pub fn handle<P: Platform>(platform: &P, delivery: Delivery<'_>, budget: Duration) -> Result<Verdict, Unhandled> {
    let handled = Flow { platform, budget }.follow_event(delivery);
    let outcome = match &handled {
        Ok(verdict) => verdict.decision.outcome(),
        Err(unhandled) => Some(unhandled.outcome()),
    };
    if let Some(outcome) = outcome {
        Counter::Webhook(outcome).sample(platform);
    }
    handled
}

/// Whether anything can follow from a delivery, by what GitHub's list says of it: then it is worth a call to read it. An
/// action that the list does not tell may be any.
pub fn matters(event: &str, action: Option<&str>) -> bool {
    match event {
        WORKFLOW_JOB => action.is_none_or(|action| ["queued", "waiting", "in_progress", "completed"].contains(&action)),
        event => removals::may_remove(event, action),
    }
}

struct Flow<'a, P> {
    platform: &'a P,
    /// For all calls of the gateway together.
    budget: Duration,
}

impl<P: Platform> Flow<'_, P> {
    fn follow_event(&self, Delivery { event, id, body }: Delivery<'_>) -> Result<Verdict, Unhandled> {
        if let Some(removed) = removals::removed(event, body) {
            return self.removed(&removed?);
        }
        if event != WORKFLOW_JOB {
            check_json(body)?;
            return Ok(Decision::Ignored.because("only workflow_job events matter here"));
        }
        self.ours(&WorkflowJobEvent::parse(body)?, id)
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
        let destination = Destination::read(self.platform, self.budget)?;
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
            (None, Some(found)) => {
                let placed = found.placement.order(self.platform, &destination.clusters, job.id, &found.resources);
                match placed {
                    Ok(clusters) => self.request(event, delivery.clone(), found, clusters)?,
                    Err(NoCluster::Store(error)) => return Err(error.into()),
                    Err(error @ NoCluster::TooMuch(_)) => return ignored(&error.to_string()),
                    Err(error @ NoCluster::Unknown(_)) => {
                        return Err(Unhandled::Profile(SettingError::new("profiles", error.to_string())));
                    }
                }
            }
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
        clusters: Vec<ClusterName>,
    ) -> Result<Requested, Unhandled> {
        let job = &event.workflow_job;
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

#[cfg(test)]
mod tests {
    use gha_slurm_core::ports::SendError;
    use gha_slurm_core::testing::Memory;
    use serde_json::{Value, json};

    use super::*;

    fn event(action: &str, job: u64) -> Value {
        json!({
            "action": action,
            "workflow_job": {"id": job, "run_id": job, "labels": ["self-hosted", "slurm"]},
            "repository": {"id": 7, "full_name": "o/r", "html_url": "https://github.com/o/r", "private": true},
            "installation": {"id": 9},
            "sender": {"login": "octocat", "id": 2},
        })
    }

    fn given(platform: &Memory, event: &str, body: &Value) -> Result<Verdict, Unhandled> {
        let id = DeliveryId::try_from("guid".to_owned()).ok();
        let body = body.to_string().into_bytes();
        handle(platform, Delivery { event, id, body: &body }, Duration::from_secs(7))
    }

    fn platform() -> Memory {
        let platform = Memory::configured();
        platform.serve(|_, _| Err(SendError::Broken("the gateway is away".to_owned())));
        platform
    }

    #[test]
    fn a_queued_job_is_kept_before_its_launch_is_tried_and_the_same_delivery_changes_nothing() {
        let platform = platform();
        let verdict = given(&platform, WORKFLOW_JOB, &event("queued", 1)).unwrap();
        assert_eq!((verdict.decision, verdict.job), (Decision::Deferred, Some(JobId(1))));
        assert!(verdict.worries, "the gateway is away");
        let requested = Ledger(&platform).job(JobId(1)).requested().unwrap();
        given(&platform, WORKFLOW_JOB, &event("queued", 1)).unwrap();
        assert_eq!(Ledger(&platform).job(JobId(1)).requested().unwrap(), requested);
    }

    #[test]
    fn what_cannot_be_handled_says_whether_it_ever_can() {
        let platform = platform();
        assert!(matches!(given(&platform, WORKFLOW_JOB, &json!({})), Err(Unhandled::Malformed(_))));
        assert!(matches!(given(&platform, "push", &json!({})), Ok(Verdict { decision: Decision::Ignored, .. })));
        platform.set_variable("profiles", Some("[[profile]]"));
        assert!(matches!(given(&platform, WORKFLOW_JOB, &event("queued", 1)), Err(Unhandled::Setting(_))));
        let elsewhere =
            "[[profile]]\nname = \"elsewhere\"\nlabels = [\"self-hosted\", \"slurm\"]\nclusters = [\"gone\"]";
        platform.set_variable("profiles", Some(elsewhere));
        assert!(matches!(given(&platform, WORKFLOW_JOB, &event("queued", 1)), Err(Unhandled::Profile(_))));
        platform.set_variable("profiles", None);
        platform.lives.set(Some(0));
        assert!(matches!(given(&platform, WORKFLOW_JOB, &event("queued", 1)), Err(Unhandled::Store(_))));
    }

    #[test]
    fn a_list_says_what_is_worth_reading() {
        for (event, action, worth) in [
            (WORKFLOW_JOB, Some("queued"), true),
            (WORKFLOW_JOB, Some("completed"), true),
            (WORKFLOW_JOB, Some("paused"), false),
            (WORKFLOW_JOB, None, true),
            ("installation", Some("deleted"), true),
            ("installation", Some("created"), false),
            ("installation_repositories", Some("removed"), true),
            ("installation_repositories", Some("added"), false),
            ("push", None, false),
        ] {
            assert_eq!(matters(event, action), worth, "{event} {action:?}");
        }
    }

    #[test]
    fn what_is_not_worth_reading_leads_to_nothing() {
        for action in ["paused", "created", "added"] {
            for event_name in ["installation", "installation_repositories", WORKFLOW_JOB] {
                assert!(!matters(event_name, Some(action)));
                let verdict = given(&platform(), event_name, &event(action, 1)).unwrap();
                assert_eq!(verdict.decision, Decision::Ignored, "{event_name} {action}");
            }
        }
    }
}
