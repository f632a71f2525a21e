//! The invariants, by histories that nobody would write down: webhooks in any order, twice, or failed and repeated;
//! runners given to whichever job fits; a gateway that is away or whose answer is lost; ticks anywhere; a process that
//! dies between any two operations of the store. At the end of each history the world calms down, and everything must
//! have come to a good end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use gha_slurm_core::ledger::{RETENTION_SECONDS, keys};
use gha_slurm_core::ports::{Clock, Store};
use gha_slurm_core::settings::Settings;
use gha_slurm_core::testing::Memory;
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::testing::{authorized, delivery_named};
use gha_slurm_protocol::identity::LaunchId;
use gha_slurm_runner::redeem::redeem;
use gha_slurm_tick::run::tick;
use gha_slurm_webhook::receive::receive;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::act::{Act, act, kind_act};
use crate::world::{Job, Runner, Status, Webhook, World};

/// Labels of the two pools: the second's runners can take the first's jobs.
pub(crate) const POOLS: [&[&str]; 2] = [&["slurm"], &["self-hosted", "slurm"]];
const MAX_JOBS: usize = 5;

struct History {
    platform: Memory,
    /// Whether job scripts ask for JIT configurations.
    jit: bool,
    max_running: Option<u32>,
    world: Rc<RefCell<World>>,
}

impl History {
    fn new(max_running: Option<u32>, jit: bool) -> Self {
        Self::with(max_running, jit, false)
    }

    /// `mute` is an original gateway, which cannot be asked for a Slurm job.
    fn with(max_running: Option<u32>, jit: bool, mute: bool) -> Self {
        let platform = Memory::configured();
        let limit = max_running.map(|limit| format!("max_running = {limit}")).unwrap_or_default();
        let profile = format!("[[profile]]\nname = 'all'\nlabels = ['self-hosted', 'slurm']\n{limit}");
        platform.set_variable("profiles", Some(&profile));
        // GitHub does not check it here, and an RSA signature per tick would take most of the time.
        platform.set_variable("github_private_key", Some("-----BEGIN not needed"));
        platform.set_variable("registration_tokens", Some("allow"));
        let world = Rc::new(RefCell::new(World { now: platform.unix_seconds(), mute, ..World::default() }));
        let served = Rc::clone(&world);
        platform.serve(move |_, request| served.borrow_mut().serve(request));
        let history = Self { platform, jit, max_running, world };
        history.keep_jwt();
        history
    }

    /// A signed JWT that is always good.
    fn keep_jwt(&self) {
        let end = chrono::DateTime::from_timestamp((self.world.borrow().now + 540).cast_signed(), 0).unwrap();
        let settings = Settings(&self.platform);
        let jwt = json!({
            "signer": settings.app_signer_digests().unwrap().remove(0),
            "jwt": {"token": "jwt", "expires_at": end.to_rfc3339()},
        });
        let (seal, key) = (settings.token_seal().unwrap(), keys::cache_app_jwt());
        // Not by the store: no process dies of it.
        let sealed = seal.seal(&self.platform, &key, jwt.to_string().as_bytes()).unwrap();
        self.platform.plant(&key, &sealed);
    }

    fn wait(&self, seconds: u64) {
        self.platform.seconds.set(self.platform.seconds.get() + seconds);
        let mut world = self.world.borrow_mut();
        world.now += seconds;
        if seconds >= 120 {
            let before = world.runners.len();
            world.runners.retain(|runner| runner.job.is_some());
            world.adversities += before - world.runners.len();
        }
        drop(world);
        self.keep_jwt();
    }

    /// Whatever was started is over; if the process died, another one is there for the next request.
    fn survive(&self) {
        if self.platform.lives.get() == Some(0) {
            self.platform.lives.set(None);
            self.world.borrow_mut().adversities += 1;
        }
    }

    fn deliver(&self, webhook: &Webhook) {
        let answer = receive(&self.platform, &delivery_named(&format!("guid-{}", webhook.guid), &webhook.body));
        let died = self.platform.lives.get() == Some(0);
        let mut world = self.world.borrow_mut();
        if webhook.holds() && !matches!(world.jobs[&webhook.job].status, Status::Waiting) {
            // In another order than GitHub sent them: the app takes back a launch that GitHub asked for.
            world.adversities += 1;
            world.late_holds += 1;
        }
        // The dead answer nothing: GitHub lists the delivery as failed.
        if answer.status < 300 && !died {
            if webhook.action == "queued" {
                world.jobs.get_mut(&webhook.job).unwrap().accepted = true;
            }
        } else {
            world.fail(webhook.clone());
        }
        drop(world);
        self.survive();
    }

    fn redeem(&self, start: &Value) -> Answer {
        let mut request = authorized(start["launcherToken"].as_str().unwrap());
        if self.jit {
            request.body = br#"{"credential": "jit"}"#.to_vec();
        }
        let answer = redeem(&self.platform, &request);
        if answer.status == 200 {
            let launch = start["launch"].as_str().unwrap().to_owned();
            *self.world.borrow_mut().credentials.entry(launch).or_default() += 1;
        }
        answer
    }

    /// The gateway's check looks at the job that a runner took; a refusal is told to the app.
    fn check_on_the_node(&self, job: u64) {
        if !self.world.borrow().jobs[&job].fork {
            return;
        }
        let start = self.world.borrow_mut().refuse_at_the_node(job);
        let mut report = authorized(start["launcherToken"].as_str().unwrap());
        report.target = "/gha/runner/refused".to_owned();
        report.body = json!({"reason": "the code comes from a fork", "run_id": job}).to_string().into_bytes();
        redeem(&self.platform, &report);
        self.survive();
    }

    fn run_slurm_job(&self, index: usize) {
        let start = self.world.borrow().slurm[index].start.clone();
        let answer = self.redeem(&start);
        let died = self.platform.lives.get() == Some(0);
        let mut world = self.world.borrow_mut();
        match answer.status {
            200 if !died => {
                world.slurm[index].pending = false;
                // A JIT configuration names its runner.
                let jit = answer.body["encoded_jit_config"].as_str();
                let name = jit.or(start["runnerName"].as_str()).unwrap().to_owned();
                let pool = usize::from(start["runnerLabels"].as_str().unwrap().contains("self-hosted"));
                if answer.body["token"].is_string() {
                    // It registers by itself, in the place of one of its name, and takes itself out of the list.
                    world.listed.retain(|listed| listed.name != name);
                }
                world.runners.push(Runner { name, pool, job: None });
            }
            403 => {
                world.slurm[index].pending = false;
                // Its own job may have another one's launch by swaps, and that other one needs a new one now.
                world.adversities += 1;
                world.note_denials(|id| self.denied(id));
            }
            401 | 409 | 410 => world.slurm[index].pending = false,
            // The job script tries again later.
            _ => {}
        }
        drop(world);
        self.survive();
        if died {
            let known = |name: &str| {
                let launch = LaunchId::of_runner(name).unwrap();
                self.platform.get(&format!("gha-slurm/1/launch/{launch}/runner")).unwrap().is_some()
            };
            let mut world = self.world.borrow_mut();
            world.listed.iter_mut().for_each(|listed| listed.unknown = !known(&listed.name));
        }
    }

    fn tick(&self) -> Value {
        let answer = tick(&self.platform, &authorized("Bearer an-admin-token-of-32-characters!"));
        self.survive();
        answer.body
    }

    fn act(&self, act: &Act) {
        fn pick<T>(from: &[T], index: usize) -> Option<usize> {
            (!from.is_empty()).then(|| index % from.len())
        }
        match *act {
            Act::Queue(pool) | Act::QueueGated(pool) | Act::QueueFork(pool) => {
                let mut world = self.world.borrow_mut();
                if world.jobs.len() < MAX_JOBS {
                    let id = 100 + world.jobs.len() as u64;
                    let created_at = world.now;
                    let gated = matches!(act, Act::QueueGated(_));
                    let status = if gated { Status::Waiting } else { Status::Queued };
                    let fork = matches!(act, Act::QueueFork(_));
                    world.jobs.insert(id, Job { status, fork, ..Job::queued(pool, created_at) });
                    world.notify("queued", id);
                    if gated {
                        world.notify("waiting", id);
                    }
                }
            }
            Act::Approve(index) => {
                let mut world = self.world.borrow_mut();
                let waiting = world.jobs.iter().filter(|(_, job)| job.status == Status::Waiting);
                let waiting: Vec<u64> = waiting.map(|(id, _)| *id).collect();
                if let Some(index) = pick(&waiting, index) {
                    world.approve(waiting[index]);
                }
            }
            Act::Deliver(index) | Act::DeliverTwice(index) => {
                let index = pick(&self.world.borrow().webhooks, index);
                let Some(index) = index else { return };
                let webhook = self.world.borrow().webhooks[index].clone();
                if !matches!(act, Act::DeliverTwice(_)) {
                    self.world.borrow_mut().webhooks.remove(index);
                }
                self.deliver(&webhook);
            }
            Act::Fail(index) => {
                let mut world = self.world.borrow_mut();
                if let Some(index) = pick(&world.webhooks, index) {
                    let webhook = world.webhooks.remove(index);
                    world.fail(webhook);
                }
            }
            Act::Run(index) | Act::Kill(index) => {
                let pending: Vec<usize> = {
                    let world = self.world.borrow();
                    (0..world.slurm.len()).filter(|index| world.slurm[*index].pending).collect()
                };
                let Some(index) = pick(&pending, index) else { return };
                // Of one that dies before it redeemed, the original gateway leaves no trace: its job waits till GitHub ends it.
                if matches!(act, Act::Run(_)) || self.world.borrow().mute {
                    self.run_slurm_job(pending[index]);
                } else {
                    let mut world = self.world.borrow_mut();
                    world.slurm[pending[index]].pending = false;
                    world.adversities += 1;
                }
            }
            Act::Assign(job, runner) => {
                let fitting = self.world.borrow().fitting(job, runner);
                if let Some((job, runner)) = fitting {
                    self.world.borrow_mut().assign(job, runner);
                    self.check_on_the_node(job);
                }
            }
            Act::Crash(index) => {
                let mut world = self.world.borrow_mut();
                if let Some(index) = pick(&world.runners, index) {
                    world.crash(index);
                }
            }
            Act::Strange(index) => {
                let mut world = self.world.borrow_mut();
                let queued = world.jobs.iter().filter(|(_, job)| job.status == Status::Queued);
                let queued: Vec<u64> = queued.map(|(id, _)| *id).collect();
                if let Some(index) = pick(&queued, index) {
                    world.strange(queued[index]);
                }
            }
            Act::Nameless => self.world.borrow_mut().nameless = true,
            Act::Refuse(index) => {
                let mut world = self.world.borrow_mut();
                let jobs: Vec<u64> = world.jobs.keys().copied().collect();
                if let Some(index) = pick(&jobs, index)
                    && !world.refused.remove(&jobs[index])
                {
                    world.refused.insert(jobs[index]);
                }
            }
            Act::Finish(index) => {
                let mut world = self.world.borrow_mut();
                let running = world.jobs.iter().filter(|(_, job)| job.status == Status::Running);
                let running: Vec<u64> = running.map(|(id, _)| *id).collect();
                if let Some(index) = pick(&running, index) {
                    world.finish(running[index], "success");
                }
            }
            Act::Cancel(index) => {
                let mut world = self.world.borrow_mut();
                let open = world.jobs.iter().filter(|(_, job)| !matches!(job.status, Status::Done(_)));
                let open: Vec<u64> = open.map(|(id, _)| *id).collect();
                if let Some(index) = pick(&open, index) {
                    world.finish(open[index], "cancelled");
                }
            }
            Act::Idle(index) => {
                let mut world = self.world.borrow_mut();
                let runners = 0..world.runners.len();
                let idle: Vec<usize> = runners.filter(|index| world.runners[*index].job.is_none()).collect();
                if let Some(index) = pick(&idle, index) {
                    world.runners.remove(idle[index]);
                    world.adversities += 1;
                }
            }
            Act::Tick => drop(self.tick()),
            Act::Wait(seconds) => self.wait(seconds),
            Act::Ahead(ahead) => {
                let now = self.world.borrow().now;
                self.platform.seconds.set(if ahead { now + 120 } else { now });
            }
            Act::Gateway(away) => self.world.borrow_mut().away = away,
            Act::LoseAnswer => self.world.borrow_mut().lose_answer = true,
            Act::Die(operations) => self.platform.lives.set(Some(operations)),
        }
    }

    /// Whether the app has heard that the job of a launch is over.
    fn knows_the_end_of(&self, start: &Value) -> bool {
        let job = start["launch"].as_str().unwrap().split('-').next().unwrap();
        self.platform.get(&format!("gha-slurm/1/job/{job}/finished")).unwrap().is_some()
    }

    /// The world calms down: everything works, and everything under way arrives.
    fn calm(&self) {
        self.platform.lives.set(None);
        self.act(&Act::Ahead(false));
        {
            let mut world = self.world.borrow_mut();
            world.away = false;
            world.lose_answer = false;
            world.nameless = false;
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
            self.act(&Act::Run(0));
            self.act(&Act::Run(0));
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

    /// Whether the app denied a job its runner.
    fn denied(&self, job: u64) -> bool {
        // Not by the store: no process dies of it.
        self.platform.keys().contains(&format!("gha-slurm/1/job/{job}/denied"))
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

    /// All places of the profile are free again: so many new jobs are launched at once.
    fn check_places(&self) -> Result<(), TestCaseError> {
        let Some(places) = self.max_running else { return Ok(()) };
        if self.world.borrow().mute {
            // Nobody tells of a runner that ended: it counts as ended after an hour, and GitHub is asked about a silent
            // job after six.
            for _ in 0..2 {
                self.wait(7 * 60 * 60);
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
            let answer = receive(&self.platform, &delivery_named(&format!("guid-{}", webhook.guid), &webhook.body));
            prop_assert_eq!(&answer.body["decision"], "launched", "I14: place {} of {} is taken", place + 1, places);
        }
        for place in 0..u64::from(places) {
            self.world.borrow_mut().finish(1000 + place, "cancelled");
            self.act(&Act::Deliver(0));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let world = self.world.borrow();
        let mut launches: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for job in &world.slurm {
            let launch = job.start["launch"].as_str().unwrap().to_owned();
            launches.entry(launch.split('-').next().unwrap().parse().unwrap()).or_default().insert(launch);
        }
        for (id, job) in &world.jobs {
            let count = launches.get(id).map_or(0, BTreeSet::len);
            let most = 3 + world.refusals.get(id).copied().unwrap_or(0);
            prop_assert!(count <= most, "I6: job {id} had {count} launches");
            if let Some(before) = world.denials.get(id) {
                prop_assert!(job.fork, "job {id} was denied, and is no fork's");
                prop_assert!(count <= *before, "job {id} was launched again after it was denied");
            }
            // A webhook that failed four times is given up.
            let given_up = |webhook: &&Webhook| webhook.job == *id && world.failures[&webhook.guid] > 3;
            if job.accepted || !world.failed.iter().any(|webhook| given_up(&webhook)) {
                let ended = matches!(job.status, Status::Done(_)) || count >= 3;
                prop_assert!(ended, "I1, I6: job {id} is lost: {job:?}");
            }
        }
        let (made, jobs): (usize, usize) = (launches.values().map(BTreeSet::len).sum(), world.jobs.len());
        let allowed = jobs + world.adversities;
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
        prop_assert!(keys.len() <= 18, "I9: these keys are left: {keys:#?}");
        Ok(())
    }
}

fn holds(acts: &[Act], max_running: Option<u32>, jit: bool, mute: bool) -> Result<(), TestCaseError> {
    let history = History::with(max_running, jit, mute);
    for act in acts {
        history.act(act);
    }
    history.calm();
    history.check()
}

/// In one pool, with nothing failing: no launch is wasted, no limit is passed, and Slurm holds no job that nothing waits
/// for.
fn wastes_nothing(acts: &[Act], max_running: Option<u32>, jit: bool) -> Result<(), TestCaseError> {
    let history = History::new(max_running, jit);
    for act in acts {
        history.act(act);
    }
    while !history.world.borrow().webhooks.is_empty() {
        history.act(&Act::Deliver(0));
    }
    {
        let world = history.world.borrow();
        let held = world.slurm.iter().filter(|job| job.pending).count();
        let waiting = world.jobs.values().filter(|job| job.status == Status::Queued).count();
        prop_assert!(held <= waiting, "I5: Slurm holds {held} jobs for {waiting} that wait");
    }
    history.calm();
    history.check()?;
    let world = history.world.borrow();
    let (made, jobs) = (world.slurm.len(), world.jobs.len());
    let allowed = jobs + world.late_holds;
    prop_assert!(made <= allowed, "I2: {made} launches for {jobs} jobs and {} late holds", world.late_holds);
    let (most, limit) = (world.most_living, max_running.unwrap_or(u32::MAX));
    prop_assert!(most <= limit as usize, "{most} lived at once of {limit}");
    let asked: Vec<_> =
        world.removals.iter().filter(|(id, times)| **times > 1 || !world.removed.contains(id)).collect();
    prop_assert!(asked.is_empty(), "I12: GitHub was asked in vain to remove {asked:?}");
    Ok(())
}

/// `GHA_SLURM_HISTORIES` is how many per cent of the usual number are tried.
fn config(cases: u32) -> ProptestConfig {
    let per_cent = std::env::var("GHA_SLURM_HISTORIES").ok().and_then(|value| value.parse::<u32>().ok()).unwrap_or(100);
    let cases = (cases * per_cent / 100).max(1);
    // A failing history is printed, and small enough to become a test of its own.
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 20_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(8000))]
    #[test]
    fn short_histories_come_to_a_good_end(
        acts in proptest::collection::vec(act(), 1..40),
        limit in proptest::option::of(1..4u32),
        jit in any::<bool>(),
        mute in any::<bool>(),
    ) {
        holds(&acts, limit, jit, mute)?;
    }
}

proptest! {
    #![proptest_config(config(4000))]
    #[test]
    fn long_histories_come_to_a_good_end(
        acts in proptest::collection::vec(act(), 40..120),
        limit in proptest::option::of(1..4u32),
        jit in any::<bool>(),
        mute in any::<bool>(),
    ) {
        holds(&acts, limit, jit, mute)?;
    }
}

proptest! {
    #![proptest_config(config(4000))]
    #[test]
    fn while_nothing_fails_nothing_is_wasted(
        acts in proptest::collection::vec(kind_act(), 1..80),
        limit in proptest::option::of(1..4u32),
        jit in any::<bool>(),
    ) {
        wastes_nothing(&acts, limit, jit)?;
    }
}

/// A Slurm job that starts at once meets a replica whose clock is two minutes behind that of the one that launched it; the
/// gateway is an original one, which tells nobody that it ended.
#[test]
fn a_launch_by_a_clock_that_is_ahead_is_good_at_once() {
    use Act::{Ahead, Assign, Deliver, DeliverTwice, Finish, Nameless, Queue, Run, Tick, Wait};
    let acts = [
        Queue(0),
        Deliver(0),
        Queue(0),
        Nameless,
        Deliver(0),
        Queue(0),
        Deliver(0),
        Queue(0),
        Deliver(0),
        Run(0),
        Assign(0, 0),
        Deliver(0),
        Queue(0),
        Run(0),
        Run(1),
        Wait(2000),
        Nameless,
        Assign(0, 0),
        Queue(0),
        Finish(0),
        Ahead(true),
        DeliverTwice(1),
        Nameless,
        Tick,
    ];
    holds(&acts, None, true, true).unwrap();
}

/// By swaps, a job waits for the launch of a fork's job, whose Slurm job ends with a denial; nobody tells of that end.
#[test]
fn a_job_that_waits_for_the_launch_of_a_denied_one_gets_another() {
    use Act::{Deliver, Queue, QueueFork, QueueGated, Wait};
    let acts =
        [Wait(1), QueueGated(1), QueueFork(1), Queue(0), Deliver(0), Deliver(2), Act::Die(0), Queue(1), Deliver(4)];
    holds(&acts, None, false, true).unwrap();
}

/// A job that GitHub held back while it stood in line never had that launch: it has three others.
#[test]
fn what_was_never_submitted_is_no_launch_of_the_three() {
    use Act::{
        Ahead, Approve, Cancel, Crash, Deliver, Fail, Finish, Kill, Nameless, Queue, QueueGated, Refuse, Run, Strange,
        Tick, Wait,
    };
    let acts = [
        Queue(0),
        Wait(1),
        Queue(0),
        Strange(0),
        Finish(0),
        Approve(0),
        Ahead(false),
        Cancel(0),
        Queue(0),
        Deliver(0),
        Nameless,
        Approve(0),
        Run(0),
        Queue(0),
        Refuse(2),
        QueueGated(0),
        Approve(0),
        Finish(0),
        Deliver(0),
        Deliver(7),
        Queue(0),
        Crash(0),
        Deliver(3),
        Deliver(6),
        Deliver(3),
        Queue(0),
        Queue(0),
        Queue(0),
        Deliver(0),
        Wait(1),
        Wait(301),
        Fail(4),
        Tick,
        Deliver(3),
        Queue(0),
        Kill(0),
        Queue(0),
        Queue(0),
        Queue(0),
        Queue(0),
    ];
    holds(&acts, Some(1), false, false).unwrap();
}

#[test]
fn a_hundred_thousand_jobs_leave_nothing_behind() {
    let history = History::new(Some(50), false);
    history.tick();
    let before = history.platform.keys();
    for number in 0..100_000u64 {
        let mut world = history.world.borrow_mut();
        let id = 1_000_000 + number;
        let created_at = world.now;
        let job = Job::queued(0, created_at);
        world.jobs.insert(id, job);
        world.notify("queued", id);
        drop(world);
        history.act(&Act::Deliver(0));
        let mut world = history.world.borrow_mut();
        world.runners.push(Runner { name: format!("gha-slurm-{id}-1"), pool: 0, job: None });
        let last = world.runners.len() - 1;
        world.assign(id, last);
        world.finish(id, "success");
        drop(world);
        history.act(&Act::Deliver(0));
        history.act(&Act::Deliver(0));
        let mut world = history.world.borrow_mut();
        world.jobs.clear();
        world.slurm.clear();
        drop(world);
        // All of it in five hours.
        if number % 5 == 0 {
            history.wait(1);
        }
    }
    let held = history.platform.keys().len();
    assert!(held > 500_000, "{held} keys of the retention time");
    history.wait(RETENTION_SECONDS + 2 * 60 * 60);
    let report = history.tick();
    assert_eq!(report["deleted"], 100_000, "{report}");
    let after = history.platform.keys();
    assert!(after.len() <= before.len() + 8, "{before:#?}\n{after:#?}");
    println!("{} keys, then {held}, then {}", before.len(), after.len());
}
