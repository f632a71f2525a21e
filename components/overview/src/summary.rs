//! One job in a few fields, as a line of a list shows it.

use std::collections::HashMap;

use gha_slurm_core::cluster::Reach;
use gha_slurm_core::ledger::{FailureKind, JobRecord, LaunchRecord, Ledger, Requested, Told};
use gha_slurm_core::lifecycle::{LEASE_SECONDS, Need};
use gha_slurm_core::ports::{Clock, Store, StoreError};
use gha_slurm_core::text::Text;
use gha_slurm_protocol::identity::{ClusterName, JobId, LaunchId, RepositoryName};
use gha_slurm_protocol::labels::LabelSet;
use serde::{Deserialize, Serialize};

use super::seen::Seen;
use super::{Cap, State, Why};

/// When a job reached each stage, as Unix times in seconds; null if it has not, or if that is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Times {
    /// GitHub created it.
    pub created: Option<u64>,
    /// Its queued webhook was received, or the first later one if there was none.
    pub received: Option<u64>,
    /// The gateway accepted the launch that serves it.
    pub submitted: Option<u64>,
    /// That launch's Slurm job got its credential.
    pub redeemed: Option<u64>,
    /// A runner took the job.
    pub started: Option<u64>,
    /// It ended.
    pub finished: Option<u64>,
}

impl Times {
    /// How long it has been waiting for a runner, or waited for one, in seconds.
    pub fn waited(&self, now: u64) -> Option<u64> {
        Some(self.started.or(self.finished).unwrap_or(now).saturating_sub(self.received?))
    }

    /// How long it has been running, or ran, in seconds.
    pub fn ran(&self, now: u64) -> Option<u64> {
        Some(self.finished.unwrap_or(now).saturating_sub(self.started?))
    }
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobSummary {
    /// Its id.
    pub job: JobId,
    /// Its repository; null without a queued webhook, as are the URL, the profile and the labels.
    pub repository: Option<RepositoryName>,
    /// Its name in its workflow; null if GitHub did not send it, as are the next two.
    pub name: Option<String>,
    /// The workflow's name.
    pub workflow: Option<String>,
    /// The branch that the workflow runs on.
    pub branch: Option<String>,
    /// Its page on GitHub.
    pub url: Option<String>,
    /// Its labels.
    pub labels: Option<LabelSet>,
    /// The profile that serves it.
    pub profile: Option<String>,
    /// The Slurm cluster of the launch that serves it; null where the variable `clusters` names none.
    pub cluster: Option<ClusterName>,
    /// Its state.
    pub state: State,
    /// Since when, as a Unix time in seconds.
    pub since: u64,
    /// Why it is in this state, if there is more to say.
    pub why: Option<Why>,
    /// The launch that serves it or served it.
    pub launch: Option<LaunchId>,
    /// How many launches it had.
    pub launches: u32,
    /// The ID of that launch's Slurm job, if the gateway told it.
    pub slurm_job: Option<String>,
    /// What Slurm said of that Slurm job last, while the job is pending; null if nobody told.
    pub slurm_said: Option<SlurmSaid>,
    /// The name of the runner that took it.
    pub runner: Option<String>,
    /// GitHub's conclusion.
    pub conclusion: Option<String>,
    /// How often the gateway did not accept one of its launches.
    pub submit_failures: u64,
    /// How often GitHub gave no credential for one of its launches.
    pub redeem_failures: u64,
    /// When it reached each stage.
    pub times: Times,
}

/// What Slurm said of a Slurm job, when it was last told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SlurmSaid {
    /// Its state in Slurm's word, such as `PENDING`.
    pub state: String,
    /// Slurm's reason for that, such as `Priority`.
    pub reason: Option<String>,
    /// When Slurm expects to start it, as a Unix time in seconds: an estimate of Slurm's, which changes with what else is
    /// submitted and ends. Null if Slurm has none, or has started it.
    pub starts_at: Option<u64>,
    /// Its place among those that wait for its partition, from 1.
    pub position: Option<u32>,
    /// When this was told, as a Unix time in seconds.
    pub at: u64,
}

impl From<&Told> for SlurmSaid {
    fn from(told: &Told) -> Self {
        Self {
            state: told.state.some().unwrap_or_default().to_owned(),
            reason: told.reason.some().map(str::to_owned),
            starts_at: told.starts_at,
            position: told.position,
            at: told.at,
        }
    }
}

/// Sums up jobs; what GitHub gave to whom, and what keeps many of them, is looked up for all of them at once.
pub(crate) fn summaries<P: Store + Clock>(
    platform: &P,
    records: &[JobRecord],
    seen: &mut Seen,
) -> Result<Vec<JobSummary>, StoreError> {
    let now = platform.unix_seconds();
    let mut serving = Vec::with_capacity(records.len());
    for record in records {
        serving.push(serving_launch(platform, record, now)?);
    }
    let strangers: Vec<JobId> = serving
        .iter()
        .zip(records)
        .filter_map(|(launch, record)| launch.filter(|launch| launch.job != record.job).map(|launch| launch.job))
        .collect();
    let mut others = HashMap::new();
    for record in Ledger(platform).records(&strangers)?.into_iter().flatten() {
        others.insert(record.job, record);
    }
    let sum_up = |(launch, record): (&Option<LaunchId>, &JobRecord)| {
        let serving = launch.and_then(|launch| {
            let of = if launch.job == record.job { record } else { others.get(&launch.job)? };
            let launch = of.launches.iter().find(|one| one.id == launch)?;
            Some(Serving { launch, cluster: seen.cluster_of(of, launch) })
        });
        JobSummary::of(record, serving, seen, now)
    };
    let mut all: Vec<JobSummary> = serving.iter().zip(records).map(sum_up).collect();
    seen.tell(platform, &mut all)?;
    Ok(all)
}

/// The launch that serves a job, or whose runner took it: most often its own.
fn serving_launch<P: Store + Clock>(
    platform: &P,
    record: &JobRecord,
    now: u64,
) -> Result<Option<LaunchId>, StoreError> {
    if let Some(started) = &record.view.started {
        // What its name says was checked when the fact was written; for its own launch the fact is at hand.
        let named = started.runner_name.as_deref().and_then(LaunchId::of_runner);
        return match named.filter(|launch| launch.job == record.job) {
            Some(own) => {
                let took = record.launches.iter().any(|launch| launch.id == own && launch.took == Some(record.job));
                Ok(took.then_some(own))
            }
            None => Need(platform).got(record.job, started),
        };
    }
    let Some(own) = record.launches.last() else { return Ok(None) };
    // GitHub gave its runner to another job of its pool: then that one's may be its.
    match own.took {
        Some(_) if record.view.waiting(now).is_some() => Ok(Need(platform).holder(record.job)?.or(Some(own.id))),
        _ => Ok(Some(own.id)),
    }
}

/// The launch that serves a job, with its cluster where clusters have names.
struct Serving<'a> {
    launch: &'a LaunchRecord,
    cluster: Option<ClusterName>,
}

impl Serving<'_> {
    /// Whether its cluster's gateways fetch launches, and it is among those that they may have.
    fn is_offered(&self, seen: &Seen) -> bool {
        let cluster = self.cluster.as_ref().and_then(|name| seen.cluster(name));
        self.launch.offered.is_some() && cluster.is_some_and(|cluster| matches!(cluster.reach, Reach::Fetch))
    }

    /// Why it is not submitted, as far as its cluster is concerned.
    fn kept(&self, state: State, seen: &Seen, now: u64) -> Option<Why> {
        let cluster = self.cluster.clone()?;
        if state == State::Unsubmitted && seen.cluster(&cluster).is_none() {
            return Some(Why::NoCluster(cluster));
        }
        let offered = self.launch.offered.as_ref().filter(|_| state == State::Offered)?;
        // An earlier lease, before it was offered anew, is over.
        let lease = self.launch.leased.as_ref().filter(|leased| leased.at >= offered.at);
        Some(match lease.filter(|leased| now < leased.at.saturating_add(LEASE_SECONDS)) {
            Some(leased) => Why::Fetched { cluster, gateway: leased.gateway.clone(), at: leased.at },
            None => Why::ToBeFetched(cluster),
        })
    }
}

impl JobSummary {
    fn of(record: &JobRecord, serving: Option<Serving<'_>>, seen: &Seen, now: u64) -> Self {
        let launch = serving.as_ref().map(|serving| serving.launch);
        let view = &record.view;
        let requested = view.requested.as_ref();
        let heard = || {
            let started = view.started.as_ref().map(|started| started.at);
            started.into_iter().chain(view.finished.as_ref().map(|finished| finished.at)).min()
        };
        let times = Times {
            created: requested.map(|requested| requested.created_at),
            received: requested.map(|requested| requested.at).or_else(heard),
            submitted: launch.and_then(|launch| launch.launched.as_ref()).map(|launched| launched.at),
            redeemed: launch.and_then(|launch| launch.redeemed),
            started: view.started.as_ref().map(|started| started.at),
            finished: view.finished.as_ref().map(|finished| finished.at),
        };
        let state = state_of(record, serving.as_ref(), seen, now);
        let last = record.launches.last();
        let since = match state {
            State::Unconfirmed | State::InLine | State::Unsubmitted | State::Refused => {
                // A second launch waits since the first was lost, and a job that was held since it was released.
                let lost = record.launches.iter().rev().nth(1).and_then(|launch| launch.lost.as_ref());
                lost.map(|lost| lost.at).max(view.released).or(times.received)
            }
            State::Offered => launch.and_then(|launch| launch.offered.as_ref()).map(|offered| offered.at),
            State::Held => view.held.as_ref().map(|held| held.at),
            State::Denied => view.denied.as_ref().map(|denied| denied.at),
            State::Pending => times.submitted,
            State::Starting => times.redeemed,
            State::GivenUp => last.and_then(|launch| launch.lost.as_ref()).map(|lost| lost.at),
            State::Running => times.started,
            State::Finished => times.finished,
            State::Expired => view.given_up_at(),
        };
        let named = |of: fn(&Requested) -> &Text| of(requested?).some().map(str::to_owned);
        let launched = record.launches.iter().filter(|launch| launch.launched.is_some()).count();
        Self {
            job: record.job,
            repository: requested.map(|requested| requested.repository.clone()),
            name: named(|requested| &requested.name),
            workflow: named(|requested| &requested.workflow),
            branch: named(|requested| &requested.branch),
            url: requested
                .map(|requested| format!("{}/runs/{}", requested.html_url.as_str().trim_end_matches('/'), record.job)),
            labels: requested.map(|requested| requested.labels.clone()),
            profile: requested.map(|requested| requested.profile.clone()),
            cluster: serving.as_ref().and_then(|serving| serving.cluster.clone()),
            state,
            since: since.or(times.received).unwrap_or(0),
            why: serving
                .as_ref()
                .and_then(|serving| serving.kept(state, seen, now))
                .or_else(|| why(record, launch, state)),
            launch: launch.map(|launch| launch.id),
            launches: u32::try_from(launched).unwrap_or(u32::MAX),
            slurm_job: launch.and_then(|launch| launch.launched.as_ref()?.slurm_job.clone()),
            slurm_said: launch
                .filter(|_| state == State::Pending)
                .and_then(|launch| Some(launch.told.as_ref()?.into())),
            runner: view.started.as_ref().and_then(|started| started.runner_name.clone()),
            conclusion: view.finished.as_ref().and_then(|finished| finished.conclusion.clone()),
            submit_failures: record.launches.iter().map(|launch| launch.submissions.failures).sum(),
            redeem_failures: record.launches.iter().map(|launch| launch.redemptions.failures).sum(),
            times,
        }
    }
}

fn state_of(record: &JobRecord, serving: Option<&Serving<'_>>, seen: &Seen, now: u64) -> State {
    let launch = serving.map(|serving| serving.launch);
    let view = &record.view;
    if view.finished.is_some() {
        return State::Finished;
    }
    let (None, Some(requested)) = (&view.started, &view.requested) else { return State::Running };
    if view.denied.is_some() {
        return State::Denied;
    }
    if view.is_held() {
        return State::Held;
    }
    if view.expired(now) {
        return State::Expired;
    }
    if record.launches.last().is_some_and(|launch| launch.lost.is_some()) {
        return State::GivenUp;
    }
    match launch {
        Some(launch) if launch.redeemed.is_some() => State::Starting,
        Some(launch) if launch.launched.is_some() => State::Pending,
        _ if requested.needs_confirmation() && record.confirmed.is_none() => State::Unconfirmed,
        _ if serving.is_some_and(|serving| serving.is_offered(seen)) => State::Offered,
        Some(launch) if launch.submissions.last.as_ref().is_some_and(|last| last.kind == FailureKind::Refused) => {
            State::Refused
        }
        // It draws its ticket before it is tried: one without a failure is in line, or on its way this moment.
        Some(launch) if launch.ticket.is_some() && launch.submissions.last.is_none() => State::InLine,
        _ => State::Unsubmitted,
    }
}

fn why(record: &JobRecord, launch: Option<&LaunchRecord>, state: State) -> Option<Why> {
    let last_lost = || {
        let lost = record.launches.iter().rev().find_map(|launch| launch.lost.as_ref());
        lost.map(|lost| Why::Lost(lost.reason.clone()))
    };
    match state {
        State::Unconfirmed => Some(Why::Unconfirmed),
        State::Held => Some(Why::Held),
        State::Denied => record.view.denied.as_ref().map(|denied| Why::Denied(denied.denial.clone())),
        State::InLine => {
            let requested = record.view.requested.as_ref()?;
            Some(Why::AtCap(Cap {
                profile: requested.profile.clone(),
                max_running: requested.max_running,
                per_repository: requested.max_running_per_repository,
            }))
        }
        State::Unsubmitted | State::Offered | State::Refused => {
            match launch.and_then(|launch| launch.submissions.last.as_ref()) {
                Some(failure) => Some(Why::NotSubmitted(failure.why.clone())),
                None => last_lost(),
            }
        }
        State::Pending => match launch.and_then(|launch| launch.redemptions.last.as_ref()) {
            Some(failure) => Some(Why::NoCredential(failure.why.clone())),
            None => last_lost(),
        },
        State::Starting | State::GivenUp => last_lost(),
        State::Running | State::Finished => record.view.requested.is_none().then_some(Why::NeverQueued),
        State::Expired => Some(Why::Expired),
    }
}
