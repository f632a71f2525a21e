//! The facts of one job and of one launch.

use std::fmt;

use gha_slurm_protocol::hex::hex;
use gha_slurm_protocol::identity::{ClusterName, JobId, LaunchId, Person, RepositoryName, SlurmUser};
use gha_slurm_protocol::labels::LabelSet;
use gha_slurm_protocol::resources::Resources;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

use super::keys::{self, JobFact, LaunchAttempts, LaunchFact};
use super::{Attempts, Course, End, Ended, Entry, Ledger, encode, read, write};
use crate::identity::{CommitSha, DeliveryId, InstallationId, PersonId, RepositoryId, RunId, RunnerId};
use crate::policy::{Denial, Rules};
use crate::ports::{Clock, Store, StoreError};
use crate::profile::RegisteredAt;
use crate::text::Text;

/// GitHub fails a job that was queued for so long.
const QUEUE_LIMIT_SECONDS: u64 = 24 * 60 * 60;

/// How often it is kept that a token comes again and again.
const REPLAY_SECONDS: u64 = 60;

/// A job of ours was queued. Everything that a launch needs is here, so that whoever submits needs nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// The repository's id.
    pub repository_id: RepositoryId,
    /// The repository's name.
    pub repository: RepositoryName,
    /// Its page, which is how the gateway's mapping names it.
    pub html_url: Url,
    /// The App's installation, if the webhook named one.
    pub installation: Option<InstallationId>,
    /// The job's labels.
    pub labels: LabelSet,
    /// The workflow run's attempt.
    pub run_attempt: u64,
    /// The profile that took it.
    pub profile: String,
    /// How many launches of the profile may live at once; `None` is no limit.
    #[serde(default)]
    pub max_running: Option<u32>,
    /// How many of them may be of one repository; `None` is no limit.
    #[serde(default)]
    pub max_running_per_repository: Option<u32>,
    /// The clusters that it may go to, in the order in which they are tried; empty where there is only one.
    #[serde(default)]
    pub clusters: Vec<ClusterName>,
    /// What it asks of Slurm.
    pub resources: Resources,
    /// Its name in its workflow. Strangers choose it, as they do the next two; nothing is decided by it.
    #[serde(default)]
    pub name: Text,
    /// The workflow's name.
    #[serde(default)]
    pub workflow: Text,
    /// The branch that the workflow runs on.
    #[serde(default)]
    pub branch: Text,
    /// The login of who queued it at GitHub, as the webhook named them.
    #[serde(default)]
    pub person: Text,
    /// The id of that person, if it named one.
    #[serde(default)]
    pub person_id: Option<PersonId>,
    /// The workflow run, if the webhook named it.
    #[serde(default)]
    pub run_id: Option<RunId>,
    /// What may run, by the profile. In a fact of an earlier build it is the default.
    #[serde(default)]
    pub rules: Rules,
    /// The Slurm user that the workflow names.
    #[serde(default)]
    pub slurm_user: Option<SlurmUser>,
    /// The commit that its run is for, if the webhook named it.
    #[serde(default)]
    pub sha: Option<CommitSha>,
    /// Where the runner is registered.
    #[serde(default)]
    pub registered_at: RegisteredAt,
    /// The delivery that told of it.
    #[serde(default)]
    pub delivery: Option<DeliveryId>,
    /// When GitHub made the job, in seconds of Unix time, as the signed payload says; the time of receipt if it does not.
    pub created_at: u64,
    /// When it was received, in seconds of Unix time.
    pub at: u64,
}

impl Requested {
    /// The pool: jobs with one label set can use each other's runners, if the runners are registered at the same place.
    pub fn pool(&self) -> String {
        let digest = |text: String| hex(Sha256::digest(text).into_iter().take(8));
        match &self.registered_at {
            RegisteredAt::Repository => format!("{}-{}", self.repository_id.0, digest(self.labels.to_string())),
            RegisteredAt::Organization { group } => {
                let owner = self.repository.owner().to_ascii_lowercase();
                let group = group.as_deref().unwrap_or_default();
                format!("{owner}-{}", digest(format!("{group}\n{}", self.labels)))
            }
        }
    }

    /// Who queued it, if the webhook named somebody as GitHub names people.
    pub fn person(&self) -> Option<Person> {
        let login = self.person.some()?.parse().ok()?;
        Some(Person { login, id: self.person_id?.0 })
    }

    /// Whether the payload is older than GitHub keeps a job queued: a replay, or a job that waited for an approval.
    /// GitHub must say which before anything is launched.
    pub fn needs_confirmation(&self) -> bool {
        self.created_at.saturating_add(QUEUE_LIMIT_SECONDS) < self.at
    }

    /// Whether its profile has a limit, and so a line.
    pub fn has_line(&self) -> bool {
        self.max_running.or(self.max_running_per_repository).is_some()
    }
}

/// GitHub holds the job back until somebody approves its deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The delivery that told of it; absent when the tick found out.
    #[serde(default)]
    pub delivery: Option<DeliveryId>,
    /// When it was told, in seconds of Unix time.
    pub at: u64,
}

/// The rules of the job's profile do not allow its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeniedRun {
    /// The rule that it breaks.
    #[serde(flatten)]
    pub denial: Denial,
    /// When, in seconds of Unix time.
    pub at: u64,
}

/// The check on the compute node refused the job that GitHub gave to the launch's runner. What it says comes from the node,
/// and is shown and not decided by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedAtNode {
    /// Why.
    pub reason: Text,
    /// The job's repository, as the runner named it.
    #[serde(default)]
    pub repository: Text,
    /// The job's run.
    #[serde(default)]
    pub run_id: Option<RunId>,
    /// When, in seconds of Unix time.
    pub at: u64,
}

/// What the author of a job's commit was told last, by a commit status. It is a hint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorTold {
    /// When Slurm was expected to start it, in seconds of Unix time; absent when there is nothing more to tell.
    #[serde(default)]
    pub starts_at: Option<u64>,
    /// When, in seconds of Unix time.
    pub at: u64,
}

/// A runner took the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The runner's name, if GitHub told it.
    pub runner_name: Option<String>,
    /// The delivery that told of it; absent when the tick found out.
    #[serde(default)]
    pub delivery: Option<DeliveryId>,
    /// When it was told, in seconds of Unix time.
    pub at: u64,
}

/// The job came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// GitHub's word, such as `success` or `cancelled`.
    pub conclusion: Option<String>,
    /// The delivery that told of it; absent when the tick found out.
    #[serde(default)]
    pub delivery: Option<DeliveryId>,
    /// When it was told, in seconds of Unix time.
    pub at: u64,
}

/// The gateway took the launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launched {
    /// The Slurm job's id, when the gateway tells it.
    pub slurm_job: Option<String>,
    /// When, in seconds of Unix time.
    pub at: u64,
}

/// The credential was a JIT configuration, so GitHub knows the runner from then on, whether it ever starts or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JitRunner {
    /// GitHub's id of it.
    pub id: RunnerId,
    /// When the credential was handed out, in seconds of Unix time.
    pub at: u64,
}

/// The launch cannot serve its job any more, so the job gets another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// What became of it.
    #[serde(rename = "why")]
    pub reason: LostReason,
    /// When, in seconds of Unix time.
    pub at: u64,
}

/// Why a launch cannot serve its job any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostReason {
    /// GitHub gave its runner to another job.
    RunnerTaken,
    /// Its runner took another job, or it was withdrawn before that was known, and no other launch is the job's by swaps.
    Unserved,
    /// GitHub held its job back before it was ever submitted.
    Held,
    /// It was not submitted, and its cluster was silent: it goes to another one.
    Moved,
    /// Its runner registered and took no job.
    Idle,
    /// The check on its node refused the job that its runner took.
    RefusedAtNode,
    /// Its Slurm job ended, in this state, before its runner started.
    SlurmJobEnded(String),
    /// In the words of an earlier build.
    #[serde(untagged)]
    Other(String),
}

impl fmt::Display for LostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunnerTaken => f.write_str("its runner took another job"),
            Self::Unserved => f.write_str("no launch serves the job any more"),
            Self::Held => f.write_str("GitHub held the job back before it was submitted"),
            Self::Moved => f.write_str("its cluster was silent, so the job goes to another one"),
            Self::Idle => f.write_str("its runner registered and took no job"),
            Self::RefusedAtNode => f.write_str("the check on its node refused the job that its runner took"),
            Self::SlurmJobEnded(state) => write!(f, "its Slurm job ended before its runner started: {state}"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

/// The facts that decide what a job needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// It was queued.
    pub requested: Option<Requested>,
    /// A runner took it.
    pub started: Option<Started>,
    /// It came to its end.
    pub finished: Option<Finished>,
    /// GitHub held it back.
    pub held: Option<Held>,
    /// When GitHub queued it again after that, in seconds of Unix time.
    pub released: Option<u64>,
    /// The rules of its profile do not allow its run.
    pub denied: Option<DeniedRun>,
}

impl View {
    /// Whether GitHub holds it back, as far as is known.
    pub fn is_held(&self) -> bool {
        self.held.is_some() && self.released.is_none()
    }

    /// When GitHub gives the job up, should no runner take it, in seconds of Unix time: it counts from when the job was
    /// queued last.
    pub fn given_up_at(&self) -> Option<u64> {
        let queued = self.requested.as_ref()?.at.max(self.released.unwrap_or(0));
        Some(queued.saturating_add(QUEUE_LIMIT_SECONDS))
    }

    /// Whether GitHub has given the job up by now.
    pub fn expired(&self, now: u64) -> bool {
        self.given_up_at().is_some_and(|at| at <= now)
    }

    /// Whether GitHub queued it by this delivery, or held it back.
    pub fn knows(&self, delivery: &DeliveryId) -> bool {
        self.deliveries().any(|known| known == delivery)
    }

    /// The deliveries that its facts came by.
    pub fn deliveries(&self) -> impl Iterator<Item = &DeliveryId> {
        let requested = self.requested.as_ref().and_then(|fact| fact.delivery.as_ref());
        let started = self.started.as_ref().and_then(|fact| fact.delivery.as_ref());
        let finished = self.finished.as_ref().and_then(|fact| fact.delivery.as_ref());
        let held = self.held.as_ref().and_then(|fact| fact.delivery.as_ref());
        [requested, held, started, finished].into_iter().flatten()
    }

    /// Since when the job needs no runner any more, in seconds of Unix time: a runner took it, it ended, it was denied one,
    /// or GitHub gave it up.
    pub fn over_since(&self, now: u64) -> Option<u64> {
        let started = self.started.as_ref().map(|started| started.at);
        let finished = self.finished.as_ref().map(|finished| finished.at);
        let given_up = self.given_up_at().filter(|at| *at <= now);
        let denied = self.denied.as_ref().map(|denied| denied.at);
        // The last of them: each is news of its launches.
        [started, finished, given_up, denied].into_iter().flatten().max()
    }

    /// The request, if the job still waits for a runner at `now`.
    pub fn waiting(&self, now: u64) -> Option<&Requested> {
        let open = self.started.is_none() && self.finished.is_none() && self.denied.is_none();
        let waits = open && !self.is_held() && !self.expired(now);
        self.requested.as_ref().filter(|_| waits)
    }
}

/// Facts of one job.
#[derive(Debug)]
pub struct JobFacts<'a, P> {
    store: &'a P,
    job: JobId,
}

impl<'a, P: Store + Clock> JobFacts<'a, P> {
    pub(super) fn new(store: &'a P, job: JobId) -> Self {
        Self { store, job }
    }

    /// All that decides what it needs.
    pub fn view(&self) -> Result<View, StoreError> {
        let held = self.read(JobFact::Held)?;
        let requested = self.read(JobFact::Requested)?;
        Ok(View {
            // Only what was requested can be denied.
            denied: if requested.is_some() { self.read(JobFact::Denied)? } else { None },
            requested,
            started: self.read(JobFact::Started)?,
            finished: self.read(JobFact::Finished)?,
            // Few jobs are ever held.
            released: if held.is_some() { self.read(JobFact::Released)? } else { None },
            held,
        })
    }

    /// That it was queued, if it was.
    pub fn requested(&self) -> Result<Option<Requested>, StoreError> {
        self.read(JobFact::Requested)
    }

    /// Records that it was queued, in the journal as well.
    pub fn record_requested(&self, fact: &Requested) -> Result<(), StoreError> {
        self.write(vec![encode(&self.of(JobFact::Requested), fact)?], false)
    }

    /// Records that GitHub holds it back, as `delivery` told; with its request, where that is not known yet.
    pub fn record_held(&self, delivery: Option<DeliveryId>, request: Option<&Requested>) -> Result<(), StoreError> {
        let held = encode(&self.of(JobFact::Held), &Held { delivery, at: self.store.unix_seconds() })?;
        match request {
            Some(request) => self.write(vec![encode(&self.of(JobFact::Requested), request)?, held], false),
            None => self.write(vec![held], true),
        }
    }

    /// Records that GitHub queued it again after it was held back.
    pub fn record_released(&self) -> Result<(), StoreError> {
        write(self.store, &self.of(JobFact::Released), &self.store.unix_seconds())
    }

    /// Records that a runner took it, as `delivery` told; `ours` is that runner's launch, when it is one of ours. `known`
    /// tells whether the journal has the job already.
    pub fn record_started(
        &self,
        runner_name: Option<String>,
        ours: Option<LaunchId>,
        delivery: Option<DeliveryId>,
        known: bool,
    ) -> Result<Started, StoreError> {
        let fact = Started { runner_name, delivery, at: self.store.unix_seconds() };
        let mut facts = vec![encode(&self.of(JobFact::Started), &fact)?];
        if let Some(launch) = ours {
            // One transaction: who sees the one sees the other.
            facts.push(encode(&keys::launch(launch, LaunchFact::Took), &self.job)?);
        }
        self.write(facts, known)?;
        Ok(fact)
    }

    /// Records that it came to its end, as `delivery` told.
    pub fn record_finished(
        &self,
        conclusion: Option<String>,
        delivery: Option<DeliveryId>,
        known: bool,
    ) -> Result<(), StoreError> {
        let fact = Finished { conclusion, delivery, at: self.store.unix_seconds() };
        self.write(vec![encode(&self.of(JobFact::Finished), &fact)?], known)
    }

    /// Records that the rules do not allow its run; true for the first who does.
    pub fn record_denied(&self, denial: Denial) -> Result<bool, StoreError> {
        let first = self.read::<DeniedRun>(JobFact::Denied)?.is_none();
        if first {
            write(self.store, &self.of(JobFact::Denied), &DeniedRun { denial, at: self.store.unix_seconds() })?;
        }
        Ok(first)
    }

    /// What its commit's author was told last.
    pub fn author_told(&self) -> Result<Option<AuthorTold>, StoreError> {
        self.read(JobFact::Told)
    }

    /// Keeps what its commit's author was told.
    pub fn record_author_told(&self, told: &AuthorTold) -> Result<(), StoreError> {
        write(self.store, &self.of(JobFact::Told), told)
    }

    /// Whether GitHub confirmed that an old job is still queued.
    pub fn confirmed(&self) -> Result<bool, StoreError> {
        Ok(self.read::<u64>(JobFact::Confirmed)?.is_some())
    }

    /// Records that GitHub confirmed it.
    pub fn record_confirmed(&self) -> Result<(), StoreError> {
        write(self.store, &self.of(JobFact::Confirmed), &self.store.unix_seconds())
    }

    /// When GitHub was last asked about it, in seconds of Unix time.
    pub fn asked(&self) -> Result<Option<u64>, StoreError> {
        self.read(JobFact::Asked)
    }

    /// Records that GitHub is asked about it now.
    pub fn record_asked(&self) -> Result<(), StoreError> {
        write(self.store, &self.of(JobFact::Asked), &self.store.unix_seconds())
    }

    /// Every key that was ever written for this job and its launches.
    pub fn keys(&self) -> Result<Vec<String>, StoreError> {
        let mut all: Vec<String> = JobFact::ALL.iter().map(|fact| self.of(*fact)).collect();
        for number in Course::numbers() {
            let launch = Ledger(self.store).launch(LaunchId { job: self.job, number });
            all.extend(launch.keys()?);
            // Few jobs ever have more.
            if number >= super::MAX_LAUNCHES && launch.lost()?.is_none() {
                break;
            }
        }
        Ok(all)
    }

    /// Writes facts in one transaction; with an entry in the journal unless the job is known there, because also a job
    /// that was never queued here must be found again, to be deleted.
    fn write(&self, facts: Vec<(String, Vec<u8>)>, known: bool) -> Result<(), StoreError> {
        if known {
            return self.store.set_many(&facts);
        }
        Ledger(self.store).journal().append(Entry::Job(self.job), facts)
    }

    fn of(&self, fact: JobFact) -> String {
        keys::job(self.job, fact)
    }

    fn read<T: serde::de::DeserializeOwned>(&self, fact: JobFact) -> Result<Option<T>, StoreError> {
        read(self.store, &self.of(fact))
    }
}

/// Facts and claims of one launch.
#[derive(Debug)]
pub struct LaunchFacts<'a, P> {
    pub(super) store: &'a P,
    pub(super) launch: LaunchId,
}

impl<'a, P: Store + Clock> LaunchFacts<'a, P> {
    pub(super) fn new(store: &'a P, launch: LaunchId) -> Self {
        Self { store, launch }
    }

    /// Attempts to submit it. A retry keeps the launch: when the gateway took an earlier attempt and its answer was
    /// lost, a gateway that knows the launch does not start a second Slurm job.
    pub fn submissions(&self) -> Attempts<'a, P> {
        Attempts::new(self.store, keys::launch_attempts(self.launch, LaunchAttempts::Submit))
    }

    /// Records that the gateway took it.
    pub fn record_launched(&self, slurm_job: Option<String>) -> Result<(), StoreError> {
        write(self.store, &self.of(LaunchFact::Launched), &Launched { slurm_job, at: self.store.unix_seconds() })
    }

    /// Whether the gateway took it.
    pub fn launched(&self) -> Result<Option<Launched>, StoreError> {
        self.read(LaunchFact::Launched)
    }

    /// Attempts to get a credential for it.
    pub fn redemptions(&self) -> Attempts<'a, P> {
        Attempts::new(self.store, keys::launch_attempts(self.launch, LaunchAttempts::Redeem))
    }

    /// Takes the right to hand out the launch's one credential; true for exactly one caller, ever.
    pub fn commit_redemption(&self) -> Result<bool, StoreError> {
        Ok(self.store.increment(&self.of(LaunchFact::Commit), 1)? == 1)
    }

    /// Whether somebody has that right. With no [`LaunchFacts::redeemed`] after it, he died before he used it, or right
    /// after.
    pub fn committed(&self) -> Result<bool, StoreError> {
        Ok(self.store.get(&self.of(LaunchFact::Commit))?.is_some())
    }

    /// Records that the credential was handed out; with the runner that GitHub made for it, if it made one.
    pub fn record_redeemed(&self, runner: Option<RunnerId>) -> Result<(), StoreError> {
        let at = self.store.unix_seconds();
        let redeemed = encode(&self.of(LaunchFact::Redeemed), &at)?;
        match runner {
            Some(id) => self.store.set_many(&[encode(&self.of(LaunchFact::Runner), &JitRunner { id, at })?, redeemed]),
            None => self.store.set_many(&[redeemed]),
        }
    }

    /// When the credential was handed out, in seconds of Unix time.
    pub fn redeemed(&self) -> Result<Option<u64>, StoreError> {
        self.read(LaunchFact::Redeemed)
    }

    /// Records that its token came again after it was handed out. What somebody who repeats it can cause is a write a
    /// minute; whether it is the first time.
    pub fn record_replayed(&self) -> Result<bool, StoreError> {
        let now = self.store.unix_seconds();
        if self.replayed()?.is_none() {
            let first = [LaunchFact::Replayed, LaunchFact::ReplayedLast].map(|fact| encode(&self.of(fact), &now));
            let [first, last] = first;
            self.store.set_many(&[first?, last?])?;
            return Ok(true);
        }
        let last = self.read::<u64>(LaunchFact::ReplayedLast)?.unwrap_or(0);
        if last.saturating_add(REPLAY_SECONDS) <= now {
            write(self.store, &self.of(LaunchFact::ReplayedLast), &now)?;
        }
        Ok(false)
    }

    /// When its token first came again after it was handed out, in seconds of Unix time.
    pub fn replayed(&self) -> Result<Option<u64>, StoreError> {
        self.read(LaunchFact::Replayed)
    }

    /// Records that the check on its node refused the job that its runner took; true for the first who does.
    pub fn record_refused_at_node(
        &self,
        reason: Text,
        repository: Text,
        run_id: Option<RunId>,
    ) -> Result<bool, StoreError> {
        let first = self.refused_at_node()?.is_none();
        if first {
            let fact = RefusedAtNode { reason, repository, run_id, at: self.store.unix_seconds() };
            write(self.store, &self.of(LaunchFact::Refused), &fact)?;
        }
        Ok(first)
    }

    /// What the check on its node refused.
    pub fn refused_at_node(&self) -> Result<Option<RefusedAtNode>, StoreError> {
        self.read(LaunchFact::Refused)
    }

    /// The job that its runner took.
    pub fn took(&self) -> Result<Option<JobId>, StoreError> {
        self.read(LaunchFact::Took)
    }

    /// Records that it cannot serve its job any more.
    pub fn record_lost(&self, reason: LostReason) -> Result<(), StoreError> {
        write(self.store, &self.of(LaunchFact::Lost), &Lost { reason, at: self.store.unix_seconds() })
    }

    /// Whether its job gets another launch instead.
    pub fn lost(&self) -> Result<Option<Lost>, StoreError> {
        self.read(LaunchFact::Lost)
    }

    /// Records that nothing needs it any more: it gets no credential.
    pub fn record_withdrawn(&self) -> Result<(), StoreError> {
        write(self.store, &self.of(LaunchFact::Withdrawn), &self.store.unix_seconds())
    }

    /// Whether nothing needs it any more.
    pub fn withdrawn(&self) -> Result<bool, StoreError> {
        Ok(self.read::<u64>(LaunchFact::Withdrawn)?.is_some())
    }

    /// Attempts to have its Slurm job cancelled.
    pub fn cancellations(&self) -> Attempts<'a, P> {
        Attempts::new(self.store, keys::launch_attempts(self.launch, LaunchAttempts::Cancel))
    }

    /// Records that the gateway cancelled the Slurm job, or does not know it.
    pub fn record_cancelled(&self) -> Result<(), StoreError> {
        write(self.store, &self.of(LaunchFact::Cancelled), &self.store.unix_seconds())
    }

    /// Whether the Slurm job was cancelled.
    pub fn cancelled(&self) -> Result<bool, StoreError> {
        Ok(self.read::<u64>(LaunchFact::Cancelled)?.is_some())
    }

    /// Records that its runner is no longer in GitHub's list.
    pub fn record_removed(&self) -> Result<(), StoreError> {
        write(self.store, &self.of(LaunchFact::Removed), &self.store.unix_seconds())
    }

    /// When GitHub was last asked to remove its runner, in seconds of Unix time.
    pub fn removing(&self) -> Result<Option<u64>, StoreError> {
        self.read(LaunchFact::Removing)
    }

    /// Records that GitHub is asked to remove its runner now.
    pub fn record_removing(&self) -> Result<(), StoreError> {
        write(self.store, &self.of(LaunchFact::Removing), &self.store.unix_seconds())
    }

    /// Records that its Slurm job is over.
    pub fn record_ended(&self, how: End) -> Result<(), StoreError> {
        write(self.store, &self.of(LaunchFact::Ended), &Ended { how, at: self.store.unix_seconds() })
    }

    /// Whether its Slurm job is over.
    pub fn ended(&self) -> Result<Option<Ended>, StoreError> {
        self.read(LaunchFact::Ended)
    }

    /// Its place in the line of a profile with a limit.
    pub fn ticket(&self) -> Result<Option<i64>, StoreError> {
        self.read(LaunchFact::Ticket)
    }

    pub(super) fn of(&self, fact: LaunchFact) -> String {
        keys::launch(self.launch, fact)
    }

    fn keys(&self) -> Result<Vec<String>, StoreError> {
        let mut all: Vec<String> = LaunchFact::ALL.iter().map(|fact| self.of(*fact)).collect();
        for what in LaunchAttempts::ALL {
            all.extend(Attempts::new(self.store, keys::launch_attempts(self.launch, what)).keys()?);
        }
        Ok(all)
    }

    pub(super) fn read<T: serde::de::DeserializeOwned>(&self, fact: LaunchFact) -> Result<Option<T>, StoreError> {
        read(self.store, &self.of(fact))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    #[test]
    fn a_job_that_was_released_is_not_over_before_a_day_after_that() {
        let platform = Memory::new();
        let queued = platform.unix_seconds();
        let requested = Requested { created_at: queued, at: queued, ..crate::testing::requested() };
        let facts = Ledger(&platform).job(JobId(1));
        facts.record_held(None, Some(&requested)).unwrap();
        let released = queued + 20 * 60 * 60;
        platform.seconds.set(released);
        facts.record_released().unwrap();
        let view = facts.view().unwrap();
        let given_up = released + QUEUE_LIMIT_SECONDS;
        for now in [queued + QUEUE_LIMIT_SECONDS, given_up - 1] {
            assert_eq!(view.over_since(now), None);
            assert_eq!(view.waiting(now), Some(&requested), "it still waits");
        }
        assert_eq!((view.over_since(given_up), view.expired(given_up)), (Some(given_up), true));
    }

    #[test]
    fn an_unreadable_fact_is_an_error_and_not_absent() {
        let platform = Memory::new();
        platform.set("gha-slurm/1/job/1/finished", b"?").unwrap();
        assert!(Ledger(&platform).job(JobId(1)).view().is_err());
    }
}
