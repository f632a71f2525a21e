//! The sentences about a Slurm job that has not fetched its credential: where it is, and what Slurm's reasons mean.

use gha_slurm_protocol::slurm_job::{SlurmJob, never_passes};

use super::super::Cause;
use super::super::finding::SlurmJobId;
use super::super::slurm::Said;
use super::{Told, number, told};
use crate::time::{about, duration};

/// What was told so long ago is told with its age.
const OLD_SECONDS: u64 = 2 * 60;

/// What to do about a Slurm job that Slurm will never start.
const NEVER: &str = "Change what the profile, the job's labels or the gateway's configuration ask for, or have the cluster's \
                     administrators change the limit.";

/// The states in which a Slurm job has not started, or not anew.
const WAITING: [&str; 9] = [
    "CONFIGURING",
    "PENDING",
    "POWER_UP_NODE",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "RESV_DEL_HOLD",
    "SPECIAL_EXIT",
    "SUSPENDED",
];

pub(super) fn in_slurm(slurm_job: &SlurmJobId, asked: &Result<Option<Said>, String>, age: u64) -> Told {
    let mut details = vec![format!("It was submitted {} ago.", duration(age))];
    let headline = format!("The gateway accepted the job's launch, as Slurm job {}.", number(slurm_job));
    let (slurm, told_ago) = match asked {
        Ok(Some(said)) => (&said.slurm_job, Some(said.age).filter(|age| *age >= OLD_SECONDS)),
        Ok(None) => {
            details.push("The gateway knows nothing more about it.".to_owned());
            return told(Cause::Submitted, headline, details, &["Look on the cluster: squeue, scontrol show job."]);
        }
        Err(problem) => {
            details.push(format!("The gateway could not be asked about it: {problem}."));
            let advice = ["Check that the gateway runs, or look on the cluster: squeue, scontrol show job."];
            return told(Cause::Submitted, headline, details, &advice);
        }
    };
    let id = slurm.job_id.as_deref().unwrap_or_else(|| number(slurm_job));
    let reason = slurm.reason.as_deref().filter(|reason| !matches!(*reason, "" | "None"));
    let never = reason.and_then(|reason| Some((reason, never_passes(reason)?)));
    if slurm.is_over()
        && let Some((reason, meaning)) = never
    {
        details.push(format!("Slurm would never have started it: {reason}: {meaning}."));
        let headline = format!("Slurm job {id} has ended ({}), because it could never start.", slurm.state);
        return told(Cause::SlurmEnded, headline, details, &[NEVER, "The periodic repair launches the job again."]);
    }
    if slurm.is_over() {
        details.extend(reason.map(|reason| format!("Slurm's reason: {reason}.")));
        let headline = format!("Slurm job {id} has ended ({}), and its runner never started.", slurm.state);
        let advice = [
            "See the Slurm job's output (\"output\" in the gateway's configuration). Most often the job script could not \
             reach the app at public_url, or the runner is missing.",
            "The periodic repair launches the job again.",
        ];
        return told(Cause::SlurmEnded, headline, details, &advice);
    }
    if slurm.never_starts().is_some()
        && let Some((reason, meaning)) = never
    {
        details.insert(0, format!("Slurm will never start it: {reason}: {meaning}."));
        let headline = format!("Slurm job {id} waits in Slurm's queue in vain: {reason}.");
        let ends = "The gateway ends it after a while (impossibleMinutes in its configuration).";
        return told(Cause::SlurmPending, headline, details, &[NEVER, ends]);
    }
    let waits = WAITING.contains(&slurm.state.as_str());
    match estimate(slurm, reason, told_ago).filter(|_| waits) {
        Some(estimate) => details.insert(0, estimate),
        None => details.extend(told_ago.map(|ago| format!("Its gateway told this {} ago.", duration(ago)))),
    }
    match slurm.state.as_str() {
        _ if waits => {
            let headline = match reason {
                Some(reason) => format!("Slurm job {id} waits in Slurm's queue: {reason}."),
                None => format!("Slurm job {id} waits in Slurm's queue ({}).", slurm.state),
            };
            told(Cause::SlurmPending, headline, details, &[advice_for(reason.unwrap_or_default())])
        }
        state => {
            let headline = format!("Slurm job {id} is {state}, and has not fetched its credential yet.");
            let advice = [
                "Wait if it has just started. Otherwise see its output: most often the job script cannot reach the app \
                 at public_url, or is still installing the runner.",
            ];
            told(Cause::SlurmRunning, headline, details, &advice)
        }
    }
}

/// When Slurm expects to start it, and its place in the queue.
fn estimate(slurm: &SlurmJob, reason: Option<&str>, told_ago: Option<u64>) -> Option<String> {
    let place = slurm.position.map(|position| format!("place {position} in the queue"));
    let of = told_ago.map(|ago| format!(", told {} ago", duration(ago))).unwrap_or_default();
    let Some(starts_in) = slurm.starts_in else {
        return Some(format!("It has {}{of}.", place?));
    };
    let why: Vec<String> = reason.map(str::to_owned).into_iter().chain(place).collect();
    let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) };
    Some(format!("Slurm expects to start it {}{why}; this is Slurm's estimate{of}.", about(starts_in)))
}

/// What to do about Slurm's reasons for pending (squeue's manual, JOB REASON CODES).
fn advice_for(reason: &str) -> &'static str {
    match reason {
        "Resources" | "Priority" => "Wait: Slurm starts it when nodes are free and it is its turn.",
        "BeginTime" | "Cleaning" | "Prolog" => "Wait: Slurm is about to start it.",
        "PartitionDown" | "PartitionInactive" => {
            "The profile's partition does not start jobs: ask the cluster's administrators."
        }
        "PartitionNodeLimit" => {
            "The profile asks for more nodes than its partition offers, or those that fit are down: change the profile, or \
             ask the cluster's administrators."
        }
        "JobHeldAdmin" | "JobHeldUser" => "It is held: release it with scontrol release JOBID.",
        _ if reason.starts_with("ReqNodeNotAvail") => {
            "Wait, or ask the cluster's administrators: the nodes that fit are down, drained or reserved."
        }
        _ if reason.starts_with("QOS") || reason.starts_with("Assoc") => {
            "The Slurm user, its account or its QOS is at a limit: wait for its other jobs, or have the limit raised."
        }
        "" => "Wait: Slurm gives no reason.",
        _ => "See what the reason means in squeue's manual, under JOB REASON CODES.",
    }
}
