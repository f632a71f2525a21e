//! What happens in a history: webhooks in any order, twice, or failed and repeated; runners given to whichever job fits; a
//! gateway that is away or whose answer is lost, gateways that fetch, die and come back; ticks anywhere; a process that dies
//! between any two operations of the store, and others that work between them.

use std::cell::RefCell;
use std::rc::Rc;

use gha_slurm_cluster::exchange::exchange;
use gha_slurm_core::ledger::keys;
use gha_slurm_core::ports::Clock;
use gha_slurm_core::settings::Settings;
use gha_slurm_core::testing::Memory;
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::request::Request;
use gha_slurm_edge::testing::{authorized, delivery_named};
use gha_slurm_protocol::exchange::{Exchange, Orders};
use gha_slurm_protocol::identity::LaunchId;
use gha_slurm_runner::redeem::redeem;
use gha_slurm_tick::run::tick;
use gha_slurm_webhook::receive::receive;
use serde_json::{Value, json};

use crate::act::Act;
use crate::setup::{CLUSTERS, Setup, secret};
use crate::world::{Job, Runner, Status, Webhook, World};

/// Labels of the two pools: the second's runners can take the first's jobs.
pub(crate) const POOLS: [&[&str]; 2] = [&["slurm"], &["self-hosted", "slurm"]];
pub(crate) const MAX_JOBS: usize = 5;
const ADMIN: &str = "Bearer an-admin-token-of-32-characters!";

/// The app with the world around it.
#[derive(Clone)]
pub(crate) struct History {
    pub(crate) platform: Rc<Memory>,
    /// Whether job scripts ask for JIT configurations.
    jit: bool,
    pub(crate) max_running: Option<u32>,
    pub(crate) world: Rc<RefCell<World>>,
}

impl History {
    pub(crate) fn new(max_running: Option<u32>, jit: bool) -> Self {
        Self::with(Setup::PUSHED, max_running, jit, false)
    }

    /// `mute` is an original gateway, which cannot be asked for a Slurm job.
    pub(crate) fn with(setup: Setup, max_running: Option<u32>, jit: bool, mute: bool) -> Self {
        let platform = Memory::configured();
        setup.configure(&platform, max_running);
        // GitHub does not check it here, and an RSA signature per tick would take most of the time.
        platform.set_variable("github_private_key", Some("-----BEGIN not needed"));
        platform.set_variable("registration_tokens", Some("allow"));
        let mut world = World { now: platform.unix_seconds(), mute, ..World::default() };
        world.set_up(setup);
        let world = Rc::new(RefCell::new(world));
        let served = Rc::clone(&world);
        platform.serve(move |_, request| served.borrow_mut().serve(request));
        let history = Self { platform: Rc::new(platform), jit, max_running, world };
        history.keep_jwt();
        history
    }

    /// A signed JWT that is always good.
    fn keep_jwt(&self) {
        let end = chrono::DateTime::from_timestamp((self.world.borrow().now + 540).cast_signed(), 0).unwrap();
        let settings = Settings(&*self.platform);
        let jwt = json!({
            "signer": settings.app_signer_digests().unwrap().remove(0),
            "jwt": {"token": "jwt", "expires_at": end.to_rfc3339()},
        });
        let (seal, key) = (settings.token_seal().unwrap(), keys::cache_app_jwt());
        // Not by the store: no process dies of it.
        let sealed = seal.seal(&*self.platform, &key, jwt.to_string().as_bytes()).unwrap();
        self.platform.plant(&key, &sealed);
    }

    pub(crate) fn wait(&self, seconds: u64) {
        self.world.borrow_mut().land_in_time(seconds);
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

    /// A delivery reaches the app: GitHub calls it, or the app reads it in GitHub's list.
    pub(crate) fn deliver(&self, webhook: &Webhook) {
        if self.world.borrow().polled {
            self.world.borrow_mut().fail(webhook.clone());
            let mut request = authorized(ADMIN);
            request.target = "/internal/deliveries".to_owned();
            tick(&*self.platform, &request);
            return self.survive();
        }
        let answer = receive(&*self.platform, &delivery_named(&webhook.name(), &webhook.body));
        let died = self.platform.lives.get() == Some(0);
        let mut world = self.world.borrow_mut();
        world.arrives(webhook);
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

    /// Whether the store has a value, by whoever looks from outside.
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.platform.peek(&format!("gha-slurm/1/{key}")).is_some()
    }

    /// Whether the app denied a job its runner.
    pub(crate) fn denied(&self, job: u64) -> bool {
        self.knows(&format!("job/{job}/denied"))
    }

    pub(crate) fn redeem(&self, start: &Value) -> Answer {
        let mut request = authorized(start["launcherToken"].as_str().unwrap());
        if self.jit {
            request.body = br#"{"credential": "jit"}"#.to_vec();
        }
        let launch = start["launch"].as_str().unwrap().to_owned();
        let dead = ["lost", "withdrawn"].into_iter().find(|fact| self.knows(&format!("launch/{launch}/{fact}")));
        let answer = redeem(&*self.platform, &request);
        if answer.status == 200 {
            if let Some(fact) = dead {
                self.world.borrow_mut().violations.push(format!("I5: {launch} was {fact} and got a credential"));
            }
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
        redeem(&*self.platform, &report);
        self.survive();
    }

    fn run_slurm_job(&self, index: usize) {
        let start = self.world.borrow().slurm[index].start.clone();
        let answer = self.redeem(&start);
        let died = self.platform.lives.get() == Some(0);
        let mut world = self.world.borrow_mut();
        match answer.status {
            // Cancelled at the same moment.
            _ if !world.slurm[index].pending => world.adversities += 1,
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
            let known = |name: &str| self.knows(&format!("launch/{}/runner", LaunchId::of_runner(name).unwrap()));
            let mut world = self.world.borrow_mut();
            world.listed.iter_mut().for_each(|listed| listed.unknown = !known(&listed.name));
        }
    }

    pub(crate) fn tick(&self) -> Value {
        let answer = tick(&*self.platform, &authorized(ADMIN));
        self.survive();
        answer.body
    }

    /// Sends what a gateway says; the app's answer, if there is one.
    fn send(&self, index: usize, said: &Exchange) -> Option<Orders> {
        let cluster = self.world.borrow().gateways[index].cluster;
        let name = CLUSTERS[cluster];
        let mut request: Request = authorized(&format!("Bearer {}", secret(name)));
        request.target = format!("/clusters/{name}/exchange");
        request.headers.push(("content-type".to_owned(), b"application/json".to_vec()));
        request.body = json!(said).to_string().into_bytes();
        let answer = exchange(&*self.platform, &request);
        let died = self.platform.lives.get() == Some(0);
        self.survive();
        if answer.status != 200 || died {
            return None;
        }
        let orders: Orders = serde_json::from_value(answer.body).unwrap();
        let mut world = self.world.borrow_mut();
        for leased in &orders.launches {
            world.hand_out(&leased.start.launch.unwrap().to_string(), cluster);
        }
        Some(orders)
    }

    fn exchange(&self, index: usize, room: u32) {
        let (said, carried) = {
            let mut world = self.world.borrow_mut();
            if !world.calm {
                world.note_absence(index);
            }
            let carried = world.gateways[index].carried();
            (world.says(index, room), carried)
        };
        let Some(orders) = self.send(index, &said) else { return };
        let mut world = self.world.borrow_mut();
        // It may have died while it waited.
        if !std::mem::take(&mut world.lose_exchange) && world.gateways[index].alive {
            world.hears(index, &carried, orders);
        }
    }

    /// A gateway does all that it has to do.
    pub(crate) fn work(&self, index: usize) {
        self.exchange(index, 64);
        {
            let mut world = self.world.borrow_mut();
            world.begin(index);
            world.land(index);
            world.look(index);
        }
        self.exchange(index, 64);
    }

    /// Tells of launches of nobody and of another cluster.
    fn tell_of_others(&self, index: usize) {
        let (cluster, foreign) = {
            let world = self.world.borrow();
            let cluster = world.gateways[index].cluster;
            let foreign = world.handed.iter().find(|(_, of)| **of != cluster).map(|(launch, _)| launch.clone());
            (cluster, foreign)
        };
        let launches: Vec<String> = foreign.into_iter().chain(["999-1".to_owned()]).collect();
        let reports: Vec<Value> = launches
            .iter()
            .map(|launch| json!({"launch": launch, "news": "state", "job_id": "1", "state": "COMPLETED"}))
            .collect();
        let said = serde_json::from_value(json!({"gateway": "other", "reports": reports})).unwrap();
        let Some(orders) = self.send(index, &said) else { return };
        // While the store fails nothing is said of them, nor taken.
        let refused: Vec<String> = orders.unknown.iter().chain(&orders.not_taken).map(LaunchId::to_string).collect();
        if launches.iter().any(|launch| !refused.contains(launch)) {
            let violation = format!("cluster {cluster} is believed about others' of {launches:?}");
            self.world.borrow_mut().violations.push(violation);
        }
    }

    /// Whether the app gave a launch up: its Slurm job gets no credential.
    pub(crate) fn gave_up(&self, start: &Value) -> bool {
        let launch = start["launch"].as_str().unwrap();
        ["lost", "withdrawn"].into_iter().any(|fact| self.knows(&format!("launch/{launch}/{fact}")))
    }

    /// Whether it will do so as soon as it is told that Slurm has it.
    fn will_give_up(&self, start: &Value) -> bool {
        let launch = start["launch"].as_str().unwrap();
        let (job, _) = launch.split_once('-').unwrap();
        self.knows(&format!("job/{job}/finished")) && !self.knows(&format!("launch/{launch}/launched"))
    }

    pub(crate) fn act(&self, act: &Act) {
        self.act_once(act);
        self.world.borrow_mut().count_living(|start| self.gave_up(start) || self.will_give_up(start));
    }

    fn act_once(&self, act: &Act) {
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
            Act::Unshown(deliveries) => self.world.borrow_mut().unshown = deliveries,
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
            Act::LoseExchange => self.world.borrow_mut().lose_exchange = true,
            Act::SlurmAway(away) => self.world.borrow_mut().slurm_away = away,
            Act::Meanwhile(operations, ref act) => {
                let (history, act) = (self.clone(), act.clone());
                self.platform.meanwhile(operations, move |_| history.act(&act));
            }
            Act::Work(index)
            | Act::Exchange(index, _)
            | Act::Late(index, _)
            | Act::Foreign(index)
            | Act::Begin(index)
            | Act::Land(index)
            | Act::Look(index)
            | Act::GatewayDies(index, _)
            | Act::GatewayIsBack(index)
            | Act::Sulk(index) => {
                let index = pick(&self.world.borrow().gateways, index);
                if let Some(index) = index {
                    self.act_of_gateway(index, act);
                }
            }
        }
    }

    fn act_of_gateway(&self, index: usize, act: &Act) {
        let alive = self.world.borrow().gateways[index].alive;
        match *act {
            Act::GatewayIsBack(_) if !alive => self.world.borrow_mut().gateway_is_back(index),
            // What was on its way arrives all the same.
            Act::Late(_, which) => {
                let said = {
                    let said = &self.world.borrow().gateways[index].said;
                    (!said.is_empty()).then(|| said[which % said.len()].clone())
                };
                drop(said.and_then(|said| self.send(index, &said)));
            }
            _ if !alive => {}
            Act::Work(_) => self.work(index),
            Act::Exchange(_, room) => self.exchange(index, room),
            Act::Foreign(_) => self.tell_of_others(index),
            Act::Begin(_) => self.world.borrow_mut().begin(index),
            Act::Land(_) => self.world.borrow_mut().land(index),
            Act::Look(_) => self.world.borrow_mut().look(index),
            Act::GatewayDies(_, took) => self.world.borrow_mut().gateway_dies(index, took),
            Act::Sulk(_) => {
                let mut world = self.world.borrow_mut();
                world.gateway_deaths += 1;
                let sulks = &mut world.gateways[index].sulks;
                *sulks = !*sulks;
            }
            _ => {}
        }
    }
}
