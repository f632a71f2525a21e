//! Bringing a waiting job's launch to the gateway.

use std::time::Duration;

use gha_slurm_protocol::identity::{ClusterName, JobId, LaunchId, SlurmUser};
use gha_slurm_protocol::messages::StartRunner;
use gha_slurm_protocol::secret::Secret;
use url::Url;

use super::line::Line;
use super::offer::{is_offered, offer};
use super::overdue::Overdue;
use super::pace::Pace;
use super::progress::{Delay, Patience, Progress, retry_at};
use super::{Fault, Need};
use crate::audit::{Record, record};
use crate::cluster::{Cluster, Clusters, Definitions, Reach};
use crate::gateway::{GatewayError, start_runners};
use crate::launch_token::{Launch, LaunchTokens};
use crate::ledger::{Claim, Failure, FailureKind, Heard, Ledger, Requested, Stops};
use crate::ports::{Clock, Platform, Store, StoreError, Variables};
use crate::settings::{GatewaySettings, SettingError, Settings};

/// Less is not worth a call.
const LEAST: Duration = Duration::from_secs(1);
/// GitHub counts a webhook as failed after 10 s; the answer is to be there after 8.
const GATEWAY_DEADLINE: Duration = Duration::from_secs(7);
/// Well past the gateway's deadline: an attempt that is older died.
pub(super) const SUBMISSION_LEASE: Duration = Duration::from_secs(60);
/// Steps of the store between the claim of a job's first submission and its request.
const WRITER_STEPS: usize = 3;
/// How often it is written down that a gateway answered.
const HEARD_SECONDS: u64 = 60;
/// How often a line is looked at again after launches left it.
const ROUNDS: usize = 8;

/// Where a launch goes and what its token is for; settled before anything is written.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The clusters.
    pub clusters: Clusters,
    /// Where tokens are redeemed.
    pub redeem: Url,
    /// When whoever asked wants his answer, as the clock has it.
    pub until: Duration,
}

impl Destination {
    /// Reads it from the variables; calls of the gateway are to end within `budget` from now.
    pub fn read<P: Variables + Clock>(platform: &P, budget: Duration) -> Result<Self, SettingError> {
        let settings = Settings(platform);
        Ok(Self { clusters: settings.clusters()?, redeem: settings.redeem_url()?, until: platform.now() + budget })
    }

    /// The same for a component that calls no gateway.
    pub fn without_gateways<P: Variables + Clock>(
        platform: &P,
        clusters: &Definitions,
        budget: Duration,
    ) -> Result<Self, SettingError> {
        let redeem = Settings(platform).redeem_url()?;
        Ok(Self { clusters: clusters.without_gateways(), redeem, until: platform.now() + budget })
    }

    /// How long a call may take that should take no longer than `at_most`.
    pub fn deadline(&self, clock: &impl Clock, at_most: Duration) -> Duration {
        self.until.saturating_sub(clock.now()).min(at_most)
    }

    /// Whether there is no time for another call.
    pub fn late(&self, clock: &impl Clock) -> bool {
        self.deadline(clock, LEAST) < LEAST
    }
}

/// An attempt that was claimed, and what is sent for it.
struct Attempt<'a> {
    id: LaunchId,
    number: u64,
    requested: &'a Requested,
    cluster: &'a ClusterName,
    way: Way<'a>,
}

/// How a launch gets to its cluster.
enum Way<'a> {
    /// The gateway is called.
    Push(&'a GatewaySettings, Box<StartRunner>),
    /// It is left for a gateway to fetch.
    Offer,
}

/// What a launch needs next.
enum Step<'a> {
    Known(Progress),
    Submit(Box<Attempt<'a>>),
}

/// What writing a queued job down brought to light.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenDown {
    /// Nobody else has seen the job, and the first attempt to submit its launch is the caller's.
    WithFirstAttempt,
    /// Somebody else may deal with it.
    Shared,
}

/// Writes a queued job down. The claim of its first submission comes before, so that of duplicates that race one alone
/// takes a slot of the journal; the others see what it writes, or, should it have died, write it themselves.
pub fn write_down<P: Platform>(platform: &P, job: JobId, requested: &Requested) -> Result<WrittenDown, StoreError> {
    let facts = Ledger(platform).job(job);
    let at_once = !requested.needs_confirmation()
        && !requested.has_line()
        && Stops(platform).stopped(&requested.repository)?.is_none();
    if at_once {
        let submissions = Ledger(platform).launch(LaunchId { job, number: 1 }).submissions();
        if submissions.claim_first()? {
            facts.record_requested(requested)?;
            return Ok(WrittenDown::WithFirstAttempt);
        }
        for _ in 0..WRITER_STEPS {
            // A step that stands in the same queue as those of the writer.
            submissions.touch_first()?;
            if facts.view()?.requested.is_some() {
                return Ok(WrittenDown::Shared);
            }
        }
    }
    facts.record_requested(requested)?;
    Ok(WrittenDown::Shared)
}

/// Submits the first launch of a job that was just written down. Nearly always nobody else has seen the job, and the
/// claim alone proves that: what [`advance`] would look up first cannot be there.
pub fn begin<P: Platform>(
    platform: &P,
    destination: &Destination,
    job: JobId,
    requested: &Requested,
    written: WrittenDown,
) -> Result<Progress, Fault> {
    if written == WrittenDown::WithFirstAttempt {
        let id = LaunchId { job, number: 1 };
        let cluster = match cluster(platform, destination, id, requested)? {
            Ok(cluster) => cluster,
            Err(delay) => return Ok(Progress::Deferred(id, delay)),
        };
        return submit_one(platform, destination, attempt(platform, destination, cluster, (id, 1), requested)?);
    }
    advance(platform, destination, job, requested, Patience::AtOnce)
}

/// Submits the launch that a waiting job needs now, unless that was done or is under way.
pub fn advance<P: Platform>(
    platform: &P,
    destination: &Destination,
    job: JobId,
    requested: &Requested,
    patience: Patience,
) -> Result<Progress, Fault> {
    match prepare(platform, destination, job, requested, patience, None)? {
        Step::Known(progress) => Ok(progress),
        Step::Submit(attempt) => submit_one(platform, destination, *attempt),
    }
}

/// Does what [`advance`] does for many jobs, in their order, with as many launches on the way at once as the pace has
/// it. A process that dies in the middle leaves no more claims behind than that.
pub fn advance_all<P: Platform>(
    platform: &P,
    destination: &Destination,
    wanted: &[(JobId, Requested)],
    patience: Patience,
    pace: &mut Pace,
) -> Vec<Result<Progress, Fault>> {
    let mut all = Vec::with_capacity(wanted.len());
    let mut left = wanted.iter();
    while all.len() < wanted.len() {
        let (mut places, mut attempts) = (Vec::new(), Vec::new());
        for (job, requested) in left.by_ref() {
            match prepare(platform, destination, *job, requested, patience, Some(pace)) {
                Ok(Step::Known(progress)) => all.push(Ok(progress)),
                Err(fault) => all.push(Err(fault)),
                Ok(Step::Submit(attempt)) => {
                    places.push(all.len());
                    all.push(Ok(Progress::UnderWay(attempt.id)));
                    attempts.push(*attempt);
                }
            }
            if attempts.len() >= pace.widest() || attempts.last().is_some_and(|last| is_full(&attempts, last, pace)) {
                break;
            }
        }
        let pushed: Vec<Option<ClusterName>> = attempts.iter().map(Attempt::pushed).collect();
        let results = submit(platform, destination, attempts);
        pace.observe(pushed.iter().zip(&results).filter_map(|(cluster, result)| Some((cluster.as_ref()?, result))));
        for (place, result) in places.into_iter().zip(results) {
            if let Some(known) = all.get_mut(place) {
                *known = result;
            }
        }
    }
    all
}

/// Looks up what a job's launch needs, and claims the attempt when it is to be submitted.
fn prepare<'a, P: Platform>(
    platform: &P,
    destination: &'a Destination,
    job: JobId,
    requested: &'a Requested,
    patience: Patience,
    pace: Option<&Pace>,
) -> Result<Step<'a>, Fault> {
    let known = |progress| Ok(Step::Known(progress));
    let ledger = Ledger(platform);
    let Some(id) = Need(platform).own_launch(job)? else { return known(Progress::GivenUp) };
    let facts = ledger.launch(id);
    if facts.launched()?.is_some() {
        return known(Progress::LaunchedBefore(id));
    }
    // The gateway's answer was lost, and its Slurm job has come for the credential.
    if facts.redeemed()?.is_some() || facts.took()?.is_some() {
        record_launch(platform, id, requested, None, None);
        facts.record_launched(None)?;
        return known(Progress::LaunchedBefore(id));
    }
    let cluster = match cluster(platform, destination, id, requested)? {
        Ok(cluster) => cluster,
        Err(delay) => return known(Progress::Deferred(id, delay)),
    };
    if matches!(cluster.reach, Reach::Fetch) && is_offered(platform, &cluster.name, id)? {
        return known(Progress::Offered(id, cluster.name.clone()));
    }
    if pace.is_some_and(|pace| pace.stopped(&cluster.name)) {
        return known(Progress::Deferred(id, Delay::OutOfTime));
    }
    if let Some(stopped) = Stops(platform).stopped(&requested.repository)? {
        return known(Progress::Deferred(id, Delay::Stopped(stopped)));
    }
    if requested.needs_confirmation() && !ledger.job(job).confirmed()? {
        return known(Progress::Unconfirmed);
    }
    let submissions = facts.submissions();
    let last_failure = submissions.last_failure()?;
    let waits = |failure: &Failure| patience.waits(id, failure, platform.unix_seconds());
    // Before it draws another ticket.
    if let Some(refusal) = last_failure.as_ref().filter(|failure| failure.kind == FailureKind::Refused)
        && waits(refusal)
    {
        return known(Progress::Refused(id, refusal.clone()));
    }
    if let Some(line) = Line::of(platform, requested)
        && !line.admits(id)?
    {
        return known(Progress::InLine(id));
    }
    if destination.late(platform) {
        return known(Progress::Deferred(id, Delay::OutOfTime));
    }
    if let Some(failure) = last_failure.filter(waits) {
        return known(Progress::Deferred(id, Delay::Failed(failure)));
    }
    let Claim::Won(number) = submissions.claim(SUBMISSION_LEASE)? else { return known(Progress::UnderWay(id)) };
    // Who looked before the last attempt ended and claims after it comes too late.
    if facts.launched()?.is_some() {
        return known(Progress::LaunchedBefore(id));
    }
    Ok(Step::Submit(Box::new(attempt(platform, destination, cluster, (id, number), requested)?)))
}

impl Attempt<'_> {
    /// The cluster whose gateway it calls.
    fn pushed(&self) -> Option<ClusterName> {
        matches!(self.way, Way::Push(..)).then(|| self.cluster.clone())
    }
}

/// Whether a round has as many calls of the gateway of the last attempt as may be on the way to it at once.
fn is_full(attempts: &[Attempt<'_>], last: &Attempt<'_>, pace: &Pace) -> bool {
    let same = |one: &&Attempt<'_>| matches!(one.way, Way::Push(..)) && one.cluster == last.cluster;
    attempts.iter().filter(same).count() >= pace.width(last.cluster)
}

/// The cluster of a launch, if it can be reached from here.
fn cluster<'a, P: Platform>(
    platform: &P,
    destination: &'a Destination,
    id: LaunchId,
    requested: &Requested,
) -> Result<Result<&'a Cluster, Delay>, StoreError> {
    Ok(match destination.clusters.of_launch(platform, id, requested)? {
        Some(Cluster { reach: Reach::Elsewhere, .. }) => Err(Delay::Elsewhere),
        Some(cluster) => Ok(cluster),
        None => Err(Delay::NoCluster(Ledger(platform).cluster_of(id, requested)?.unwrap_or_default())),
    })
}

/// The attempt of a claimed number. Its cluster is written down before anybody is told of it.
fn attempt<'a, P: Platform>(
    platform: &P,
    destination: &Destination,
    cluster: &'a Cluster,
    (id, number): (LaunchId, u64),
    requested: &'a Requested,
) -> Result<Attempt<'a>, Fault> {
    let facts = Ledger(platform).launch(id);
    if requested.clusters.len() > 1 && facts.cluster()?.is_none() {
        facts.record_cluster(&cluster.name)?;
    }
    let way = match &cluster.reach {
        Reach::Push(gateway) => {
            let start = start_of(platform, destination, id, requested, (&cluster.name, &gateway.secret))?;
            Way::Push(gateway, Box::new(start))
        }
        Reach::Fetch | Reach::Elsewhere => Way::Offer,
    };
    Ok(Attempt { id, number, requested, cluster: &cluster.name, way })
}

fn submit_one<P: Platform>(platform: &P, destination: &Destination, attempt: Attempt<'_>) -> Result<Progress, Fault> {
    let id = attempt.id;
    submit(platform, destination, vec![attempt]).pop().unwrap_or(Ok(Progress::UnderWay(id)))
}

/// Makes attempts that were claimed, all at once.
fn submit<P: Platform>(
    platform: &P,
    destination: &Destination,
    attempts: Vec<Attempt<'_>>,
) -> Vec<Result<Progress, Fault>> {
    let deadline = destination.deadline(platform, GATEWAY_DEADLINE);
    let several = destination.clusters.iter().count() > 1;
    let (mut results, mut starts, mut of) = (Vec::with_capacity(attempts.len()), Vec::new(), Vec::new());
    for Attempt { id, number, requested, cluster, way } in attempts {
        match way {
            Way::Push(gateway, start) => {
                of.push((results.len(), id, number, requested, cluster));
                results.push(Ok(Progress::UnderWay(id)));
                starts.push((gateway, *start));
            }
            Way::Offer => {
                let offered = offer(platform, cluster, id, number).map(|()| Progress::Offered(id, cluster.clone()));
                results.push(offered.map_err(Fault::from));
            }
        }
    }
    if starts.is_empty() {
        return results;
    }
    for (answer, (place, id, number, requested, cluster)) in
        start_runners(platform, &starts, deadline).into_iter().zip(of)
    {
        let heard = if several && answer.is_ok() { hear(platform, cluster) } else { Ok(()) };
        let noted = note(platform, (id, number), requested, cluster, answer);
        if let Some(result) = results.get_mut(place) {
            *result = noted.and_then(|progress| heard.map(|()| progress).map_err(Fault::from));
        }
    }
    results
}

/// Where there are several clusters, it is known when each last took a launch, or answered at all.
pub(super) fn hear<P: Store + Clock>(platform: &P, cluster: &ClusterName) -> Result<(), StoreError> {
    let (ledger, at) = (Ledger(platform), platform.unix_seconds());
    let heard = ledger.heard(cluster)?;
    if heard.as_ref().is_some_and(|heard| heard.at.saturating_add(HEARD_SECONDS) > at) {
        return Ok(());
    }
    ledger.record_heard(cluster, &Heard { at, ..heard.unwrap_or_default() })
}

/// Puts a launch that the gateway accepted into the audit log.
pub(super) fn record_launch<P: Platform>(
    platform: &P,
    id: LaunchId,
    requested: &Requested,
    cluster: Option<&ClusterName>,
    slurm_job: Option<&str>,
) {
    let launched = Record::Launch {
        repository: &requested.repository,
        person: requested.person.some(),
        job: id.job,
        launch: id,
        profile: &requested.profile,
        run: requested.run_id.map(|run| run.0),
        slurm_user: requested.slurm_user.as_ref().map(SlurmUser::as_str),
        cluster: cluster.filter(|name| **name != ClusterName::default()),
        slurm_job,
    };
    record(platform, &launched);
}

/// Writes down what came of an attempt.
fn note<P: Platform>(
    platform: &P,
    (id, attempt): (LaunchId, u64),
    requested: &Requested,
    cluster: &ClusterName,
    answer: Result<Option<String>, GatewayError>,
) -> Result<Progress, Fault> {
    let facts = Ledger(platform).launch(id);
    let error = match answer {
        Ok(slurm_job) => {
            // First: what the gateway accepted is in the log even if the store fails now.
            record_launch(platform, id, requested, Some(cluster), slurm_job.as_deref());
            facts.record_launched(slurm_job)?;
            return Ok(Progress::Launched(id));
        }
        Err(error) => error,
    };
    let failure =
        Failure { attempt, at: platform.unix_seconds(), kind: error.kind(), why: error.to_string(), reason: None };
    note_failed(platform, id, requested, &failure)?;
    if attempt == 1 {
        Overdue(platform).append(id.job, retry_at(id, &failure))?;
    }
    let refused = failure.kind == FailureKind::Refused;
    Ok(if refused { Progress::Refused(id, failure) } else { Progress::Deferred(id, Delay::Failed(failure)) })
}

/// Writes down that an attempt failed; what was refused leaves its place in the line.
pub(super) fn note_failed<P: Platform>(
    platform: &P,
    id: LaunchId,
    requested: &Requested,
    failure: &Failure,
) -> Result<(), StoreError> {
    if failure.kind == FailureKind::Refused
        && let Some(line) = Line::of(platform, requested)
    {
        // First: a crash in between costs a place in the line, the other way round it would take one from others.
        line.refuse(id)?;
    }
    Ledger(platform).launch(id).submissions().record_failed(failure.attempt, failure.kind, &failure.why)
}

/// Launches what stood in the line of a profile with a limit, now that a place may be free: as many as a webhook has the
/// time for.
pub fn start_waiting<P: Platform>(platform: &P, destination: &Destination, of: &Requested) -> Result<(), Fault> {
    start_line(platform, destination, of, &mut Pace::of_a_webhook()).map(drop)
}

/// Launches what stands in the line of a profile with a limit and has a place. Returns how many were launched.
pub fn start_line<P: Platform>(
    platform: &P,
    destination: &Destination,
    of: &Requested,
    pace: &mut Pace,
) -> Result<u64, Fault> {
    let Some(line) = Line::of(platform, of) else { return Ok(0) };
    let mut launched = 0;
    for _ in 0..ROUNDS {
        let mut wanted = Vec::new();
        for launch in line.next(pace.widest())? {
            wanted.extend(Need(platform).waiting(launch.job)?.map(|requested| (launch.job, requested)));
        }
        let (mut went, mut left_places) = (0, false);
        for progress in advance_all(platform, destination, &wanted, Patience::Due, pace) {
            match progress? {
                Progress::Launched(_) | Progress::Offered(..) => went += 1,
                // What is refused leaves its place to the next.
                Progress::Refused(..) => left_places = true,
                _ => {}
            }
        }
        launched += went;
        if (went == 0 && !left_places) || pace.all_stopped(&destination.clusters) || destination.late(platform) {
            break;
        }
    }
    Ok(launched)
}

/// A launch's place among those that wait in the line of its profile, from 1; `None` when it does not, or is far back.
pub fn place_in_line<S: Store + Clock>(
    store: &S,
    of: &Requested,
    launch: LaunchId,
) -> Result<Option<usize>, StoreError> {
    /// Who is further back need not know it exactly.
    const LOOK: usize = 100;
    let Some(line) = Line::of(store, of) else { return Ok(None) };
    Ok(line.waiting(LOOK)?.iter().position(|waits| *waits == launch).map(|before| before + 1))
}

/// Forgets what a deleted job left in the line of its profile.
pub fn trim_line<S: Store + Clock>(store: &S, of: &Requested) -> Result<(), Fault> {
    match Line::of(store, of) {
        Some(line) => Ok(line.trim()?),
        None => Ok(()),
    }
}

/// What is sent for a launch. Its token is signed with the key of its cluster.
pub(super) fn start_of<P: Platform>(
    platform: &P,
    destination: &Destination,
    id: LaunchId,
    requested: &Requested,
    signer: (&ClusterName, &Secret),
) -> Result<StartRunner, Fault> {
    let launch = Launch {
        repository_id: requested.repository_id,
        repository: requested.repository.clone(),
        installation: requested.installation,
        labels: requested.labels.clone(),
        run_attempt: requested.run_attempt,
        profile: requested.profile.clone(),
    };
    let redeem = &destination.redeem;
    let token = LaunchTokens::new(platform, redeem.as_str()).issue(signer, id, launch)?;
    Ok(StartRunner {
        github_url: requested.html_url.as_str().trim_end_matches('/').to_owned(),
        launch_token: token,
        runner_labels: requested.labels.to_string(),
        redeem_url: redeem.to_string(),
        runner_name: id.runner_name(),
        resources: (&requested.resources).into(),
        launch: Some(id),
        profile: Some(requested.profile.clone()),
        repository_id: Some(requested.repository_id.0),
        run_id: requested.run_id.map(|run| run.0),
        person: requested.person(),
        slurm_user: requested.slurm_user.clone(),
        level: requested.registered_at.level(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ledger::Bucket;
    use crate::testing::Memory;

    #[test]
    fn of_racing_duplicates_one_takes_a_slot_of_the_journal() {
        let platform = Memory::configured();
        let request = json!({
            "repository_id": 7, "repository": "octo/repo", "html_url": "https://github.com/octo/repo",
            "installation": 9, "labels": ["slurm"], "run_attempt": 1, "profile": "default", "resources": {},
            "created_at": platform.unix_seconds(), "at": platform.unix_seconds(),
        });
        let requested: Requested = serde_json::from_value(request).unwrap();
        // All of them looked before any of them wrote.
        assert_eq!(write_down(&platform, JobId(1), &requested), Ok(WrittenDown::WithFirstAttempt));
        for _ in 0..63 {
            assert_eq!(write_down(&platform, JobId(1), &requested), Ok(WrittenDown::Shared));
        }
        let slots = |platform| Ledger(platform).journal().slots(Bucket::at(1_800_000_000));
        assert_eq!(slots(&platform), Ok(1));
        // Whoever won died before he wrote anything: the next one does.
        let first = LaunchId { job: JobId(2), number: 1 };
        assert_eq!(Ledger(&platform).launch(first).submissions().claim_first(), Ok(true));
        assert_eq!(write_down(&platform, JobId(2), &requested), Ok(WrittenDown::Shared));
        assert!(Ledger(&platform).job(JobId(2)).view().unwrap().requested.is_some());
        assert_eq!(slots(&platform), Ok(2));
    }
}
