//! The tick: `POST /internal/tick`, the periodic repair.
//!
//! Webhooks come late or never, the gateway and GitHub fail, processes die. The tick walks the journal and does for each
//! job what is still to be done, takes runners that ended without a job out of GitHub's list, reads the deliveries that
//! did not arrive, and deletes what is past the retention.
//! Every step may be done again at any time and by several replicas at once. A run is bounded in time, and the next one
//! goes on where it stopped.

use std::collections::HashSet;
use std::time::Duration;

use gha_slurm_core::github::client::GitHub;
use gha_slurm_core::ledger::Requested;
use gha_slurm_core::lifecycle::{Destination, Fault, Pace, retry_all_overdue};
use gha_slurm_core::ports::Platform;
use gha_slurm_core::settings::{SettingError, Settings, Webhooks};
use gha_slurm_edge::admin::{Right, authorize};
use gha_slurm_edge::answer::{Answer, Level};
use gha_slurm_edge::request::Request;
use gha_slurm_overview::digest;
use gha_slurm_protocol::identity::{ClusterName, JobId};
use serde_json::{Value, json};

use crate::deliveries::Reader;
use crate::ends::Question;

/// A tick has no body.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The route that reads deliveries and does nothing else.
const DELIVERIES: &str = "/internal/deliveries";
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
    if request.path() == DELIVERIES {
        return read_deliveries(platform);
    }
    match run(platform) {
        Ok(report) => report.into(),
        Err(error) => error.into(),
    }
}

/// Reads deliveries and does nothing else: a host that has a clock asks for it every few seconds.
fn read_deliveries<P: Platform>(platform: &P) -> Answer {
    let settings = Settings(platform);
    let github = match (settings.webhooks(), settings.github()) {
        (Ok(Webhooks::Poll), Ok(github)) => GitHub::new(platform, github, BUDGET),
        (Ok(Webhooks::Receive), _) => {
            return Answer::error(404, "webhooks are received here (webhooks = receive), and nothing is read");
        }
        // Until the App is set up there is nothing to be read, which the host asks for all the same.
        (_, Err(error @ SettingError::Unconfigured { .. })) => {
            let body = json!({"read": 0, "behind": 0, "more": false, "problems": [error.to_string()]});
            return Answer::new(200, body).at(Level::Debug);
        }
        (Err(error), _) | (_, Err(error)) => return error.into(),
    };
    let mut report = Report::default();
    if let Err(fault) = Reader::new(platform, &github, BUDGET, &mut report).poll() {
        return fault.into();
    }
    // Whoever asks every few seconds should do so less often then.
    let status = if report.unread { 503 } else { 200 };
    let level = if report.read == 0 { Level::Debug } else { Level::Info };
    let Report { read, behind, more, problems, .. } = &report;
    report.answer(status, json!({"read": read, "behind": behind, "more": more, "problems": problems}), level)
}

/// What a run did.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) jobs: u64,
    pub(crate) launched: u64,
    pub(crate) closed: u64,
    pub(crate) relaunched: u64,
    pub(crate) asked: u64,
    /// Deliveries that were read from GitHub's list and handled.
    pub(crate) read: u64,
    /// Deliveries that GitHub was asked to repeat.
    pub(crate) redelivered: u64,
    /// About how many deliveries wait to be read.
    pub(crate) behind: u64,
    /// Whether GitHub's list, or what comes next in it, could not be read.
    pub(crate) unread: bool,
    /// What was decided about deliveries that were read, for the log.
    pub(crate) handled: Vec<Value>,
    /// Whether an operator should see one of those decisions.
    pub(crate) worries: bool,
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

impl Report {
    /// An answer with this body; what was decided about deliveries goes to the log.
    fn answer(&self, status: u16, body: Value, level: Level) -> Answer {
        let worries = self.worries || !self.problems.is_empty();
        let mut answer = Answer::new(status, body).at(if worries { Level::Warn } else { level });
        if let (Some(log), false) = (answer.log.as_object_mut(), self.handled.is_empty()) {
            log.insert("deliveries".to_owned(), self.handled.clone().into());
        }
        answer
    }
}

impl From<Report> for Answer {
    fn from(report: Report) -> Self {
        report.answer(
            200,
            json!({
                "jobs": report.jobs,
                "launched": report.launched,
                "relaunched": report.relaunched,
                "closed": report.closed,
                "asked": report.asked,
                "read": report.read,
                "redelivered": report.redelivered,
                "removed": report.removed,
                "deleted": report.deleted,
                "ended": report.ended,
                "moved": report.moved,
                "more": report.more,
                "problems": report.problems,
            }),
            Level::Info,
        )
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
    for step in [Step::Retry, Step::Deliveries, Step::Repair, Step::Clean, Step::Digest] {
        let done = match step {
            Step::Retry => tick.retry(),
            Step::Deliveries => tick.deliveries(),
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
    Deliveries,
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

    /// Reads deliveries. It has half of a run: a backlog must not keep the next steps from their work.
    fn deliveries(&mut self) -> Result<(), Fault> {
        let Self { platform, github, destination, report, .. } = self;
        let budget = destination.deadline(*platform, BUDGET / 2);
        let mut reader = Reader::new(*platform, github, budget, report);
        match Settings(*platform).webhooks()? {
            Webhooks::Receive => reader.read_lost(),
            Webhooks::Poll => reader.poll(),
        }
    }

    fn retry(&mut self) -> Result<(), Fault> {
        if !self.late() {
            self.report.launched += retry_all_overdue(self.platform, &self.destination, &mut self.pace)?;
        }
        Ok(())
    }
}
