//! Gateways that fetch, as the exchange's contract has them.
//!
//! Each has an index of its own, which survives it, and a list of what the app is still to be told, which is repeated until
//! an exchange that carried it was answered. What it does with a launch takes time, and it may die between any two steps.

use gha_slurm_protocol::exchange::{Exchange, News, Orders, QueueLength, Report};
use gha_slurm_protocol::identity::LaunchId;
use gha_slurm_protocol::slurm_job::SlurmJob as Told;
use serde_json::{Value, json};

use crate::setup::{Reach, Setup};
use crate::world::World;

/// After that nothing is begun under a lease any more.
const BEGIN_SECONDS: u64 = 60;
/// A replica whose clock is ahead takes a gateway for absent after so long.
const LONG_SECONDS: u64 = 60;
/// So long an attempt to submit lasts at the most.
const ATTEMPT_SECONDS: u64 = 55;
/// That a launch was not submitted is told no later.
const LEASE_SECONDS: u64 = 120;
/// So many exchanges may come again.
const MOST_SAID: usize = 8;

/// One gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) cluster: usize,
    pub(crate) name: String,
    pub(crate) alive: bool,
    /// It fetches and reports nothing.
    pub(crate) sulks: bool,
    /// What it said, which may arrive late and again.
    pub(crate) said: Vec<Exchange>,
    rows: Rows,
    untold: Vec<(u64, Report)>,
    numbers: u64,
    /// When it last asked.
    asked_at: u64,
}

#[derive(Debug)]
struct Row {
    start: Value,
    step: Step,
    /// Another gateway may have submitted it.
    again: bool,
    /// It is never submitted any more.
    cancelled: bool,
    told: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// It was fetched at that time.
    Fetched(u64),
    /// Slurm was asked to take it at that time.
    Submitting(u64),
    /// It is that Slurm job.
    Submitted(usize),
    /// It has none.
    Nothing,
}

/// The launch index.
#[derive(Debug, Default)]
struct Rows(Vec<(LaunchId, Row)>);

impl Rows {
    fn get(&self, launch: LaunchId) -> Option<&Row> {
        self.0.iter().find(|(of, _)| *of == launch).map(|(_, row)| row)
    }

    fn get_mut(&mut self, launch: LaunchId) -> Option<&mut Row> {
        self.0.iter_mut().find(|(of, _)| *of == launch).map(|(_, row)| row)
    }

    fn put(&mut self, launch: LaunchId, row: Row) {
        self.0.retain(|(of, _)| *of != launch);
        self.0.push((launch, row));
    }
}

impl Gateway {
    fn tell(&mut self, launch: LaunchId, news: News) {
        self.numbers += 1;
        self.untold.push((self.numbers, Report { launch, news }));
    }

    /// What is told of a launch that is not submitted.
    fn drop_row(&mut self, launch: LaunchId, news: Option<News>) {
        self.rows.0.retain(|(of, _)| *of != launch);
        if let Some(news) = news {
            self.tell(launch, news);
        }
    }

    fn in_step(&self, wanted: impl Fn(Step) -> bool) -> Vec<LaunchId> {
        self.rows.0.iter().filter(|(_, row)| wanted(row.step)).map(|(launch, _)| *launch).collect()
    }

    /// The numbers of the reports that the next exchange carries.
    pub(crate) fn carried(&self) -> Vec<u64> {
        if self.sulks { Vec::new() } else { self.untold.iter().map(|(number, _)| *number).collect() }
    }

    /// Whether it has nothing to do and nothing to tell.
    pub(crate) fn is_calm(&self) -> bool {
        self.untold.is_empty() && self.in_step(|step| matches!(step, Step::Fetched(_) | Step::Submitting(_))).is_empty()
    }
}

impl World {
    /// Puts the gateways that fetch in their places.
    pub(crate) fn set_up(&mut self, setup: Setup) {
        (self.pushed, self.polled) = (setup.pushed(), setup.polled);
        for (cluster, reach) in setup.clusters().into_iter().enumerate() {
            let Reach::Fetch(gateways) = reach else { continue };
            self.gateways.extend((0..gateways).map(|number| Gateway {
                cluster,
                name: format!("login{number}"),
                alive: true,
                sulks: false,
                said: Vec::new(),
                rows: Rows::default(),
                untold: Vec::new(),
                numbers: 0,
                asked_at: self.now,
            }));
        }
    }

    /// Whether one that has another beside it was not heard of for so long that a cancel of its launch may have gone to that
    /// other, which knows nothing of it.
    pub(crate) fn note_absence(&mut self, index: usize) {
        let (of, now) = (self.gateways[index].cluster, self.now);
        let others = self.gateways.iter().filter(|other| other.cluster == of).count() > 1;
        self.gateway_deaths += usize::from(others && now > self.gateways[index].asked_at + LONG_SECONDS);
        self.gateways[index].asked_at = now;
    }

    /// What a gateway says next.
    pub(crate) fn says(&mut self, index: usize, room: u32) -> Exchange {
        let gateway = &self.gateways[index];
        let of_state = |wanted: &str| {
            let submitted = gateway.rows.0.iter().filter_map(|(_, row)| match row.step {
                Step::Submitted(job) => Some(job),
                _ => None,
            });
            u32::try_from(submitted.filter(|job| self.slurm_state(*job) == wanted).count()).unwrap()
        };
        let queue = Some(QueueLength { pending: of_state("PENDING"), running: of_state("RUNNING") });
        let carried = gateway.carried();
        let reports = gateway.untold.iter().filter(|(number, _)| carried.contains(number));
        let reports = reports.map(|(_, report)| report.clone()).collect();
        let said = Exchange { gateway: gateway.name.clone(), room, reports, queue };
        let all = &mut self.gateways[index].said;
        all.push(said.clone());
        if all.len() > MOST_SAID {
            all.remove(0);
        }
        said
    }

    /// A gateway is answered.
    pub(crate) fn hears(&mut self, index: usize, carried: &[u64], orders: Orders) {
        let now = self.now;
        let again = |report: &Report| orders.not_taken.contains(&report.launch);
        self.gateways[index].untold.retain(|(number, report)| !carried.contains(number) || again(report));
        for launch in orders.cancel {
            self.cancel_at(index, launch);
        }
        for leased in orders.launches {
            let launch = leased.start.launch.unwrap();
            let gateway = &mut self.gateways[index];
            match gateway.rows.get(launch) {
                Some(row) if row.cancelled => gateway.tell(launch, News::Cancelled),
                Some(Row { step: Step::Submitted(job), .. }) => {
                    let job_id = job.to_string();
                    gateway.tell(launch, News::Submitted { job_id });
                }
                Some(Row { step: Step::Submitting(_), .. }) => {}
                Some(Row { step: Step::Fetched(at), .. }) if now <= at + BEGIN_SECONDS => {}
                _ => {
                    let start = json!(leased.start);
                    let (step, again) = (Step::Fetched(now), leased.again);
                    gateway.rows.put(launch, Row { start, step, again, cancelled: false, told: "" });
                }
            }
        }
    }

    fn cancel_at(&mut self, index: usize, launch: LaunchId) {
        let gateway = &mut self.gateways[index];
        if gateway.rows.get(launch).is_none() {
            let row = Row { start: Value::Null, step: Step::Nothing, again: false, cancelled: false, told: "" };
            gateway.rows.put(launch, row);
        }
        let row = gateway.rows.get_mut(launch).unwrap();
        row.cancelled = true;
        let step = row.step;
        match step {
            // It is cancelled as soon as Slurm has it.
            Step::Submitting(_) => return,
            Step::Submitted(job) => self.end(job),
            Step::Fetched(_) | Step::Nothing => {}
        }
        self.gateways[index].tell(launch, News::Cancelled);
    }

    /// A Slurm job is cancelled by the app's order.
    fn end(&mut self, job: usize) {
        let name = self.slurm[job].start["runnerName"].as_str().unwrap().to_owned();
        if self.runners.iter().any(|runner| runner.name == name) {
            self.violations.push(format!("I5: the app has {name} cancelled, whose runner registered"));
        }
        if self.slurm[job].pending {
            self.slurm[job].pending = false;
            self.slurm[job].end = "CANCELLED";
        }
    }

    /// A gateway goes on with what it fetched.
    pub(crate) fn begin(&mut self, index: usize) {
        let now = self.now;
        for launch in self.gateways[index].in_step(|step| matches!(step, Step::Fetched(_))) {
            let found = self.named(self.gateways[index].cluster, launch);
            let gateway = &mut self.gateways[index];
            let row = gateway.rows.get_mut(launch).unwrap();
            let Step::Fetched(at) = row.step else { continue };
            if row.cancelled {
                row.step = Step::Nothing;
            } else if now > at + BEGIN_SECONDS {
                let surely = !row.again && now < at + LEASE_SECONDS;
                let message = "too late".to_owned();
                gateway.drop_row(launch, surely.then_some(News::Unavailable { message }));
            } else if let Some(job) = found.filter(|_| row.again) {
                row.step = Step::Submitted(job);
                gateway.tell(launch, News::Submitted { job_id: job.to_string() });
            } else {
                row.step = Step::Submitting(now);
            }
        }
    }

    /// Slurm answers what a gateway submits.
    pub(crate) fn land(&mut self, index: usize) {
        for launch in self.gateways[index].in_step(|step| matches!(step, Step::Submitting(_))) {
            self.land_one(index, launch);
        }
    }

    fn land_one(&mut self, index: usize, launch: LaunchId) {
        let gateway = &self.gateways[index];
        let (cluster, row) = (gateway.cluster, gateway.rows.get(launch).unwrap());
        let (start, cancelled) = (row.start.clone(), row.cancelled);
        if self.refused.contains(&launch.job.0) {
            let news = News::Refused { message: "no Slurm user".to_owned() };
            return self.gateways[index].drop_row(launch, Some(news));
        }
        if self.slurm_away {
            let news = News::Unavailable { message: "slurmctld is away".to_owned() };
            return self.gateways[index].drop_row(launch, Some(news));
        }
        let job = self.submit(cluster, start);
        let gateway = &mut self.gateways[index];
        gateway.rows.get_mut(launch).unwrap().step = Step::Submitted(job);
        if cancelled {
            self.end(job);
            self.gateways[index].tell(launch, News::Cancelled);
        } else {
            gateway.tell(launch, News::Submitted { job_id: job.to_string() });
        }
    }

    /// What Slurm was asked to take comes to its end before so much time has passed.
    pub(crate) fn land_in_time(&mut self, seconds: u64) {
        let until = self.now + seconds;
        let alive: Vec<usize> = (0..self.gateways.len()).filter(|index| self.gateways[*index].alive).collect();
        for index in alive {
            let ends = |step| matches!(step, Step::Submitting(begun) if until > begun + ATTEMPT_SECONDS);
            for launch in self.gateways[index].in_step(ends) {
                self.land_one(index, launch);
            }
        }
    }

    /// A gateway looks at its Slurm jobs.
    pub(crate) fn look(&mut self, index: usize) {
        for launch in self.gateways[index].in_step(|step| matches!(step, Step::Submitted(_))) {
            let Step::Submitted(job) = self.gateways[index].rows.get(launch).unwrap().step else { continue };
            let state = self.slurm_state(job);
            let gateway = &mut self.gateways[index];
            let row = gateway.rows.get_mut(launch).unwrap();
            if row.told != state {
                row.told = state;
                let (job_id, state) = (Some(job.to_string()), state.to_owned());
                let told = Told { job_id, state, reason: None, starts_in: Some(60), position: Some(1) };
                gateway.tell(launch, News::State(told));
            }
        }
    }

    /// A gateway dies; Slurm `took` what was on its way, or did not.
    pub(crate) fn gateway_dies(&mut self, index: usize, took: bool) {
        self.gateways[index].alive = false;
        self.gateway_deaths += 1;
        for launch in self.gateways[index].in_step(|step| matches!(step, Step::Submitting(_))) {
            let (cluster, start) =
                (self.gateways[index].cluster, self.gateways[index].rows.get(launch).unwrap().start.clone());
            if took && !self.slurm_away && !self.refused.contains(&launch.job.0) {
                self.submit(cluster, start);
            }
        }
    }

    /// A gateway is back, and asks Slurm for what it does not know to be submitted.
    pub(crate) fn gateway_is_back(&mut self, index: usize) {
        self.gateways[index].alive = true;
        for launch in self.gateways[index].in_step(|step| matches!(step, Step::Fetched(_) | Step::Submitting(_))) {
            let found = self.named(self.gateways[index].cluster, launch);
            let gateway = &mut self.gateways[index];
            let row = gateway.rows.get_mut(launch).unwrap();
            let (cancelled, job) = (row.cancelled, found);
            match job {
                Some(job) => {
                    row.step = Step::Submitted(job);
                    if cancelled {
                        self.end(job);
                        self.gateways[index].tell(launch, News::Cancelled);
                    } else {
                        gateway.tell(launch, News::Submitted { job_id: job.to_string() });
                    }
                }
                None if cancelled => {
                    row.step = Step::Nothing;
                    gateway.tell(launch, News::Cancelled);
                }
                None => gateway.drop_row(launch, None),
            }
        }
    }

    /// The Slurm job of a launch's name.
    fn named(&self, cluster: usize, launch: LaunchId) -> Option<usize> {
        let launch = launch.to_string();
        self.slurm.iter().position(|job| job.cluster == cluster && job.start["launch"] == launch.as_str())
    }
}
