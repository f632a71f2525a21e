//! The tick: `POST /internal/tick`, the periodic repair.
//!
//! Webhooks come late or never, the gateway and GitHub fail, processes die. The tick walks the journal and does for each
//! job what is still to be done, takes runners that ended without a job out of GitHub's list, has GitHub repeat the
//! deliveries that failed, and deletes what is past the retention.
//! Every step may be done again at any time and by several replicas at once. A run is bounded in time, and the next one
//! goes on where it stopped.

use std::collections::HashSet;
use std::time::Duration;

use gha_slurm_core::github::client::GitHub;
use gha_slurm_core::ledger::Requested;
use gha_slurm_core::lifecycle::{Destination, Fault, Pace, retry_all_overdue};
use gha_slurm_core::ports::Platform;
use gha_slurm_core::settings::{SettingError, Settings};
use gha_slurm_edge::admin::{Right, authorize};
use gha_slurm_edge::answer::{Answer, Level};
use gha_slurm_edge::request::Request;
use gha_slurm_overview::digest;
use gha_slurm_protocol::identity::{ClusterName, JobId};
use serde_json::json;

use crate::ends::Question;

/// A tick has no body.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// A component has 30 s for a request.
const BUDGET: Duration = Duration::from_secs(20);
/// One problem repeats itself for every job; more of them say nothing new.
const MAX_PROBLEMS: usize = 20;

/// Answers one request for a run.
pub fn tick<P: Platform>(platform: &P, request: &Request) -> Answer {
    if request.method != "POST" {
        return Answer::method_not_allowed("POST");
    }
    if let Err(refusal) = authorize(platform, request, Right::Tick) {
        return refusal.into();
    }
    match run(platform) {
        Ok(report) => report.into(),
        Err(error) => error.into(),
    }
}

/// What a run did.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) jobs: u64,
    pub(crate) launched: u64,
    pub(crate) closed: u64,
    pub(crate) relaunched: u64,
    pub(crate) asked: u64,
    pub(crate) redelivered: u64,
    pub(crate) removed: u64,
    pub(crate) deleted: u64,
    /// Launches that left a silent cluster.
    pub(crate) moved: u64,
    /// Slurm jobs that were found to be over.
    pub(crate) ended: u64,
    /// Whether time ran out before all was done.
    pub(crate) more: bool,
    pub(crate) problems: Vec<String>,
}

impl Report {
    pub(crate) fn problem(&mut self, what: impl std::fmt::Display) {
        let text = what.to_string();
        if self.problems.len() < MAX_PROBLEMS && !self.problems.contains(&text) {
            self.problems.push(text);
        }
    }
}

impl From<Report> for Answer {
    fn from(report: Report) -> Self {
        let level = if report.problems.is_empty() { Level::Info } else { Level::Warn };
        let answer = Self::new(
            200,
            json!({
                "jobs": report.jobs,
                "launched": report.launched,
                "relaunched": report.relaunched,
                "closed": report.closed,
                "asked": report.asked,
                "redelivered": report.redelivered,
                "removed": report.removed,
                "deleted": report.deleted,
                "ended": report.ended,
                "moved": report.moved,
                "more": report.more,
                "problems": report.problems,
            }),
        );
        answer.at(level)
    }
}

pub(crate) fn run<P: Platform>(platform: &P) -> Result<Report, SettingError> {
    let destination = Destination::read(platform, BUDGET)?;
    let github = GitHub::new(platform, Settings(platform).github()?, BUDGET);
    let mut tick = Tick {
        platform,
        destination,
        github,
        failing: HashSet::new(),
        pace: Pace::default(),
        submissions: Vec::new(),
        questions: Vec::new(),
        removals: crate::remove::MOST_REMOVALS,
        commit_status: Settings(platform).commit_status()?,
        statuses: crate::status::MOST_STATUSES,
        report: Report::default(),
    };
    // What one step cannot do must not keep the next from its work.
    for step in [Step::Retry, Step::Redeliver, Step::Repair, Step::Clean, Step::Digest] {
        let done = match step {
            Step::Retry => tick.retry(),
            Step::Redeliver => tick.redeliver_failed(),
            Step::Repair => tick.repair_all(),
            Step::Clean => tick.clean(),
            Step::Digest => tick.digest(),
        };
        if let Err(error) = done {
            tick.report.problem(error);
        }
    }
    Ok(tick.report)
}

#[derive(Clone, Copy)]
enum Step {
    Retry,
    Redeliver,
    Repair,
    Clean,
    Digest,
}

pub(crate) struct Tick<'a, P> {
    pub(crate) platform: &'a P,
    pub(crate) destination: Destination,
    pub(crate) github: GitHub<'a, P>,
    /// Clusters whose gateway did not answer a question: they get no more of them in this run.
    pub(crate) failing: HashSet<ClusterName>,
    /// How many calls of the gateway are on the way at once.
    pub(crate) pace: Pace,
    /// Jobs whose launch is to be submitted, collected to be submitted together.
    pub(crate) submissions: Vec<(JobId, Requested)>,
    /// Launches whose Slurm jobs are to be asked for, collected to be asked for together.
    pub(crate) questions: Vec<Question>,
    /// How often GitHub may still be asked in this run to remove a runner.
    pub(crate) removals: u32,
    /// Whether authors are told how long Slurm lets a job wait.
    pub(crate) commit_status: bool,
    /// How many of them may still be told in this run.
    pub(crate) statuses: u32,
    pub(crate) report: Report,
}

impl<P: Platform> Tick<'_, P> {
    pub(crate) fn late(&mut self) -> bool {
        let late = self.destination.late(self.platform);
        self.report.more |= late;
        late
    }

    /// What pages and figures are made of; what is left for later is no work that waits.
    fn digest(&mut self) -> Result<(), Fault> {
        Ok(digest(self.platform, || !self.destination.late(self.platform))?)
    }

    fn retry(&mut self) -> Result<(), Fault> {
        if !self.late() {
            self.report.launched += retry_all_overdue(self.platform, &self.destination, &mut self.pace)?;
        }
        Ok(())
    }
}
