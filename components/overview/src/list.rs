//! Jobs page by page, newest first.

use std::collections::HashSet;
use std::str::FromStr;

use gha_slurm_core::ledger::{CHUNK, JobRecord, Ledger, Place};
use gha_slurm_core::ports::{Clock, Store, StoreError, Variables};
use gha_slurm_protocol::identity::JobId;
use serde::Serialize;

use super::State;
use super::rows::{Reader, Row};
use super::seen::Seen;
use super::summary::{JobSummary, summaries};

/// The most jobs of one page.
pub const MAX_LIMIT: usize = 200;
/// How many jobs are read from their facts for one page; a filter that finds little continues on the next one.
const BUDGET: usize = 1024;
/// How many chunks of the journal are searched for one page.
const CHUNKS: usize = 128;

/// Which jobs. An absent field filters nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In one of these states.
    pub state: Option<StateFilter>,
    /// Of this repository, compared without case.
    pub repository: Option<String>,
    /// Of this profile.
    pub profile: Option<String>,
    /// Of this cluster.
    pub cluster: Option<String>,
}

/// One state, or all in which a job waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFilter {
    /// Any state in which a job waits for a runner: the word `waiting`.
    Waiting,
    /// This state.
    Only(State),
}

impl FromStr for StateFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "waiting" { Ok(Self::Waiting) } else { text.parse().map(Self::Only) }
    }
}

impl Filter {
    fn lets(&self, row: &Row) -> bool {
        let state = match self.state {
            None => true,
            Some(StateFilter::Waiting) => row.state.waits(),
            Some(StateFilter::Only(state)) => row.state == state,
        };
        state
            && self.repository.as_ref().is_none_or(|only| only.eq_ignore_ascii_case(&row.repository))
            && self.profile.as_ref().is_none_or(|only| **only == *row.profile)
            && self.cluster.as_ref().is_none_or(|only| **only == *row.cluster)
    }
}

/// A page of jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobPage {
    /// The jobs, newest first. A page may have fewer jobs than asked for, or none, even if more follow.
    pub jobs: Vec<JobSummary>,
    /// The value of the parameter "before" for older jobs; null if there are none.
    pub next: Option<String>,
}

/// At most `limit` jobs that match a filter and are older than `before`.
pub fn jobs<P: Store + Clock + Variables>(
    platform: &P,
    filter: &Filter,
    before: Option<Place>,
    limit: usize,
) -> Result<JobPage, StoreError> {
    let (records, next, mut seen) = records(platform, filter, before, limit.clamp(1, MAX_LIMIT))?;
    Ok(JobPage { jobs: summaries(platform, &records, &mut seen)?, next: next.map(|place| place.to_string()) })
}

/// The records of the newest jobs.
pub(crate) fn newest<P: Store + Clock + Variables>(platform: &P, limit: usize) -> Result<Vec<JobRecord>, StoreError> {
    records(platform, &Filter::default(), None, limit).map(|(records, ..)| records)
}

/// The records of a page, where the next one begins, and what else was seen on the way.
fn records<P: Store + Clock + Variables>(
    platform: &P,
    filter: &Filter,
    before: Option<Place>,
    limit: usize,
) -> Result<(Vec<JobRecord>, Option<Place>, Seen), StoreError> {
    let mut found: Vec<Row> = Vec::new();
    let mut seen: HashSet<JobId> = HashSet::new();
    let mut next = None;
    let mut chunks = 0;
    // A job that has ended is in none of these states.
    let open_only = match filter.state {
        None => false,
        Some(StateFilter::Waiting) => true,
        Some(StateFilter::Only(state)) => state.waits() || state == State::Running,
    };
    let mut reader = Reader::new(platform, BUDGET).open_only(open_only);
    reader.walk(before, |reader, (bucket, chunk), rows| {
        chunks += 1;
        if !reader.complete || chunks > CHUNKS {
            // This chunk is for the next page.
            next = Some(Place { bucket, slot: (chunk + 1) * CHUNK + 1 });
            return Ok(false);
        }
        for row in rows {
            if before.is_some_and(|before| row.place >= before) || !filter.lets(&row) || !seen.insert(row.job) {
                continue;
            }
            if found.len() == limit {
                next = found.last().map(|row| row.place);
                return Ok(false);
            }
            found.push(row);
        }
        Ok(true)
    })?;
    let ids: Vec<JobId> = found.iter().map(|row| row.job).collect();
    Ok((Ledger(platform).records(&ids)?.into_iter().flatten().collect(), next, reader.seen))
}
