//! One job with all that happened to it.

use gha_slurm_core::github::client::Reason;
use gha_slurm_core::ledger::{FailureKind, JobRecord, LaunchRecord, Ledger, LostReason};
use gha_slurm_core::lifecycle::place_in_line;
use gha_slurm_core::ports::{Clock, Store, StoreError, Variables};
use gha_slurm_protocol::identity::{ClusterName, JobId, LaunchId};
use serde::Serialize;

use super::seen::Seen;
use super::summary::{JobSummary, SlurmSaid, summaries};

/// One job with its launches and its timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobDetail {
    /// The job in a few fields.
    pub summary: JobSummary,
    /// Its place in the line of its profile, from 1, in the state in_line; null if it is far back.
    pub place: Option<usize>,
    /// The launches that were made for it.
    pub launches: Vec<LaunchDetail>,
    /// What happened, the oldest first.
    pub timeline: Vec<Moment>,
}

impl JobDetail {
    /// The launch that serves the job, or served it; another job's may.
    pub fn serving(&self) -> Option<&LaunchDetail> {
        let serving = self.summary.launch?;
        self.launches.iter().find(|launch| launch.launch == serving)
    }
}

/// A launch. Times are Unix times in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LaunchDetail {
    /// Its id.
    pub launch: LaunchId,
    /// The Slurm cluster that it is for; null where the variable `clusters` names none.
    pub cluster: Option<ClusterName>,
    /// When it was last left for its cluster to fetch.
    pub offered_at: Option<u64>,
    /// The gateway that fetched it last, by its own name.
    pub fetched_by: Option<String>,
    /// When that gateway did.
    pub fetched_at: Option<u64>,
    /// The ID of its Slurm job, if the gateway told it.
    pub slurm_job: Option<String>,
    /// What Slurm said of that last, until its end; null if nobody told.
    pub slurm_said: Option<SlurmSaid>,
    /// How often the gateway did not accept it.
    pub submit_failures: u64,
    /// The last answer, if it was a failure.
    pub submit_failure: Option<String>,
    /// What kind of failure that was.
    #[serde(skip)]
    pub submit_failure_kind: Option<FailureKind>,
    /// How often GitHub gave no credential for it.
    pub redeem_failures: u64,
    /// The last answer, if it was a failure.
    pub redeem_failure: Option<String>,
    /// What kind of failure that was.
    #[serde(skip)]
    pub redeem_failure_kind: Option<FailureKind>,
    /// Why GitHub refused, where it did.
    #[serde(skip)]
    pub redeem_failure_reason: Option<Reason>,
    /// The job that its runner took.
    pub took: Option<JobId>,
    /// Why its job got another launch.
    pub lost: Option<String>,
    /// When its job went to another cluster, because this one was silent or refused it.
    pub moved_at: Option<u64>,
    /// When the gateway accepted it.
    pub submitted_at: Option<u64>,
    /// When its credential was handed out.
    pub redeemed_at: Option<u64>,
    /// When its launch token first came again after that: it was stolen, or an answer was lost.
    pub replayed_at: Option<u64>,
    /// When it was no longer needed.
    pub withdrawn_at: Option<u64>,
    /// When its Slurm job was cancelled.
    pub cancelled_at: Option<u64>,
    /// How its Slurm job ended, when the gateway told: Slurm's state.
    pub ended: Option<String>,
    /// When that became known.
    pub ended_at: Option<u64>,
    /// Why the check on its node refused the job that its runner took.
    pub refused_at_node: Option<String>,
    /// When it did.
    pub refused_at_node_at: Option<u64>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Moment {
    /// When, as a Unix time in seconds.
    pub at: u64,
    /// What.
    pub event: Event,
    /// The launch that it happened to.
    pub launch: Option<LaunchId>,
    /// Details, for people.
    pub detail: Option<String>,
}

/// What can happen to a job or its launches, in the order in which events of the same second are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Event {
    /// GitHub created the job.
    Created,
    /// The queued webhook was received.
    Requested,
    /// GitHub confirmed that an old job is still queued.
    Confirmed,
    /// The gateway did not accept the launch; the last time.
    SubmitFailed,
    /// The launch was left for a gateway of its cluster to fetch; the last time.
    Offered,
    /// A gateway of its cluster fetched it; the last time.
    Fetched,
    /// The gateway accepted the launch.
    Submitted,
    /// GitHub gave no credential; the last time.
    RedeemFailed,
    /// The rules of its profile do not allow its run.
    Denied,
    /// The credential was handed out.
    Redeemed,
    /// Its launch token came again afterwards: it was stolen, or an answer was lost.
    Replayed,
    /// The launch's cluster was silent or refused it, so the job went to another one.
    Moved,
    /// The launch can no longer serve the job.
    Lost,
    /// A runner took the job.
    Started,
    /// The check on the launch's node refused the job that its runner took.
    RefusedAtNode,
    /// The job ended.
    Finished,
    /// The launch was no longer needed.
    Withdrawn,
    /// The launch's Slurm job was cancelled.
    Cancelled,
    /// The launch's Slurm job is over.
    Ended,
}

/// All that is known of a job; `None` when nothing is (any more).
pub fn job<P: Store + Clock + Variables>(platform: &P, job: JobId) -> Result<Option<JobDetail>, StoreError> {
    let Some(record) = Ledger(platform).records(&[job])?.pop().transpose()? else { return Ok(None) };
    let view = &record.view;
    if view.requested.is_none() && view.started.is_none() && view.finished.is_none() {
        return Ok(None);
    }
    let mut seen = Seen::by(platform);
    let summed_up = summaries(platform, std::slice::from_ref(&record), &mut seen)?.pop();
    let Some(summary) = summed_up else { return Ok(None) };
    let place = match (&view.requested, summary.state, record.launches.last()) {
        (Some(requested), super::State::InLine, Some(own)) => place_in_line(platform, requested, own.id)?,
        _ => None,
    };
    let placed = |of: &JobRecord, launch: &LaunchRecord| Placed {
        cluster: seen.cluster_of(of, launch),
        next: next_of(of, launch).and_then(|next| seen.cluster_of(of, next)),
        record: launch.clone(),
    };
    let mut launches: Vec<Placed> = record.launches.iter().map(|launch| placed(&record, launch)).collect();
    // Another job's launch may serve it.
    if let Some(other) = summary.launch.filter(|launch| launch.job != job)
        && let Some(Ok(stranger)) = Ledger(platform).records(&[other.job])?.pop()
    {
        launches.extend(stranger.launches.iter().filter(|launch| launch.id == other).map(|own| placed(&stranger, own)));
    }
    let shown = |launch: &&Placed| launch.record.ticket.is_some() || happened(launch).next().is_some();
    Ok(Some(JobDetail {
        timeline: timeline(&record, &launches),
        launches: launches.iter().filter(shown).map(LaunchDetail::from).collect(),
        summary,
        place,
    }))
}

/// A launch and its cluster, where clusters have names.
struct Placed {
    record: LaunchRecord,
    cluster: Option<ClusterName>,
    /// The cluster of its job's next launch.
    next: Option<ClusterName>,
}

fn next_of<'r>(of: &'r JobRecord, launch: &LaunchRecord) -> Option<&'r LaunchRecord> {
    of.launches.iter().find(|next| next.id.number == launch.id.number + 1)
}

fn is_moved(record: &LaunchRecord) -> bool {
    record.lost.as_ref().is_some_and(|lost| lost.reason == LostReason::Moved)
}

impl From<&Placed> for LaunchDetail {
    fn from(Placed { record, cluster, .. }: &Placed) -> Self {
        Self {
            launch: record.id,
            cluster: cluster.clone(),
            offered_at: record.offered.as_ref().map(|offered| offered.at),
            fetched_by: record.leased.as_ref().map(|leased| leased.gateway.clone()),
            fetched_at: record.leased.as_ref().map(|leased| leased.at),
            slurm_said: record.told.as_ref().filter(|_| record.ended.is_none()).map(SlurmSaid::from),
            moved_at: record.lost.as_ref().filter(|_| is_moved(record)).map(|lost| lost.at),
            slurm_job: record.launched.as_ref().and_then(|launched| launched.slurm_job.clone()),
            submit_failures: record.submissions.failures,
            submit_failure_kind: record.submissions.last.as_ref().map(|failure| failure.kind),
            submit_failure: record.submissions.last.as_ref().map(|failure| failure.why.clone()),
            redeem_failures: record.redemptions.failures,
            redeem_failure_kind: record.redemptions.last.as_ref().map(|failure| failure.kind),
            redeem_failure_reason: record.redemptions.last.as_ref().and_then(|failure| failure.reason),
            redeem_failure: record.redemptions.last.as_ref().map(|failure| failure.why.clone()),
            took: record.took,
            lost: record.lost.as_ref().map(|lost| lost.reason.to_string()),
            submitted_at: record.launched.as_ref().map(|launched| launched.at),
            redeemed_at: record.redeemed,
            replayed_at: record.replayed,
            withdrawn_at: record.withdrawn,
            cancelled_at: record.cancelled,
            ended: record.ended.as_ref().map(|ended| ended.how.to_string()),
            ended_at: record.ended.as_ref().map(|ended| ended.at),
            refused_at_node: record.refused.as_ref().map(|refused| {
                let of = refused.repository.some().map(|name| format!(" (a job of {name})")).unwrap_or_default();
                format!("{}{of}", refused.reason.some().unwrap_or("no reason was told"))
            }),
            refused_at_node_at: record.refused.as_ref().map(|refused| refused.at),
        }
    }
}

fn timeline(record: &JobRecord, launches: &[Placed]) -> Vec<Moment> {
    let of_job = |at, event, detail| Some(Moment { at, event, launch: None, detail });
    let view = &record.view;
    let mut moments: Vec<Moment> = Vec::new();
    if let Some(requested) = &view.requested {
        moments.extend(of_job(requested.created_at, Event::Created, None));
        let detail = format!("profile {}, labels {}", requested.profile, requested.labels);
        moments.extend(of_job(requested.at, Event::Requested, Some(detail)));
    }
    moments.extend(record.confirmed.and_then(|at| of_job(at, Event::Confirmed, None)));
    if let Some(started) = &view.started {
        let detail = started.runner_name.as_ref().map(|name| format!("runner {name}"));
        moments.extend(of_job(started.at, Event::Started, detail));
    }
    if let Some(denied) = &view.denied {
        moments.extend(of_job(denied.at, Event::Denied, Some(denied.denial.to_string())));
    }
    if let Some(finished) = &view.finished {
        moments.extend(of_job(finished.at, Event::Finished, finished.conclusion.clone()));
    }
    moments.extend(launches.iter().flat_map(happened));
    moments.sort_by_key(|moment| (moment.at, moment.event));
    moments
}

fn happened(placed: &Placed) -> impl Iterator<Item = Moment> + '_ {
    let launch = &placed.record;
    let moment = |at, event, detail| Moment { at, event, launch: Some(launch.id), detail };
    let failure = |tries: &gha_slurm_core::ledger::Tries, event| {
        tries.last.as_ref().map(|last| {
            let detail = match last.attempt {
                1 => last.why.clone(),
                attempt => format!("{} (attempt {attempt})", last.why),
            };
            moment(last.at, event, Some(detail))
        })
    };
    let submitted = launch.launched.as_ref().map(|launched| {
        let detail = launched.slurm_job.as_ref().map(|id| format!("Slurm job {id}"));
        moment(launched.at, Event::Submitted, detail)
    });
    let of_cluster = || placed.cluster.as_ref().map(|cluster| format!("cluster {cluster}"));
    let lost = launch.lost.as_ref().map(|lost| match (&placed.cluster, &placed.next) {
        (Some(from), Some(to)) if is_moved(launch) => {
            moment(lost.at, Event::Moved, Some(format!("from {from}, which was silent or refused it, to {to}")))
        }
        _ => moment(lost.at, Event::Lost, Some(lost.reason.to_string())),
    });
    [
        launch.offered.as_ref().map(|offered| moment(offered.at, Event::Offered, of_cluster())),
        launch
            .leased
            .as_ref()
            .map(|leased| moment(leased.at, Event::Fetched, Some(format!("gateway {}", leased.gateway)))),
        failure(&launch.submissions, Event::SubmitFailed),
        submitted,
        failure(&launch.redemptions, Event::RedeemFailed),
        launch.redeemed.map(|at| moment(at, Event::Redeemed, None)),
        launch.replayed.map(|at| moment(at, Event::Replayed, None)),
        lost,
        launch
            .refused
            .as_ref()
            .map(|refused| moment(refused.at, Event::RefusedAtNode, refused.reason.some().map(str::to_owned))),
        launch.withdrawn.map(|at| moment(at, Event::Withdrawn, None)),
        launch.cancelled.map(|at| moment(at, Event::Cancelled, None)),
        launch.ended.as_ref().map(|ended| moment(ended.at, Event::Ended, Some(ended.how.to_string()))),
    ]
    .into_iter()
    .flatten()
}
