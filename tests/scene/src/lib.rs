//! A scene for unit tests of what shows or repairs: the application in memory, a gateway and a GitHub that say what they are
//! told to, and the flows that bring jobs where a test wants them.

// It is a part of tests, which may fail by panicking.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::OnceLock;

use gha_slurm_cluster::exchange::exchange;
use gha_slurm_core::cluster::digest;
use gha_slurm_core::ports::SendError;
use gha_slurm_core::testing::{Memory, answer, own_run};
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::request::Request;
use gha_slurm_edge::testing::{authorized, delivery};
use gha_slurm_runner::redeem::redeem;
use gha_slurm_webhook::receive::receive;
use jwt_simple::prelude::RS256KeyPair;
use serde_json::{Value, json};

pub const PROFILES: &str = "
[[profile]]
name = 'cpu'
labels = ['self-hosted', 'slurm']
[[profile]]
name = 'gpu'
labels = ['self-hosted', 'slurm', 'gpu']
repositories = ['octo/*']
max_running = 1
[profile.dynamic]
cpus = 8
";

/// How the gateway answers `POST /runner/start`.
#[derive(Clone, Default)]
pub enum Gateway {
    #[default]
    Takes,
    Away,
    Says(u16, &'static str),
}

/// The App's private key, a PEM. Making one is slow, so a process makes one.
pub fn app_key() -> &'static str {
    static KEY: OnceLock<String> = OnceLock::new();
    KEY.get_or_init(|| RS256KeyPair::generate(2048).unwrap().to_pem().unwrap())
}

#[derive(Default)]
struct World {
    gateway: Gateway,
    /// The answer to `GET /runner/…`; a gateway without one knows no such route.
    slurm: Option<Value>,
    /// GitHub's answers by the end of the path.
    github: HashMap<String, (u16, Value)>,
    /// What happens while GitHub is asked for what ends so.
    meanwhile: HashMap<String, fn(&Memory)>,
    submitted: i64,
    tokens: HashMap<String, String>,
}

pub struct Scene {
    pub platform: Memory,
    world: Rc<RefCell<World>>,
}

fn secret_of(cluster: &str) -> String {
    format!("the secret of cluster {cluster}, which is long")
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

impl Scene {
    pub fn new() -> Self {
        let platform = Memory::configured();
        platform.set_variable("github_private_key", Some(app_key()));
        platform.set_variable("profiles", Some(PROFILES));
        // So that a test has both kinds of credentials.
        platform.set_variable("registration_tokens", Some("allow"));
        let world: Rc<RefCell<World>> = Rc::default();
        let seen = Rc::clone(&world);
        platform.serve(move |platform, request| {
            let path = request.url.path().to_owned();
            let happens = seen.borrow().meanwhile.iter().find(|(end, _)| path.ends_with(*end)).map(|(_, what)| *what);
            happens.into_iter().for_each(|what| what(platform));
            let mut world = seen.borrow_mut();
            if path == "/runner/start" {
                return match world.gateway {
                    Gateway::Away => Err(SendError::Broken("the connection was refused".to_owned())),
                    Gateway::Says(status, message) => answer(status, &json!({"message": message})),
                    Gateway::Takes => {
                        let body: Value = serde_json::from_slice(&request.body).unwrap();
                        let text = |name: &str| body[name].as_str().unwrap().to_owned();
                        world.tokens.insert(text("launch"), text("launcherToken"));
                        world.submitted += 1;
                        answer(200, &json!({"status": "OK!", "job_id": world.submitted}))
                    }
                };
            }
            if path.starts_with("/runner/") {
                return match (&world.gateway, &world.slurm) {
                    (Gateway::Away, _) => Err(SendError::Broken("the connection was refused".to_owned())),
                    (_, Some(slurm)) if path != "/runner/cancel" => answer(200, slurm),
                    _ => answer(404, &json!({"message": "no launch of that name or Slurm job is known"})),
                };
            }
            let told = world.github.iter().find(|(end, _)| path.ends_with(*end)).map(|(_, told)| told.clone());
            let run = || own_run(&path).map(|run| (200, run));
            let (status, body) = told.or_else(run).unwrap_or_else(|| match path.as_str() {
                path if path.ends_with("/installation") => (200, json!({"id": 9})),
                path if path.starts_with("/repos/") && path.matches('/').count() == 3 => (200, json!({"id": 7})),
                path if path.ends_with("/access_tokens") => {
                    (201, json!({"token": "ghs_x", "expires_at": "2027-01-20T09:00:00Z"}))
                }
                path if path.ends_with("/registration-token") => {
                    (201, json!({"token": "AX", "expires_at": "2027-01-20T09:00:00Z"}))
                }
                _ => (404, json!({"message": "Not Found"})),
            });
            answer(status, &body)
        });
        Self { platform, world }
    }

    /// With these clusters, whose gateways fetch; the profile `cpu` goes to them in their order.
    pub fn fetching(clusters: &[&str]) -> Self {
        let scene = Self::new();
        let define = |name: &&str| {
            let digest = digest(&secret_of(name));
            format!("[[cluster]]\nname = '{name}'\nreach = 'fetch'\nsecret_sha256 = '{digest}'\n")
        };
        scene.platform.set_variable("clusters", Some(&clusters.iter().map(define).collect::<String>()));
        let profiles = PROFILES.replace("name = 'cpu'", &format!("name = 'cpu'\nclusters = {clusters:?}"));
        scene.platform.set_variable("profiles", Some(&profiles));
        scene
    }

    /// An exchange of a gateway of a cluster; what the gateway is told to do.
    pub fn exchange(&self, cluster: &str, said: &Value) -> Value {
        let mut request = authorized(&format!("Bearer {}", secret_of(cluster)));
        request.target = format!("/clusters/{cluster}/exchange");
        request.headers.push(("content-type".to_owned(), b"application/json".to_vec()));
        request.body = said.to_string().into_bytes();
        let answer = exchange(&self.platform, &request);
        assert_eq!(answer.status, 200, "{}", answer.body);
        for leased in answer.body["launches"].as_array().unwrap() {
            let text = |name: &str| leased["start"][name].as_str().unwrap().to_owned();
            self.world.borrow_mut().tokens.insert(text("launch"), text("launcherToken"));
        }
        answer.body
    }

    pub fn gateway(&self, gateway: Gateway) {
        self.world.borrow_mut().gateway = gateway;
    }

    pub fn slurm(&self, state: &str, reason: Option<&str>) {
        self.slurm_says(json!({"job_id": "17", "state": state, "reason": reason}));
    }

    /// What the gateway answers when it is asked about a Slurm job.
    pub fn slurm_says(&self, slurm_job: Value) {
        self.world.borrow_mut().slurm = Some(slurm_job);
    }

    pub fn github(&self, end: &str, status: u16, body: Value) {
        self.world.borrow_mut().github.insert(end.to_owned(), (status, body));
    }

    /// What happens while GitHub is asked for what ends so.
    pub fn meanwhile(&self, end: &str, what: fn(&Memory)) {
        self.world.borrow_mut().meanwhile.insert(end.to_owned(), what);
    }

    pub fn pass(&self, seconds: u64) {
        self.platform.seconds.set(self.platform.seconds.get() + seconds);
    }

    fn deliver(&self, action: &str, job: u64, more: Value) -> Answer {
        self.deliver_in("octo/repo", action, job, more)
    }

    fn deliver_in(&self, repository: &str, action: &str, job: u64, more: Value) -> Answer {
        let mut event = Self::event(repository, action, job);
        for (name, value) in more.as_object().unwrap() {
            event["workflow_job"][name] = value.clone();
        }
        self.receive(&event)
    }

    /// The payload of a webhook about a job of a private repository.
    pub fn event(repository: &str, action: &str, job: u64) -> Value {
        json!({
            "action": action,
            "workflow_job": {"id": job, "run_id": job, "labels": ["self-hosted", "slurm"]},
            "repository": {
                "id": 7, "full_name": repository, "html_url": format!("https://github.com/{repository}"),
                "private": true, "visibility": "private",
            },
            "installation": {"id": 9},
            "sender": {"login": "octocat", "id": 2},
        })
    }

    pub fn receive(&self, event: &Value) -> Answer {
        receive(&self.platform, &delivery(event))
    }

    pub fn queue(&self, job: u64) -> Answer {
        self.deliver("queued", job, json!({}))
    }

    pub fn queue_with(&self, job: u64, more: Value) -> Answer {
        self.deliver("queued", job, more)
    }

    pub fn queue_in(&self, job: u64, repository: &str) -> Answer {
        self.deliver_in(repository, "queued", job, json!({}))
    }

    /// A job that somebody queued, as GitHub tells by the event's `sender`.
    pub fn queue_by(&self, job: u64, sender: &Value) -> Answer {
        let mut event = Self::event("octo/repo", "queued", job);
        event["sender"] = sender.clone();
        self.receive(&event)
    }

    /// An event of a job of this repository, by its id and its name.
    pub fn deliver_of(&self, (id, name): (u64, &str), action: &str, job: u64, more: Value) -> Answer {
        let mut event = json!({
            "action": action,
            "workflow_job": {"id": job, "run_id": job, "labels": ["self-hosted", "slurm"]},
            "repository": {"id": id, "full_name": name, "html_url": format!("https://github.com/{name}")},
            "installation": {"id": 9},
        });
        for (name, value) in more.as_object().unwrap() {
            event["workflow_job"][name] = value.clone();
        }
        receive(&self.platform, &delivery(&event))
    }

    /// A job of the repository with this id.
    pub fn queue_of(&self, job: u64, repository: u64) -> Answer {
        let name = format!("octo/repo{repository}");
        let event = json!({
            "action": "queued",
            "workflow_job": {"id": job, "run_id": job, "labels": ["slurm"]},
            "repository": {"id": repository, "full_name": name, "html_url": format!("https://github.com/{name}")},
            "installation": {"id": 9},
        });
        receive(&self.platform, &delivery(&event))
    }

    pub fn redeem(&self, launch: &str) -> Answer {
        let token = self.world.borrow().tokens[launch].clone();
        redeem(&self.platform, &authorized(&token))
    }

    /// A job script tells that the check on its node refused a job.
    pub fn refuse_at_node(&self, launch: &str, told: &str) -> Answer {
        let token = self.world.borrow().tokens[launch].clone();
        let target = "/gha/runner/refused".to_owned();
        redeem(&self.platform, &Request { target, body: told.as_bytes().to_vec(), ..authorized(&token) })
    }

    /// The same by a job script that takes a JIT configuration; GitHub makes it as [`Scene::github`] says.
    pub fn redeem_jit(&self, launch: &str) -> Answer {
        let token = self.world.borrow().tokens[launch].clone();
        redeem(&self.platform, &Request { body: br#"{"credential": "jit"}"#.to_vec(), ..authorized(&token) })
    }

    pub fn start(&self, job: u64, runner: &str) {
        assert_eq!(self.deliver("in_progress", job, json!({"runner_name": runner})).status, 200);
    }

    pub fn finish(&self, job: u64, conclusion: &str) {
        assert_eq!(self.deliver("completed", job, json!({"conclusion": conclusion})).status, 200);
    }

    /// A job from its webhook to its end: 10 s in Slurm's queue, 3 s to start, 60 s to run.
    pub fn whole(&self, job: u64) {
        self.queue(job);
        self.pass(10);
        assert_eq!(self.redeem(&format!("{job}-1")).status, 200);
        self.pass(3);
        self.start(job, &format!("gha-slurm-{job}-1"));
        self.pass(60);
        self.finish(job, "success");
    }
}
