//! The figures of all jobs that are kept: how many are in each state, how long stages take, and how the last day went.

use std::collections::{BTreeMap, HashMap, HashSet};

use gha_slurm_core::cluster::Clusters;
use gha_slurm_core::ledger::Stops;
use gha_slurm_core::ports::{Clock, Store, StoreError, Variables};
use gha_slurm_protocol::identity::JobId;
use serde::Serialize;

use super::rows::{Reader, Row};
use super::summary::Times;
use super::{ClusterSummary, State, Why, clusters};

/// How many jobs are read from their facts in one call.
const BUDGET: usize = 2048;
const DAY_SECONDS: u64 = 24 * 60 * 60;
/// The length of one point of the last day.
const POINT_SECONDS: u64 = 15 * 60;
/// More problems than this are the same ones again.
const MAX_PROBLEMS: usize = 20;

/// The figures of all jobs that are kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Figures {
    /// When they were made, as a Unix time in seconds.
    pub at: u64,
    /// Whether all jobs are counted. If not, the next tick continues to count.
    pub complete: bool,
    /// Whether the operator stopped the launches of all repositories.
    pub stopped: bool,
    /// How many jobs are in each state; a state without jobs is left out.
    pub states: BTreeMap<State, u64>,
    /// The same by repository and profile, those with the most waiting jobs first.
    pub groups: Vec<Group>,
    /// The Slurm clusters, in the order of the configuration; empty where the variable `clusters` names none.
    pub clusters: Vec<ClusterSummary>,
    /// How long each stage took for the jobs that left it within the last day.
    pub stages: Vec<StageTimes>,
    /// The last 24 h, the oldest point first.
    pub day: Vec<Point>,
    /// What goes wrong with waiting jobs, newest first.
    pub troubles: Vec<Trouble>,
    /// Facts in the store that cannot be read, and the variable `clusters` if it cannot.
    pub problems: Vec<String>,
}

/// The jobs of one repository and profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Group {
    /// The repository; empty for jobs without a queued webhook.
    pub repository: String,
    /// The profile.
    pub profile: String,
    /// How many are in each state.
    pub states: BTreeMap<State, u64>,
    /// How many ended with each of GitHub's conclusions.
    pub conclusions: BTreeMap<String, u64>,
    /// How many wait for a runner.
    pub waiting: u64,
    /// How long the oldest of these has been waiting, in seconds.
    pub oldest_seconds: u64,
}

/// How long a stage took, in seconds, for the jobs that left it in the last 24 h.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StageTimes {
    /// The stage.
    pub stage: Stage,
    /// How many jobs.
    pub jobs: usize,
    /// The median.
    pub median: u64,
    /// The 95th percentile.
    pub p95: u64,
    /// The maximum.
    pub max: u64,
}

/// A part of a job's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Stage {
    /// From receiving the queued webhook until the gateway accepted the launch.
    Submit,
    /// From there until the credential was handed out: Slurm's queue, and the start of the job script.
    Pending,
    /// From there until a runner took the job.
    Start,
    /// From receiving the queued webhook until a runner took the job: how long a user waits.
    Wait,
    /// From there until the job ended.
    Run,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Submit, Self::Pending, Self::Start, Self::Wait, Self::Run];

    /// Its word in the API and in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Pending => "pending",
            Self::Start => "start",
            Self::Wait => "wait",
            Self::Run => "run",
        }
    }

    /// When a job left it and how long it took, if it did.
    pub fn of(self, times: &Times) -> Option<(u64, u64)> {
        let (from, to) = match self {
            Self::Submit => (times.received, times.submitted),
            Self::Pending => (times.submitted, times.redeemed),
            Self::Start => (times.redeemed, times.started),
            Self::Wait => (times.received, times.started),
            Self::Run => (times.started, times.finished),
        };
        let (from, to) = (from?, to?);
        // Events may come late: a stage that ended before it began says nothing.
        Some((to, to.checked_sub(from)?))
    }
}

/// A quarter of an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Point {
    /// When it ended, as a Unix time in seconds; the last one has not ended yet.
    pub at: u64,
    /// How many jobs waited at its end.
    pub waiting: u64,
    /// How many jobs a runner took in it.
    pub started: u64,
    /// The median time that these had waited, in seconds; null if there are none.
    pub median_wait: Option<u64>,
}

/// What goes wrong with a waiting job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Trouble {
    /// The job.
    pub job: JobId,
    /// Its repository.
    pub repository: String,
    /// Its state.
    pub state: State,
    /// Since when it is in this state, as a Unix time in seconds.
    pub since: u64,
    /// What happened.
    pub why: Why,
}

/// Makes the figures.
pub fn figures<P: Store + Clock + Variables>(platform: &P) -> Result<Figures, StoreError> {
    let (rows, reader) = all_rows(platform, BUDGET)?;
    let now = platform.unix_seconds();
    let (clusters, malformed) = match clusters::named(platform) {
        Ok(Some(named)) => (clusters::summaries(platform, &named, &rows)?, None),
        Ok(None) => (Vec::new(), None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let mut problems: Vec<String> = malformed.into_iter().chain(reader.problems).collect();
    problems.truncate(MAX_PROBLEMS);
    let mut states = BTreeMap::new();
    for row in &rows {
        *states.entry(row.state).or_default() += 1;
    }
    Ok(Figures {
        at: now,
        complete: reader.complete,
        stopped: Stops(platform).all_stopped()?,
        states,
        groups: groups(&rows, now),
        clusters,
        stages: Stage::ALL.iter().map(|stage| stage_times(*stage, &rows, now)).collect(),
        day: day(&rows, now),
        troubles: troubles(&rows),
        problems,
    })
}

/// The Slurm clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClusterList {
    /// Whether all jobs that wait for a cluster are counted. If not, the next tick continues to count.
    pub complete: bool,
    /// In the order of the configuration; empty where the variable `clusters` names none.
    pub clusters: Vec<ClusterSummary>,
}

/// The clusters with what waits for each.
pub fn cluster_list<P: Store + Clock + Variables>(
    platform: &P,
    named: Option<&Clusters>,
) -> Result<ClusterList, StoreError> {
    let Some(named) = named else { return Ok(ClusterList { complete: true, clusters: Vec::new() }) };
    let (rows, reader) = all_rows(platform, BUDGET)?;
    Ok(ClusterList { complete: reader.complete, clusters: clusters::summaries(platform, named, &rows)? })
}

/// The row of every job, once.
pub fn all_rows<P: Store + Clock + Variables>(
    platform: &P,
    budget: usize,
) -> Result<(Vec<Row>, Reader<'_, P>), StoreError> {
    let mut reader = Reader::new(platform, budget);
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    reader.walk(None, |_, _, rows| {
        all.extend(rows.into_iter().filter(|row| seen.insert(row.job)));
        Ok(true)
    })?;
    Ok((all, reader))
}

fn groups(rows: &[Row], now: u64) -> Vec<Group> {
    // Rows of one reader share their strings, so comparing addresses is enough.
    let mut groups: HashMap<(*const u8, *const u8), Group> = HashMap::new();
    for row in rows {
        let group = groups.entry((row.repository.as_ptr(), row.profile.as_ptr())).or_insert_with(|| Group {
            repository: row.repository.to_string(),
            profile: row.profile.to_string(),
            states: BTreeMap::new(),
            conclusions: BTreeMap::new(),
            waiting: 0,
            oldest_seconds: 0,
        });
        *group.states.entry(row.state).or_default() += 1;
        if row.state == State::Finished {
            match group.conclusions.get_mut(&*row.conclusion) {
                Some(count) => *count += 1,
                None => {
                    group.conclusions.insert(row.conclusion.to_string(), 1);
                }
            }
        }
        if row.state.waits() {
            group.waiting += 1;
            group.oldest_seconds = group.oldest_seconds.max(row.times.waited(now).unwrap_or(0));
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by(|a, b| (b.waiting, &a.repository, &a.profile).cmp(&(a.waiting, &b.repository, &b.profile)));
    groups
}

fn stage_times(stage: Stage, rows: &[Row], now: u64) -> StageTimes {
    let mut took: Vec<u64> = rows
        .iter()
        .filter_map(|row| stage.of(&row.times))
        .filter(|(left, _)| left.saturating_add(DAY_SECONDS) > now)
        .map(|(_, seconds)| seconds)
        .collect();
    took.sort_unstable();
    let at = |part: usize| took.get((took.len() * part / 100).min(took.len().saturating_sub(1))).copied().unwrap_or(0);
    StageTimes { stage, jobs: took.len(), median: at(50), p95: at(95), max: took.last().copied().unwrap_or(0) }
}

fn day(rows: &[Row], now: u64) -> Vec<Point> {
    let last = now / POINT_SECONDS;
    let first = last.saturating_sub(DAY_SECONDS / POINT_SECONDS - 1);
    let count = usize::try_from(last - first + 1).unwrap_or(0);
    let index = |at: u64| (at / POINT_SECONDS).checked_sub(first).and_then(|index| usize::try_from(index).ok());
    let mut changes = vec![0i64; count + 1];
    let mut waits: Vec<Vec<u64>> = vec![Vec::new(); count];
    for row in rows {
        let Some(received) = row.times.received.filter(|_| !row.repository.is_empty()) else { continue };
        let over = row.times.started.or(row.times.finished).or((!row.state.waits()).then_some(row.since));
        if over.is_some_and(|over| over < received) {
            continue;
        }
        // It is waiting at the end of each point from its arrival to the last one before its start.
        if let Some(change) = changes.get_mut(index(received).unwrap_or(0)) {
            *change += 1;
        }
        if let Some(change) = over.and_then(|over| changes.get_mut(index(over).unwrap_or(0))) {
            *change -= 1;
        }
        if let Some((left, seconds)) = Stage::Wait.of(&row.times)
            && let Some(waits) = index(left).and_then(|index| waits.get_mut(index))
        {
            waits.push(seconds);
        }
    }
    let mut waiting = 0i64;
    let mut points = Vec::with_capacity(count);
    for ((change, mut waits), number) in changes.into_iter().zip(waits).zip(first..) {
        waiting += change;
        waits.sort_unstable();
        points.push(Point {
            at: (number + 1) * POINT_SECONDS,
            waiting: u64::try_from(waiting).unwrap_or(0),
            started: u64::try_from(waits.len()).unwrap_or(0),
            median_wait: waits.get(waits.len() / 2).copied(),
        });
    }
    points
}

fn troubles(rows: &[Row]) -> Vec<Trouble> {
    let troubled = |row: &&Row| {
        let failed = row.submit_failures > 0 || row.redeem_failures > 0;
        failed || row.state == State::GivenUp || matches!(row.why, Some(Why::ClusterSilent(_) | Why::NoCluster(_)))
    };
    let mut troubles: Vec<Trouble> = rows
        .iter()
        .filter(|row| row.state.waits())
        .filter(troubled)
        .filter_map(|row| {
            let (repository, why) = (row.repository.to_string(), row.why.clone()?);
            Some(Trouble { job: row.job, repository, state: row.state, since: row.since, why })
        })
        .collect();
    troubles.sort_by_key(|trouble| std::cmp::Reverse(trouble.since));
    troubles.truncate(MAX_PROBLEMS);
    troubles
}
