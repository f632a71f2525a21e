//! An App's webhook at GitHub, as far as it is read: a list that grows, moves and refuses.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use chrono::DateTime;
use gha_slurm_core::ledger::Ledger;
use gha_slurm_core::ports::{HttpMethod, HttpRequest, HttpResponse, SendError};
use gha_slurm_core::testing::{Memory, answer};
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::testing::authorized;
use gha_slurm_protocol::identity::JobId;
use gha_slurm_scene::{Scene, app_key};
use serde_json::{Value, json};

use crate::run::tick;

/// How GitHub shows a delivery in full.
#[derive(Clone, Default)]
pub(super) enum Shows {
    #[default]
    Whole,
    Status(u16),
    TooLarge,
    Body(Value),
}

/// One attempt at a delivery.
#[derive(Clone)]
pub(super) struct Attempt {
    pub(super) id: u64,
    pub(super) guid: String,
    pub(super) at: u64,
    pub(super) event: &'static str,
    pub(super) action: &'static str,
    pub(super) status: &'static str,
    pub(super) payload: Value,
    pub(super) shows: Shows,
}

type Meanwhile = Rc<dyn Fn(&Memory)>;
type Happening = Box<dyn FnOnce(&Memory, &mut World)>;

#[derive(Default)]
pub(super) struct World {
    /// In any order; GitHub lists them by their ids.
    pub(super) attempts: Vec<Attempt>,
    /// What happens before each of the next calls of the list.
    pub(super) before_list: VecDeque<Happening>,
    /// What happens once while a delivery is read.
    pub(super) meanwhile: Option<Meanwhile>,
    /// After so many calls more, GitHub limits the rate.
    pub(super) calls_left: Option<u32>,
    /// How many calls the hour has left, and when it ends; what is answered 304 does not count.
    pub(super) remaining: Option<(u64, u64)>,
    /// How many seconds a call takes.
    pub(super) seconds_a_call: u64,
    /// How many more the list takes.
    pub(super) seconds_a_list: u64,
    pub(super) gateway_seconds: u64,
    pub(super) lists: u32,
    pub(super) unchanged: u32,
    pub(super) read: Vec<u64>,
    pub(super) redelivered: Vec<u64>,
    /// The launches that the gateway got, in order.
    pub(super) submitted: Vec<String>,
}

pub(super) struct Hook {
    pub(super) platform: Memory,
    pub(super) world: Rc<RefCell<World>>,
}

const PROFILES: &str = "
    [[profile]]
    name = 'default'
    labels = ['self-hosted', 'slurm']

    [[profile]]
    name = 'gpu'
    labels = ['self-hosted', 'slurm', 'gpu']
    clusters = ['gone']
";
/// GitHub's ids are large.
pub(super) const FIRST: u64 = 1 << 40;

impl Hook {
    /// With the application in that mode.
    pub(super) fn new(webhooks: &str) -> Self {
        let platform = Memory::configured();
        platform.set_variable("github_private_key", Some(app_key()));
        platform.set_variable("webhooks", Some(webhooks));
        let world: Rc<RefCell<World>> = Rc::default();
        let seen = Rc::clone(&world);
        platform.serve(move |platform, request| {
            let before = match request.url.path() {
                "/app/hook/deliveries" => seen.borrow_mut().before_list.pop_front(),
                _ => None,
            };
            if let Some(happens) = before {
                happens(platform, &mut seen.borrow_mut());
            }
            let meanwhile = match request.url.path().starts_with("/app/hook/deliveries/") {
                true => seen.borrow_mut().meanwhile.take(),
                false => None,
            };
            if let Some(happens) = meanwhile {
                happens(platform);
            }
            seen.borrow_mut().answer(platform, request)
        });
        Self { platform, world }
    }

    fn now(&self) -> u64 {
        self.platform.seconds.get()
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.platform.seconds.set(self.now() + seconds);
    }

    /// An event of a job, that GitHub tried to deliver just now.
    pub(super) fn job(&self, id: u64, job: u64, action: &'static str) -> Attempt {
        let payload = Scene::event("octo/repo", action, job);
        let (guid, at, shows) = (format!("guid-{id}"), self.now(), Shows::Whole);
        Attempt { id, guid, at, event: "workflow_job", action, status: "failed to connect to host", payload, shows }
    }

    /// One whose job is for a profile that names a cluster that is not there, until [`Self::correct_profiles`].
    pub(super) fn misplaced(&self, job: u64) -> Attempt {
        self.platform.set_variable("profiles", Some(PROFILES));
        let mut attempt = self.job(FIRST + job, job, "queued");
        attempt.payload["workflow_job"]["labels"] = json!(["self-hosted", "slurm", "gpu"]);
        attempt
    }

    pub(super) fn correct_profiles(&self) {
        self.platform.set_variable("profiles", Some(&PROFILES.replace("clusters = ['gone']", "")));
    }

    pub(super) fn show_all(&self) {
        self.world.borrow_mut().attempts.iter_mut().for_each(|attempt| attempt.shows = Shows::Whole);
    }

    pub(super) fn add(&self, attempt: Attempt) {
        self.world.borrow_mut().attempts.push(attempt);
    }

    /// Queues so many jobs, whose numbers are those of their deliveries, one a second from now on.
    pub(super) fn queue(&self, jobs: std::ops::RangeInclusive<u64>) {
        for job in jobs {
            self.add(self.job(FIRST + job, job, "queued"));
        }
    }

    fn ask(&self, target: &str) -> Answer {
        let mut request = authorized("Bearer an-admin-token-of-32-characters!");
        request.target = target.to_owned();
        tick(&self.platform, &request)
    }

    pub(super) fn poll(&self) -> Answer {
        self.ask("/internal/deliveries")
    }

    pub(super) fn tick(&self) -> Value {
        self.ask("/internal/tick").body
    }

    /// Polls as a host does, until nothing is left.
    pub(super) fn poll_until_done(&self) {
        for _ in 0..10_000 {
            let answer = self.poll();
            if answer.status == 200 && answer.body["more"] == json!(false) && answer.body["behind"] == json!(0) {
                return;
            }
            self.pass(3);
        }
        panic!("it never ends");
    }

    pub(super) fn is_known(&self, job: u64) -> bool {
        Ledger(&self.platform).job(JobId(job)).requested().unwrap().is_some()
    }

    /// Which jobs were launched, in order.
    pub(super) fn launched(&self) -> Vec<u64> {
        let of = |launch: &String| launch.split_once('-').unwrap().0.parse().unwrap();
        self.world.borrow().submitted.iter().map(of).collect()
    }

    /// The same by number: what is put aside comes later.
    pub(super) fn launched_sorted(&self) -> Vec<u64> {
        let mut launched = self.launched();
        launched.sort_unstable();
        launched
    }

    pub(super) fn read(&self) -> Vec<u64> {
        self.world.borrow().read.iter().map(|id| id - FIRST).collect()
    }
}

impl World {
    pub(super) fn answer(&mut self, platform: &Memory, request: &HttpRequest) -> Result<HttpResponse, SendError> {
        let path = request.url.path().to_owned();
        if path == "/runner/start" {
            platform.seconds.set(platform.seconds.get() + self.gateway_seconds);
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            self.submitted.push(body["launch"].as_str().unwrap().to_owned());
            return answer(200, &json!({"status": "OK!", "job_id": self.submitted.len()}));
        }
        let Some(rest) = path.strip_prefix("/app/hook/deliveries") else {
            return answer(404, &json!({"message": "Not Found"}));
        };
        match &mut self.calls_left {
            Some(0) => return answer(429, &json!({"message": "You have exceeded a secondary rate limit."})),
            Some(left) => *left -= 1,
            None => {}
        }
        platform.seconds.set(platform.seconds.get() + self.seconds_a_call);
        let mut answered = self.answer_about(platform, rest, request)?;
        if let Some((left, reset)) = &mut self.remaining {
            if platform.seconds.get() >= *reset {
                (*left, *reset) = (5000, platform.seconds.get() + 3600);
            }
            *left -= u64::from(answered.status != 304);
            for (name, value) in [("limit", 5000), ("remaining", *left), ("reset", *reset)] {
                answered.headers.push((format!("x-ratelimit-{name}"), value.to_string()));
            }
        }
        Ok(answered)
    }

    fn answer_about(
        &mut self,
        platform: &Memory,
        rest: &str,
        request: &HttpRequest,
    ) -> Result<HttpResponse, SendError> {
        match rest.strip_prefix('/').map(|rest| rest.split('/').collect::<Vec<_>>()).as_deref() {
            None => self.list(platform, request),
            Some([id]) => self.show(id.parse().unwrap()),
            Some([id, "attempts"]) => {
                assert_eq!(request.method, HttpMethod::Post);
                self.redelivered.push(id.parse().unwrap());
                answer(202, &json!({}))
            }
            Some(other) => panic!("{other:?}"),
        }
    }

    fn list(&mut self, platform: &Memory, request: &HttpRequest) -> Result<HttpResponse, SendError> {
        self.lists += 1;
        platform.seconds.set(platform.seconds.get() + self.seconds_a_list);
        let query = |name: &str| request.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value);
        let below = query("cursor").map(|cursor| cursor.strip_prefix("v1_").unwrap().parse::<u64>().unwrap());
        let mut listed: Vec<&Attempt> = self.attempts.iter().collect();
        listed.sort_by_key(|attempt| std::cmp::Reverse(attempt.id));
        let mut rest = listed.into_iter().filter(|attempt| below.is_none_or(|below| attempt.id < below));
        let page: Vec<&Attempt> = rest.by_ref().take(100).collect();
        let header = |name: &str| request.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
        let mut headers = Vec::new();
        if let (Some(last), Some(_)) = (page.last(), rest.next()) {
            let url = format!("https://api.github.com/app/hook/deliveries?per_page=100&cursor=v1_{}", last.id);
            headers.push(("Link".to_owned(), format!("<{url}>; rel=\"next\"")));
        }
        let entry = |attempt: &&Attempt| {
            let at = DateTime::from_timestamp(attempt.at.try_into().unwrap(), 0).unwrap().to_rfc3339();
            json!({
                "id": attempt.id, "guid": attempt.guid, "delivered_at": at, "event": attempt.event,
                "action": attempt.action, "status": attempt.status, "status_code": 0, "redelivery": false,
            })
        };
        let body = Value::Array(page.iter().map(entry).collect()).to_string().into_bytes();
        // It is of the credential too.
        let mut hasher = DefaultHasher::new();
        (&body, header("authorization")).hash(&mut hasher);
        let tag = format!("\"{:x}\"", hasher.finish());
        if header("if-none-match") == Some(&tag) {
            self.unchanged += 1;
            return Ok(HttpResponse { status: 304, headers: Vec::new(), body: Vec::new() });
        }
        headers.push(("ETag".to_owned(), tag));
        Ok(HttpResponse { status: 200, headers, body })
    }

    fn show(&mut self, id: u64) -> Result<HttpResponse, SendError> {
        self.read.push(id);
        let Some(attempt) = self.attempts.iter().find(|attempt| attempt.id == id) else {
            return answer(404, &json!({"message": "Not Found"}));
        };
        match &attempt.shows {
            Shows::Whole => answer(200, &whole(attempt, "123456")),
            Shows::Status(status) => answer(*status, &json!({"message": "Not Found"})),
            Shows::TooLarge => Err(SendError::TooLarge),
            Shows::Body(body) => answer(200, body),
        }
    }
}

/// An attempt in full, sent for this App.
pub(super) fn whole(attempt: &Attempt, app: &str) -> Value {
    json!({
        "id": attempt.id, "guid": attempt.guid, "event": attempt.event,
        "request": {"headers": {"X-GitHub-Hook-Installation-Target-ID": app}, "payload": attempt.payload},
    })
}
