//! How a history ends: the world calms down, and everything must have come to a good end.

use std::collections::{BTreeMap, BTreeSet};

use gha_slurm_core::ledger::RETENTION_SECONDS;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::act::Act;
use crate::fetching::Gateway;
use crate::history::{History, MAX_JOBS};
use crate::world::{Job, Status, Webhook};

impl History {
    /// Whether the app has heard that the job of a launch is over.
    fn knows_the_end_of(&self, start: &Value) -> bool {
        let job = start["launch"].as_str().unwrap().split('-').next().unwrap();
        self.knows(&format!("job/{job}/finished"))
    }

    /// All gateways that fetch do what they have to do.
    pub(crate) fn gateways_work(&self) {
        let gateways = self.world.borrow().gateways.len();
        (0..gateways).for_each(|index| self.work(index));
    }

    /// A pending Slurm job begins to run, unless its gateway has to cancel it before.
    fn run_what_is_wanted(&self) {
        let pending: Vec<bool> = {
            let world = self.world.borrow();
            // One that a gateway submitted which then was away for long may be cancelled by nobody.
            let cancels = |cluster| Some(cluster) != world.pushed && world.gateway_deaths == 0;
            let pending = world.slurm.iter().filter(|job| job.pending);
            pending.map(|job| !(cancels(job.cluster) && self.gave_up(&job.start))).collect()
        };
        if let Some(index) = pending.iter().position(|wanted| *wanted) {
            self.act(&Act::Run(index));
        }
    }

    /// The world calms down: everything works, and everything under way arrives.
    pub(crate) fn calm(&self) {
        self.platform.lives.set(None);
        self.platform.uninterrupted();
        self.act(&Act::Ahead(false));
        let gateways = self.world.borrow().gateways.len();
        for index in 0..gateways {
            self.act(&Act::GatewayIsBack(index));
            self.world.borrow_mut().gateways[index].sulks = false;
        }
        {
            let mut world = self.world.borrow_mut();
            (0..gateways).for_each(|index| world.note_absence(index));
            world.calm = true;
            (world.lose_exchange, world.slurm_away) = (false, false);
            world.away = false;
            world.lose_answer = false;
            world.nameless = false;
            world.unshown = 0;
            world.refused.clear();
        }
        for _ in 0..MAX_JOBS {
            self.act(&Act::Approve(0));
        }
        for _ in 0..120 {
            while !self.world.borrow().webhooks.is_empty() {
                self.act(&Act::Deliver(0));
            }
            self.tick();
            self.gateways_work();
            self.run_what_is_wanted();
            self.run_what_is_wanted();
            for job in 0..MAX_JOBS {
                self.act(&Act::Assign(job, 0));
            }
            self.act(&Act::Finish(0));
            self.cancel_denied();
            let calm = {
                let world = self.world.borrow();
                world.jobs.values().all(|job| matches!(job.status, Status::Done(_)))
                    && world.webhooks.is_empty()
                    && world.slurm.iter().all(|job| !job.pending && self.knows_the_end_of(&job.start))
                    && world.gateways.iter().all(Gateway::is_calm)
            };
            self.wait(if calm { 1 } else { 61 });
            if calm {
                self.tick();
                break;
            }
            // An idle runner gives up after two minutes, unless a queued job fits it.
            let mut world = self.world.borrow_mut();
            let queued: Vec<usize> =
                world.jobs.values().filter(|job| job.status == Status::Queued).map(|job| job.pool).collect();
            world.runners.retain(|runner| runner.job.is_some() || queued.iter().any(|pool| *pool <= runner.pool));
        }
    }

    /// Somebody cancels the jobs that get no runner.
    fn cancel_denied(&self) {
        let mut world = self.world.borrow_mut();
        let queued = world.jobs.iter().filter(|(id, job)| job.status == Status::Queued && self.denied(**id));
        for id in queued.map(|(id, _)| *id).collect::<Vec<_>>() {
            world.finish(id, "cancelled");
        }
    }

    /// A while after the end GitHub's list has no runner that took no job.
    fn check_runners(&self) -> Result<(), TestCaseError> {
        for _ in 0..3 {
            self.wait(10 * 60 + 1);
            self.gateways_work();
            self.tick();
            while !self.world.borrow().webhooks.is_empty() {
                self.act(&Act::Deliver(0));
            }
        }
        let world = self.world.borrow();
        let left: Vec<_> = world.listed.iter().filter(|listed| !listed.unknown).collect();
        prop_assert!(left.is_empty(), "I12: GitHub still lists {left:?}");
        Ok(())
    }

    /// Whether a launch was given up because its cluster was silent.
    fn moved(&self, launch: &str) -> bool {
        let lost = self.platform.peek(&format!("gha-slurm/1/launch/{launch}/lost"));
        lost.is_some_and(|lost| serde_json::from_slice::<Value>(&lost).unwrap()["why"] == "moved")
    }

    /// All places of the profile are free again: so many new jobs are launched at once.
    fn check_places(&self) -> Result<(), TestCaseError> {
        let Some(places) = self.max_running else { return Ok(()) };
        if self.world.borrow().mute {
            // Nobody tells of a runner that ended: it counts as ended after an hour, and GitHub is asked about a silent
            // job after six.
            for _ in 0..2 {
                self.wait(7 * 60 * 60);
                self.gateways_work();
                self.tick();
            }
        }
        for place in 0..u64::from(places) {
            let id = 1000 + place;
            let mut world = self.world.borrow_mut();
            let created_at = world.now;
            let job = Job::queued(0, created_at);
            world.jobs.insert(id, job);
            world.notify("queued", id);
            let webhook = world.webhooks.pop().unwrap();
            drop(world);
            self.deliver(&webhook);
            let free = ["launched", "offered"].iter().any(|fact| self.knows(&format!("launch/{id}-1/{fact}")));
            prop_assert!(free, "I14: place {} of {places} is taken", place + 1);
        }
        for place in 0..u64::from(places) {
            self.world.borrow_mut().finish(1000 + place, "cancelled");
            self.act(&Act::Deliver(0));
        }
        Ok(())
    }

    pub(crate) fn check(&self) -> Result<(), TestCaseError> {
        let world = self.world.borrow();
        prop_assert!(world.violations.is_empty(), "{:#?}", world.violations);
        let mut launches: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for job in &world.slurm {
            let launch = job.start["launch"].as_str().unwrap().to_owned();
            launches.entry(launch.split('-').next().unwrap().parse().unwrap()).or_default().insert(launch);
        }
        for (id, job) in &world.jobs {
            let all = launches.get(id);
            let moved = all.map_or(0, |all| all.iter().filter(|launch| self.moved(launch)).count());
            let count = all.map_or(0, BTreeSet::len) - moved;
            let most = 3 + world.refusals.get(id).copied().unwrap_or(0);
            prop_assert!(count <= most, "I6: job {id} had {count} launches");
            if let Some(before) = world.denials.get(id) {
                prop_assert!(job.fork, "job {id} was denied, and is no fork's");
                prop_assert!(count <= *before, "job {id} was launched again after it was denied");
            }
            // A webhook that failed four times is given up; one that is read is not.
            let given_up =
                |webhook: &&Webhook| webhook.job == *id && world.failures[&webhook.guid] > 3 && !world.polled;
            if job.accepted || !world.failed.iter().any(|webhook| given_up(&webhook)) {
                let ended = matches!(job.status, Status::Done(_)) || count >= 3;
                prop_assert!(ended, "I1, I6: job {id} is lost: {job:?}");
            }
        }
        let (made, jobs): (usize, usize) = (launches.values().map(BTreeSet::len).sum(), world.jobs.len());
        let moved = launches.values().flatten().filter(|launch| self.moved(launch)).count();
        let allowed = jobs + world.adversities + moved;
        prop_assert!(made <= allowed, "I2: {made} launches for {jobs} jobs and {} adversities", world.adversities);
        for (launch, credentials) in &world.credentials {
            prop_assert!(*credentials <= 1, "I3: launch {launch} got {credentials} credentials");
        }
        let waiting: Vec<_> = world.slurm.iter().filter(|job| job.pending).collect();
        prop_assert!(waiting.is_empty(), "I5: Slurm still holds {waiting:?}");
        let starts: Vec<Value> = world.slurm.iter().map(|job| job.start.clone()).collect();
        drop(world);
        self.check_runners()?;
        self.check_places()?;
        for start in starts {
            let status = self.redeem(&start).status;
            prop_assert!([409, 410].contains(&status), "I3, I5: a used or unneeded launch got {status}");
        }
        // Twice: the first ticks may still have a delivery repeated, and that is remembered for as long.
        for _ in 0..2 {
            self.wait(RETENTION_SECONDS + 2 * 60 * 60);
            for _ in 0..3 {
                let report = self.tick();
                prop_assert_eq!(&report["problems"], &json!([]));
                self.wait(61);
            }
        }
        // A handful of sampled counters stays whatever comes, and a token of each kind.
        let keys: Vec<String> =
            self.platform.keys().into_iter().filter(|key| !key.contains("/count/gha_slurm")).collect();
        let most = 19 + 8 * self.world.borrow().gateways.len();
        prop_assert!(keys.len() <= most, "I9: these keys are left: {keys:#?}");
        let is_order = |key: &String| key.contains("/order/") || key.contains("/cancel/");
        prop_assert!(!keys.iter().any(is_order), "I9: these orders are left: {keys:#?}");
        Ok(())
    }
}
