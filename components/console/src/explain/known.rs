//! A job that left facts here.

use gha_slurm_core::cluster::Reach;
use gha_slurm_core::gateway::slurm_job;
use gha_slurm_core::ledger::{FailureKind, Ledger};
use gha_slurm_core::lifecycle::retry_at;
use gha_slurm_core::policy::Denial;
use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_core::settings::Settings;
use gha_slurm_overview::{JobDetail, LaunchDetail, State, Why};
use gha_slurm_protocol::identity::LaunchId;
use gha_slurm_protocol::slurm_job::SlurmJob;

use super::finding::{Besides, Finding, GatewayNow, SlurmJobId, Tries};
use super::{Explanation, GATEWAY_DEADLINE, words};

/// What the gateway says about a launch's Slurm job, if it can be asked.
pub(crate) fn ask_gateway<P: Platform>(platform: &P, launch: LaunchId) -> Result<Option<SlurmJob>, String> {
    let clusters = Settings(platform).clusters().map_err(|error| error.to_string())?;
    let requested = Ledger(platform).job(launch.job).requested().map_err(|error| error.to_string())?;
    let Some(requested) = requested else { return Ok(None) };
    let cluster = clusters.of_launch(platform, launch, &requested).map_err(|error| error.to_string())?;
    match cluster.map(|cluster| &cluster.reach) {
        Some(Reach::Push(gateway)) => {
            slurm_job(platform, gateway, launch, GATEWAY_DEADLINE).map_err(|error| error.to_string())
        }
        // What it tells by itself stands in the launch's facts.
        Some(Reach::Fetch | Reach::Elsewhere) | None => Ok(None),
    }
}

pub(super) fn explain<P: Platform>(platform: &P, detail: &JobDetail) -> Result<Explanation, StoreError> {
    let job = &detail.summary;
    let finding = find(platform, detail)?;
    let own = detail.launches.iter().filter(|launch| launch.launch.job == job.job);
    let taken = own.filter_map(|launch| Some((launch.launch, launch.took?))).filter(|(_, taker)| *taker != job.job);
    let besides = Besides {
        profile: job.profile.clone().zip(job.labels.clone()),
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
    let serving = job.launch.and_then(|own| detail.launches.iter().find(|launch| launch.launch == own));
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
        _ => match ask_gateway(platform, launch.launch) {
            Ok(_) => GatewayNow::Answers,
            Err(problem) => GatewayNow::Fails(problem),
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
    Finding::InSlurm { slurm_job, asked: ask_gateway(platform, launch.launch), age }
}
