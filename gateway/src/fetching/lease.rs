//! One launch under its lease, from the app's answer to its report.
//!
//! What counts is what is surely known. A launch is reported as submitted when Slurm has it, as refused when Slurm or the
//! configuration said no, as unavailable only when it surely is not in Slurm. As long as that is not known, Slurm is asked
//! by the Slurm job's name, and nothing is reported: the app offers it again when the lease is over, and whoever gets it
//! looks first.

use std::time::Duration;

use gha_slurm_protocol::exchange::{News, Report};
use gha_slurm_protocol::identity::LaunchId;
use tokio::time::Instant;

use super::Shared;
use crate::audit::{self, Event, Record, Subject};
use crate::backend::BackendError;
use crate::http::status_of;
use crate::launch::Launch;
use crate::service::{ServiceError, Started};

/// So much before its end nothing is begun under a lease any more.
const MARGIN: Duration = Duration::from_secs(60);
/// What is submitted by then, or not known.
const ATTEMPT: Duration = Duration::from_secs(55);
/// No lease is believed to last for longer.
const LONGEST: Duration = Duration::from_secs(3600);
/// In Slurm's or the configuration's words.
const MAX_WORDS: usize = 500;

/// A launch to submit.
pub(super) struct Lease {
    id: LaunchId,
    launch: Launch,
    /// Nothing is begun later.
    begin_by: Instant,
    /// From then on it may be another gateway's.
    ends: Instant,
    /// Another gateway may have submitted it.
    again: bool,
}

impl Lease {
    /// A lease of so many seconds that was given in an exchange begun at that time. The app counts from its answer on,
    /// which was later.
    pub(super) fn new(id: LaunchId, launch: Launch, (asked, seconds): (Instant, u64), again: bool) -> Self {
        let (begin_by, ends) = times(asked, seconds);
        Self { id, launch, begin_by, ends, again }
    }
}

fn times(asked: Instant, seconds: u64) -> (Instant, Instant) {
    let lasts = Duration::from_secs(seconds).min(LONGEST);
    (asked + lasts.saturating_sub(MARGIN), asked + lasts)
}

/// What became of a launch.
enum Outcome {
    Submitted(Started),
    Refused(ServiceError),
    /// It surely was not submitted.
    Unavailable(String),
    Cancelled,
    /// Slurm may have it, and cannot be asked.
    Unknown,
}

/// What an attempt came to.
enum Attempt {
    Done(Outcome),
    /// It may have been submitted, or surely was not, and another attempt may do it.
    Again(String),
}

impl Shared {
    /// Submits a launch and reports what became of it.
    pub(super) async fn carry_out(&self, lease: Lease) {
        let mut lease = lease;
        let outcome = self.submit(&mut lease).await;
        self.write_down(&lease.launch, &outcome);
        let news = match outcome {
            Outcome::Submitted(started) => News::Submitted { job_id: started.job.to_string() },
            Outcome::Refused(error) => News::Refused { message: words(&error.to_string()) },
            Outcome::Unavailable(why) => News::Unavailable { message: words(&why) },
            Outcome::Cancelled => News::Cancelled,
            Outcome::Unknown => return self.leave_it(&lease).await,
        };
        // Once it may be another gateway's, it is not for this one to say that it was not submitted.
        let good_until = matches!(news, News::Unavailable { .. }).then_some(lease.ends);
        self.report(Report { launch: lease.id, news }, good_until).await;
    }

    /// What is in Slurm or not is found out later by the watch, if this gateway tried to submit it at all.
    async fn leave_it(&self, lease: &Lease) {
        let key = lease.launch.key.to_string();
        let index = self.service.index();
        if matches!(index.is_unsettled(&key).await, Ok(false))
            && let Err(error) = index.give_up(&key).await
        {
            tracing::error!(%error, launch = key, "the launch index failed");
        }
    }

    async fn submit(&self, lease: &mut Lease) -> Outcome {
        let mut closing = self.closing.subscribe();
        let place = tokio::select! {
            biased;
            () = self.closed(&mut closing) => return self.not_tried(lease, "the gateway ends").await,
            () = tokio::time::sleep_until(lease.begin_by) => {
                return self.not_tried(lease, "the gateway was too busy while it had the launch").await;
            }
            place = self.places.acquire() => place,
        };
        let mut pause = self.timing.attempt_again;
        let mut last = "the lease is too short".to_owned();
        while Instant::now() < lease.begin_by {
            match self.attempt(lease).await {
                Attempt::Done(outcome) => return outcome,
                Attempt::Again(why) => last = why,
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.closed(&mut closing) => break,
            }
            pause = (pause * 2).min(self.timing.longest_attempt_again);
        }
        drop(place);
        if lease.again {
            return Outcome::Unknown;
        }
        match tokio::time::timeout_at(lease.ends, self.service.look_for(&lease.launch.key)).await {
            Ok(Ok(Some(job))) => Outcome::Submitted(Started { job, known: true }),
            Ok(Ok(None)) => Outcome::Unavailable(last),
            Ok(Err(_)) | Err(_) => Outcome::Unknown,
        }
    }

    async fn attempt(&self, lease: &mut Lease) -> Attempt {
        match tokio::time::timeout(ATTEMPT, self.start(lease)).await {
            Ok(Ok(started)) => Attempt::Done(Outcome::Submitted(started)),
            Err(_) => Attempt::Again(format!("not within {} s", ATTEMPT.as_secs())),
            Ok(Err(error)) => match error {
                ServiceError::Cancelled => Attempt::Done(Outcome::Cancelled),
                ServiceError::UnknownRepository(_)
                | ServiceError::Rejected(_)
                | ServiceError::ForbiddenUser { .. }
                | ServiceError::Slurm(BackendError::Refused(_) | BackendError::NoUser(_)) => {
                    Attempt::Done(Outcome::Refused(error))
                }
                ServiceError::PeopleUnknown(_)
                | ServiceError::Slurm(BackendError::Later(_) | BackendError::Outage(_))
                | ServiceError::NotFound
                | ServiceError::Index(_) => match self.may_be_in_slurm(lease).await {
                    true => Attempt::Again(error.to_string()),
                    false => Attempt::Done(Outcome::Unavailable(error.to_string())),
                },
            },
        }
    }

    async fn start(&self, lease: &mut Lease) -> Result<Started, ServiceError> {
        // What is known here needs neither the configuration nor Slurm: it may have changed since.
        let entry = self.service.index().get(&lease.launch.key.to_string()).await?;
        if let Some(job) = entry.filter(|entry| !entry.cancelled).and_then(|entry| entry.job) {
            return Ok(Started { job, known: true });
        }
        if lease.again {
            if let Some(job) = self.service.look_first(&lease.launch).await? {
                return Ok(Started { job, known: true });
            }
            lease.again = false;
        }
        self.service.start(&lease.launch).await
    }

    async fn not_tried(&self, lease: &Lease, why: &str) -> Outcome {
        match self.may_be_in_slurm(lease).await {
            true => Outcome::Unknown,
            false => Outcome::Unavailable(why.to_owned()),
        }
    }

    async fn may_be_in_slurm(&self, lease: &Lease) -> bool {
        lease.again || self.service.index().is_unsettled(&lease.launch.key.to_string()).await.unwrap_or(true)
    }

    /// As over HTTP.
    fn write_down(&self, launch: &Launch, outcome: &Outcome) {
        use audit::Outcome as Audited;
        let unavailable = |words: &str| (Audited::Unavailable, 503, Some(words.to_owned()));
        let mut slurm_job = None;
        let (outcome, status, reason) = match outcome {
            Outcome::Submitted(Started { job, known }) => {
                slurm_job = Some(*job);
                (if *known { Audited::Known } else { Audited::Submitted }, 200, None)
            }
            Outcome::Refused(error) => (Audited::Refused, status_of(error).as_u16(), Some(words(&error.to_string()))),
            Outcome::Cancelled => (Audited::Refused, 410, Some(ServiceError::Cancelled.to_string())),
            Outcome::Unavailable(why) => unavailable(why),
            Outcome::Unknown => unavailable("Slurm may have it and cannot be asked"),
        };
        let subject = Subject {
            slurm_job,
            cluster: Some(self.cluster.clone()),
            ..Subject::of(launch, self.service.user_of(launch))
        };
        let reason = reason.as_deref();
        self.service.audit().write(&Record {
            event: Event::Launch,
            outcome,
            status,
            address: None,
            subject: &subject,
            reason,
        });
    }

    /// Refuses what is no launch request.
    pub(super) async fn refuse(&self, launch: LaunchId, why: &str) {
        let subject =
            Subject { launch: Some(launch.to_string()), cluster: Some(self.cluster.clone()), ..Subject::default() };
        let message = words(why);
        tracing::warn!(%launch, error = message, "not submitted");
        self.service.audit().write(&Record {
            event: Event::Launch,
            outcome: audit::Outcome::Refused,
            status: 422,
            address: None,
            subject: &subject,
            reason: Some(&message),
        });
        self.report(Report { launch, news: News::Refused { message } }, None).await;
    }

    /// Keeps a report until the app has it, or it is good for nothing any more.
    pub(super) async fn report(&self, report: Report, good_until: Option<Instant>) {
        let launch = report.launch;
        let seconds = good_until.map(|until| until.saturating_duration_since(Instant::now()).as_secs());
        if let Err(error) = self.service.index().report(report, seconds).await {
            // The app asks again, and finds out then.
            tracing::error!(%error, %launch, "a report is lost: the launch index failed");
        }
    }
}

/// As much of a message as a report has.
fn words(text: &str) -> String {
    text.chars().take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_begun_late_in_a_lease() {
        let asked = Instant::now();
        let after = |seconds| asked + Duration::from_secs(seconds);
        assert_eq!(times(asked, 120), (after(60), after(120)));
        for short in [0, 1, 60] {
            assert_eq!(times(asked, short), (asked, after(short)));
        }
        assert_eq!(times(asked, u64::MAX), (after(3540), after(3600)));
    }
}
