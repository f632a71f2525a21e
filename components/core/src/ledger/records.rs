//! All facts of many jobs, read together: for pages, figures and explanations. Where one fact after the other costs a
//! step of the store each, a hundred jobs cost a handful.

use std::collections::HashMap;

use gha_slurm_protocol::identity::{ClusterName, JobId, LaunchId};
use serde::de::DeserializeOwned;

use super::keys::{self, JobFact, LaunchAttempts, LaunchFact};
use super::{Course, Ended, Failure, Launched, Leased, Ledger, Lost, Offered, RefusedAtNode, Told, View};
use crate::ports::{Clock, Store, StoreError};

/// A job with its launches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// Its id.
    pub job: JobId,
    /// What decides what it needs.
    pub view: View,
    /// When GitHub said that this old job is still queued, in seconds of Unix time.
    pub confirmed: Option<u64>,
    /// Its launches, at least the first, up to the first that is not lost.
    pub launches: Vec<LaunchRecord>,
}

/// What is known of a launch. Times are seconds of Unix time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchRecord {
    /// Its id.
    pub id: LaunchId,
    /// The cluster that it is for, where its job may go to several and that was written down.
    pub cluster: Option<ClusterName>,
    /// It waits for a gateway that fetches.
    pub offered: Option<Offered>,
    /// Which gateway has its lease, or had it.
    pub leased: Option<Leased>,
    /// What Slurm said of its Slurm job last.
    pub told: Option<Told>,
    /// The gateway took it.
    pub launched: Option<Launched>,
    /// Its credential was handed out.
    pub redeemed: Option<u64>,
    /// When its token first came again after that.
    pub replayed: Option<u64>,
    /// The job that its runner took.
    pub took: Option<JobId>,
    /// Its job got another one.
    pub lost: Option<Lost>,
    /// Nothing needed it any more.
    pub withdrawn: Option<u64>,
    /// Its Slurm job was cancelled.
    pub cancelled: Option<u64>,
    /// Its Slurm job is over.
    pub ended: Option<Ended>,
    /// The check on its node refused the job that its runner took.
    pub refused: Option<RefusedAtNode>,
    /// Its place in the line of a profile with a limit.
    pub ticket: Option<i64>,
    /// Attempts to submit it at the gateway.
    pub submissions: Tries,
    /// Attempts to get a credential for it.
    pub redemptions: Tries,
}

/// What is known of attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tries {
    /// How many failed.
    pub failures: u64,
    /// The last failure.
    pub last: Option<Failure>,
}

/// Values by key, as far as they were read.
#[derive(Default)]
pub(super) struct Values(HashMap<String, Vec<u8>>);

impl Values {
    pub(super) fn load(&mut self, store: &impl Store, keys: Vec<String>) -> Result<(), StoreError> {
        let values = store.get_many(&keys)?;
        self.0.extend(keys.into_iter().zip(values).filter_map(|(key, value)| Some((key, value?))));
        Ok(())
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub(super) fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        let Some(bytes) = self.0.get(key) else { return Ok(None) };
        serde_json::from_slice(bytes).map(Some).map_err(|error| StoreError(format!("{key} is unreadable: {error}")))
    }
}

const VIEW: [JobFact; 6] =
    [JobFact::Requested, JobFact::Started, JobFact::Finished, JobFact::Held, JobFact::Released, JobFact::Denied];
const JOB: [JobFact; 7] = [
    JobFact::Requested,
    JobFact::Started,
    JobFact::Finished,
    JobFact::Held,
    JobFact::Released,
    JobFact::Denied,
    JobFact::Confirmed,
];
const LAUNCH: [LaunchFact; 14] = [
    LaunchFact::Cluster,
    LaunchFact::Offered,
    LaunchFact::Leased,
    LaunchFact::Slurm,
    LaunchFact::Launched,
    LaunchFact::Redeemed,
    LaunchFact::Replayed,
    LaunchFact::Took,
    LaunchFact::Lost,
    LaunchFact::Withdrawn,
    LaunchFact::Cancelled,
    LaunchFact::Ended,
    LaunchFact::Refused,
    LaunchFact::Ticket,
];
/// The attempts whose last failure is told.
const ATTEMPTS: [LaunchAttempts; 2] = [LaunchAttempts::Submit, LaunchAttempts::Redeem];

impl<'a, P: Store + Clock> Ledger<'a, P> {
    /// The records of jobs, in their order. A job with a fact that cannot be read has an error in its place.
    pub fn records(&self, jobs: &[JobId]) -> Result<Vec<Result<JobRecord, StoreError>>, StoreError> {
        let mut values = Values::default();
        let mut wanted: Vec<String> = jobs.iter().flat_map(|job| JOB.map(|fact| keys::job(*job, fact))).collect();
        let mut open: Vec<LaunchId> = jobs.iter().map(|job| LaunchId { job: *job, number: 1 }).collect();
        for number in Course::numbers() {
            for launch in &open {
                wanted.extend(LAUNCH.map(|fact| keys::launch(*launch, fact)));
                wanted.extend(ATTEMPTS.map(|what| keys::attempt_next(&keys::launch_attempts(*launch, what))));
            }
            values.load(self.0, std::mem::take(&mut wanted))?;
            for base in open.iter().flat_map(|launch| ATTEMPTS.map(|what| keys::launch_attempts(*launch, what))) {
                if let Ok(Some(next)) = values.read::<u64>(&keys::attempt_next(&base)) {
                    wanted.push(keys::attempt_failed(&base, next.saturating_sub(1)));
                }
            }
            open.retain(|launch| values.has(&keys::launch(*launch, LaunchFact::Lost)));
            open = open.into_iter().map(|launch| LaunchId { number: number + 1, ..launch }).collect();
            if open.is_empty() {
                break;
            }
        }
        values.load(self.0, wanted)?;
        Ok(jobs.iter().map(|job| self.record(*job, &values)).collect())
    }

    /// What decides what jobs need, in their order, in one step of the store.
    pub fn views(&self, jobs: &[JobId]) -> Result<Vec<View>, StoreError> {
        let mut values = Values::default();
        values.load(self.0, jobs.iter().flat_map(|job| VIEW.map(|fact| keys::job(*job, fact))).collect())?;
        jobs.iter().map(|job| view(*job, &values)).collect()
    }

    fn record(&self, job: JobId, values: &Values) -> Result<JobRecord, StoreError> {
        let fact = |fact| keys::job(job, fact);
        let view = view(job, values)?;
        let mut launches: Vec<LaunchRecord> = Vec::new();
        let mut course = Course::default();
        for number in Course::numbers() {
            let launch = self.launch_record(LaunchId { job, number }, values)?;
            let goes_on = launch.lost.as_ref().is_some_and(|lost| course.goes_on(&lost.reason));
            launches.push(launch);
            if !goes_on {
                break;
            }
        }
        Ok(JobRecord { job, view, confirmed: values.read(&fact(JobFact::Confirmed))?, launches })
    }

    fn launch_record(&self, id: LaunchId, values: &Values) -> Result<LaunchRecord, StoreError> {
        let tries = |what| {
            let base = keys::launch_attempts(id, what);
            let next: Option<u64> = values.read(&keys::attempt_next(&base))?;
            let Some(next) = next else { return Ok::<_, StoreError>(Tries::default()) };
            let last = values.read(&keys::attempt_failed(&base, next.saturating_sub(1)))?;
            Ok(Tries { failures: next.saturating_sub(1), last })
        };
        let fact = |fact| keys::launch(id, fact);
        Ok(LaunchRecord {
            id,
            cluster: values.read(&fact(LaunchFact::Cluster))?,
            offered: values.read(&fact(LaunchFact::Offered))?,
            leased: values.read(&fact(LaunchFact::Leased))?,
            told: values.read(&fact(LaunchFact::Slurm))?,
            launched: values.read(&fact(LaunchFact::Launched))?,
            redeemed: values.read(&fact(LaunchFact::Redeemed))?,
            replayed: values.read(&fact(LaunchFact::Replayed))?,
            took: values.read(&fact(LaunchFact::Took))?,
            lost: values.read(&fact(LaunchFact::Lost))?,
            withdrawn: values.read(&fact(LaunchFact::Withdrawn))?,
            cancelled: values.read(&fact(LaunchFact::Cancelled))?,
            ended: values.read(&fact(LaunchFact::Ended))?,
            refused: values.read(&fact(LaunchFact::Refused))?,
            ticket: values.read(&fact(LaunchFact::Ticket))?,
            submissions: tries(LaunchAttempts::Submit)?,
            redemptions: tries(LaunchAttempts::Redeem)?,
        })
    }
}

fn view(job: JobId, values: &Values) -> Result<View, StoreError> {
    let fact = |fact| keys::job(job, fact);
    Ok(View {
        requested: values.read(&fact(JobFact::Requested))?,
        started: values.read(&fact(JobFact::Started))?,
        finished: values.read(&fact(JobFact::Finished))?,
        held: values.read(&fact(JobFact::Held))?,
        released: values.read(&fact(JobFact::Released))?,
        denied: values.read(&fact(JobFact::Denied))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{FailureKind, LostReason};
    use crate::testing::Memory;

    #[test]
    fn a_record_holds_what_the_facts_say_one_by_one() {
        let platform = Memory::new();
        let ledger = Ledger(&platform);
        let (first, second) = ("1-1".parse().unwrap(), "1-2".parse().unwrap());
        ledger.launch(first).record_launched(Some("17".to_owned())).unwrap();
        ledger.launch(first).record_lost(LostReason::RunnerTaken).unwrap();
        for attempt in 1..=2 {
            ledger
                .launch(second)
                .submissions()
                .record_failed(attempt, FailureKind::Away, "the gateway failed (503)")
                .unwrap();
        }
        ledger.job(JobId(2)).record_started(Some("gha-slurm-1-1".to_owned()), Some(first), None, false).unwrap();
        platform.set("gha-slurm/1/job/3/finished", b"?").unwrap();

        let [one, two, three] = &ledger.records(&[JobId(1), JobId(2), JobId(3)]).unwrap()[..] else { panic!() };
        let one = one.as_ref().unwrap();
        assert_eq!(one.launches.len(), 2, "the third was never needed");
        assert_eq!(one.launches[0].launched, ledger.launch(first).launched().unwrap());
        assert_eq!(one.launches[0].took, Some(JobId(2)));
        assert_eq!(one.launches[0].lost, ledger.launch(first).lost().unwrap());
        assert_eq!(one.launches[1].submissions.failures, 2);
        assert_eq!(one.launches[1].submissions.last, ledger.launch(second).submissions().last_failure().unwrap());
        assert_eq!(two.as_ref().unwrap().view, ledger.job(JobId(2)).view().unwrap());
        assert!(three.as_ref().unwrap_err().to_string().contains("job/3/finished"));
    }
}
