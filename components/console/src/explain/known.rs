//! A job that left facts here.

use gha_slurm_core::ledger::{FailureKind, Ledger};
use gha_slurm_core::lifecycle::retry_at;
use gha_slurm_core::policy::Denial;
use gha_slurm_core::ports::{Clock, Platform, Store, StoreError, Variables};
use gha_slurm_overview::{JobDetail, LaunchDetail, Silence, State, Why, named, silence};
use gha_slurm_protocol::identity::ClusterName;

use super::finding::{Besides, Finding, GatewayNow, Moved, SlurmJobId, Tries};
use super::slurm::{Way, said_of, way};
use super::{Explanation, words};

pub(super) fn explain<P: Platform>(platform: &P, detail: &JobDetail) -> Result<Explanation, StoreError> {
    let job = &detail.summary;
    let finding = find(platform, detail)?;
    let own = detail.launches.iter().filter(|launch| launch.launch.job == job.job);
    let taken = own.filter_map(|launch| Some((launch.launch, launch.took?))).filter(|(_, taker)| *taker != job.job);
    let besides = Besides {
        profile: job.profile.clone().zip(job.labels.clone()),
        cluster: job.cluster.clone(),
        moved: moved(detail, platform.unix_seconds()),
        silence: match &job.cluster {
            Some(cluster) if job.state == State::Pending => silence(platform, cluster)?,
            _ => None,
        },
        workflow: job.workflow.clone(),
        branch: job.branch.clone(),
        taken: taken.collect(),
        replayed: detail
            .launches
            .iter()
            .filter(|launch| launch.replayed_at.is_some())
            .map(|launch| launch.launch)
            .collect(),
        refused: detail
            .launches
            .iter()
            .filter_map(|launch| Some((launch.launch, launch.refused_at_node.clone()?)))
            .collect(),
    };
    Ok(words::explanation(&finding, &besides, Some(job.job), job.name.clone()))
}

fn find<P: Platform>(platform: &P, detail: &JobDetail) -> Result<Finding, StoreError> {
    let job = &detail.summary;
    let age = platform.unix_seconds().saturating_sub(job.since);
    // Another job's launch may serve this one.
    let serving = detail.serving();
    if let Some(Why::Stopped(stopped)) = job.why {
        let answer = serving.and_then(|launch| launch.submit_failure.clone());
        return Ok(Finding::Stopped { stopped, repository: job.repository.clone(), answer, age });
    }
    Ok(match job.state {
        State::Unconfirmed => Finding::Unconfirmed { age },
        State::Held => Finding::Held { age },
        State::Denied => {
            let denial = match &job.why {
                Some(Why::Denied(denial)) => denial.clone(),
                _ => Denial::NoRun,
            };
            Finding::Denied { denial, profile: job.profile.clone(), age }
        }
        State::InLine => match &job.why {
            Some(Why::AtCap(cap)) => Finding::AtCap { cap: cap.clone(), place: detail.place, age },
            _ => Finding::Submitting { age },
        },
        State::Unsubmitted if let Some(Why::NoCluster(cluster)) = &job.why => {
            Finding::NoCluster { cluster: cluster.clone(), age }
        }
        State::Offered => offered(platform, detail, age)?,
        State::Unsubmitted | State::Refused => match serving {
            Some(launch) => unsubmitted(platform, launch, age)?,
            None => Finding::Submitting { age },
        },
        State::Pending => match serving {
            Some(launch) => pending(platform, launch, age),
            None => Finding::InSlurm { slurm_job: SlurmJobId(None), asked: Ok(None), age },
        },
        State::Starting => Finding::RunnerStarting {
            runner: job.launch.map(|launch| launch.runner_name()).unwrap_or_default(),
            slurm_job: id_of(serving),
            age,
        },
        State::GivenUp => {
            let lost = detail.launches.iter().filter_map(|launch| Some((launch.launch, launch.lost.clone()?)));
            Finding::GivenUp { lost: lost.collect() }
        }
        State::Running if let Some(reason) = serving.and_then(|launch| launch.refused_at_node.clone()) => {
            Finding::EndedAtNode { reason, slurm_job: id_of(serving) }
        }
        State::Running => {
            let slurm_job = serving.map(|launch| id_of(Some(launch)));
            Finding::Running { runner: job.runner.clone(), slurm_job, age }
        }
        State::Finished => Finding::Finished { conclusion: job.conclusion.clone(), runner: job.runner.clone(), age },
        State::Expired => Finding::Expired,
    })
}

fn id_of(launch: Option<&LaunchDetail>) -> SlurmJobId {
    SlurmJobId(launch.and_then(|launch| launch.slurm_job.clone()))
}

fn unsubmitted<P: Platform>(platform: &P, launch: &LaunchDetail, age: u64) -> Result<Finding, StoreError> {
    let Some(answer) = launch.submit_failure.clone() else { return Ok(Finding::Submitting { age }) };
    let failure = Ledger(platform).launch(launch.launch).submissions().last_failure()?;
    let retry_in = failure.map(|failure| retry_at(launch.launch, &failure).saturating_sub(platform.unix_seconds()));
    let kind = launch.submit_failure_kind;
    // A gateway that said no is there; any other failure may be over by now.
    let now = match kind {
        Some(FailureKind::Unauthorized | FailureKind::Refused) => GatewayNow::NotAsked,
        _ => match way(platform, launch.launch) {
            Ok(Way::Fetch(cluster)) => GatewayNow::Fetches(cluster),
            Ok(Way::Push(_) | Way::Nowhere) => match said_of(platform, launch) {
                Ok(_) => GatewayNow::Answers,
                Err(problem) => GatewayNow::Fails(problem),
            },
            Err(problem) => GatewayNow::Fails(problem.to_string()),
        },
    };
    let tries = Tries { failures: launch.submit_failures, answer };
    Ok(Finding::NotSubmitted { tries, kind, retry_in, now, age })
}

fn pending<P: Platform>(platform: &P, launch: &LaunchDetail, age: u64) -> Finding {
    let slurm_job = id_of(Some(launch));
    if let Some(answer) = launch.redeem_failure.clone() {
        let tries = Tries { failures: launch.redeem_failures, answer };
        let (kind, reason) = (launch.redeem_failure_kind, launch.redeem_failure_reason);
        return Finding::NoCredential { tries, kind, reason, slurm_job };
    }
    Finding::InSlurm { slurm_job, asked: said_of(platform, launch), age }
}

/// A launch that a gateway may fetch.
fn offered<P: Store + Clock + Variables>(platform: &P, detail: &JobDetail, age: u64) -> Result<Finding, StoreError> {
    let job = &detail.summary;
    let now = platform.unix_seconds();
    let before = detail.serving().and_then(|launch| {
        let at = launch.fetched_at.filter(|at| *at >= launch.offered_at.unwrap_or(0))?;
        Some((launch.fetched_by.clone()?, now.saturating_sub(at)))
    });
    Ok(match job.why.clone() {
        Some(Why::Fetched { cluster, gateway, at }) => {
            Finding::Fetched { cluster, gateway, ago: now.saturating_sub(at) }
        }
        Some(Why::ClusterSilent(silence)) => {
            let (others, silent_after) = others(platform, detail, &silence)?;
            Finding::ClusterSilent { silence, others, silent_after, before, age }
        }
        _ => Finding::ToBeFetched { cluster: job.cluster.clone().unwrap_or_default(), before, age },
    })
}

/// The other clusters that the job of a launch may go to, and after how many seconds of silence.
fn others<P: Store + Clock + Variables>(
    platform: &P,
    detail: &JobDetail,
    silence: &Silence,
) -> Result<(Vec<ClusterName>, u64), StoreError> {
    let of = detail.serving().map_or(detail.summary.job, |launch| launch.launch.job);
    let requested = Ledger(platform).job(of).requested()?;
    let mut others = requested.map(|requested| requested.clusters).unwrap_or_default();
    others.retain(|name| *name != silence.cluster);
    let silent_after = named(platform).ok().flatten().and_then(|all| Some(all.get(&silence.cluster)?.silent_after));
    Ok((others, silent_after.unwrap_or(0)))
}

fn moved(detail: &JobDetail, now: u64) -> Vec<Moved> {
    let own = |launch: &&LaunchDetail| launch.launch.job == detail.summary.job;
    let launches: Vec<&LaunchDetail> = detail.launches.iter().filter(own).collect();
    let moved = |(index, launch): (usize, &&LaunchDetail)| {
        let ago = now.saturating_sub(launch.moved_at?);
        // The next one is not told of before something happens to it.
        let next = launches.get(index + 1).map_or(&detail.summary.cluster, |next| &next.cluster);
        Some(Moved { launch: launch.launch, from: launch.cluster.clone()?, to: next.clone(), ago })
    };
    launches.iter().enumerate().filter_map(moved).collect()
}
