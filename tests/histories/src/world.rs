//! GitHub, the gateway that is called and Slurm, as they are in truth.

use std::collections::{BTreeMap, BTreeSet};

use gha_slurm_core::ports::{HttpMethod, HttpRequest, HttpResponse, SendError};
use gha_slurm_core::testing::{answer, own_run};
use gha_slurm_protocol::identity::LaunchId;
use serde_json::{Value, json};

use crate::fetching::Gateway;
use crate::history::POOLS;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Status {
    /// Its deployment waits for an approval.
    Waiting,
    Queued,
    Running,
    Done(&'static str),
}

impl Status {
    fn word(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::Running => "in_progress",
            Self::Done(_) => "completed",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) pool: usize,
    pub(crate) status: Status,
    pub(crate) runner: Option<String>,
    pub(crate) created_at: u64,
    /// The app answered its *queued* with a 2xx.
    pub(crate) accepted: bool,
    /// Its code comes from a fork, which neither the profile nor the gateway's policy allows.
    pub(crate) fork: bool,
}

impl Job {
    pub(crate) fn queued(pool: usize, created_at: u64) -> Self {
        Self { pool, status: Status::Queued, runner: None, created_at, accepted: false, fork: false }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct SlurmJob {
    /// Which cluster has it.
    pub(crate) cluster: usize,
    pub(crate) start: Value,
    pub(crate) pending: bool,
    /// Its last state in Slurm's word, once it is over.
    pub(crate) end: &'static str,
}

#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) name: String,
    pub(crate) pool: usize,
    pub(crate) job: Option<u64>,
}

/// A runner of a JIT configuration as GitHub has it in its list, whether it ever ran or not.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// The process died before the app could keep its id.
    pub(crate) unknown: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    /// Of this attempt to deliver it.
    pub(crate) id: u64,
    /// Of all of them.
    pub(crate) guid: u64,
    pub(crate) action: &'static str,
    pub(crate) job: u64,
    pub(crate) body: Value,
    /// When this attempt was made.
    pub(crate) at: u64,
}

/// GitHub, the gateway and Slurm, as they are in truth.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) jobs: BTreeMap<u64, Job>,
    pub(crate) slurm: Vec<SlurmJob>,
    pub(crate) runners: Vec<Runner>,
    pub(crate) listed: Vec<Listed>,
    /// How often GitHub was asked to remove each runner, by id.
    pub(crate) removals: BTreeMap<u64, u32>,
    pub(crate) removed: BTreeSet<u64>,
    pub(crate) webhooks: Vec<Webhook>,
    /// Webhooks that did not reach the app, as GitHub lists them: all of them where they are read.
    pub(crate) failed: Vec<Webhook>,
    /// Webhooks are read from GitHub's list.
    pub(crate) polled: bool,
    /// So many of the next deliveries GitHub cannot show just now.
    pub(crate) unshown: u32,
    pub(crate) away: bool,
    pub(crate) lose_answer: bool,
    /// The gateway is the original one, which cannot be asked for a Slurm job.
    pub(crate) mute: bool,
    /// The next webhook tells no runner's name.
    pub(crate) nameless: bool,
    /// Jobs whose launches the gateway refuses.
    pub(crate) refused: BTreeSet<u64>,
    /// What may cost a job one launch more.
    pub(crate) adversities: usize,
    /// Webhooks that a job is held back, received after it was not any more.
    pub(crate) late_holds: usize,
    pub(crate) credentials: BTreeMap<String, u32>,
    /// How many launches of each job were lost to a job that the node refused.
    pub(crate) refusals: BTreeMap<u64, usize>,
    /// How many launches each job had when it was denied.
    pub(crate) denials: BTreeMap<u64, usize>,
    /// How often each webhook failed, by guid.
    pub(crate) failures: BTreeMap<u64, u32>,
    /// The most Slurm jobs that lived at once.
    pub(crate) most_living: usize,
    /// The cluster whose gateway is called.
    pub(crate) pushed: Option<usize>,
    /// Those that fetch.
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) gateway_deaths: usize,
    /// Everything works from now on.
    pub(crate) calm: bool,
    /// The answer to the next exchange is lost.
    pub(crate) lose_exchange: bool,
    /// Slurm takes nothing from gateways that fetch.
    pub(crate) slurm_away: bool,
    /// Which cluster each launch was handed out to.
    pub(crate) handed: BTreeMap<String, usize>,
    /// What was done that must never be.
    pub(crate) violations: Vec<String>,
    pub(crate) last_id: u64,
    pub(crate) now: u64,
}

/// As GitHub writes times.
fn time(seconds: u64) -> String {
    chrono::DateTime::from_timestamp(seconds.cast_signed(), 0).unwrap().to_rfc3339()
}

impl Webhook {
    /// `X-GitHub-Delivery`
    pub(crate) fn name(&self) -> String {
        format!("guid-{}", self.guid)
    }

    /// Whether it tells that the job is held back.
    pub(crate) fn holds(&self) -> bool {
        self.body["workflow_job"]["status"] == "waiting"
    }
}

impl World {
    pub(crate) fn approve(&mut self, id: u64) {
        self.jobs.get_mut(&id).unwrap().status = Status::Queued;
        self.notify("queued", id);
    }

    pub(crate) fn notify(&mut self, action: &'static str, id: u64) {
        let told = action != "queued" && self.jobs[&id].runner.is_some();
        let nameless = told && std::mem::take(&mut self.nameless);
        self.adversities += usize::from(nameless);
        let job = &self.jobs[&id];
        let conclusion = if let Status::Done(conclusion) = job.status { Some(conclusion) } else { None };
        let created_at = time(job.created_at);
        let body = json!({
            "action": action,
            "workflow_job": {
                "id": id, "run_id": id, "labels": POOLS[job.pool], "conclusion": conclusion, "status": job.status.word(),
                "runner_name": job.runner.as_ref().filter(|_| !nameless), "created_at": created_at,
            },
            "repository": {"id": 7, "full_name": "octo/repo", "html_url": "https://github.com/octo/repo"},
            "installation": {"id": 9},
        });
        self.last_id += 1;
        self.webhooks.push(Webhook { id: self.last_id, guid: self.last_id, action, job: id, body, at: self.now });
    }

    /// In another order than GitHub sent them, the app takes back a launch that GitHub asked for.
    pub(crate) fn arrives(&mut self, webhook: &Webhook) {
        if webhook.holds() && !matches!(self.jobs[&webhook.job].status, Status::Waiting) {
            self.adversities += 1;
            self.late_holds += 1;
        }
    }

    /// A delivery in full. Of those that were to be received it shows one in three not at all: they are sent once more.
    fn show_delivery(&mut self, id: u64) -> Result<HttpResponse, SendError> {
        if self.unshown > 0 {
            self.unshown -= 1;
            return answer(502, &json!({}));
        }
        let found = self.failed.iter().find(|webhook| webhook.id == id).cloned();
        let shown = found.filter(|_| self.polled || !id.is_multiple_of(3));
        let Some(webhook) = shown else { return answer(404, &json!({"message": "Not Found"})) };
        self.arrives(&webhook);
        let request = json!({"headers": {}, "payload": webhook.body});
        answer(200, &json!({"id": id, "guid": webhook.name(), "event": "workflow_job", "request": request}))
    }

    pub(crate) fn fail(&mut self, webhook: Webhook) {
        self.last_id += 1;
        *self.failures.entry(webhook.guid).or_default() += 1;
        self.failed.push(Webhook { id: self.last_id, at: self.now, ..webhook });
    }

    /// Remembers the launches of jobs that were just denied.
    pub(crate) fn note_denials(&mut self, denied: impl Fn(u64) -> bool) {
        for id in self.jobs.keys().filter(|id| denied(**id)) {
            let of_job = |job: &&SlurmJob| job.start["launch"].as_str().unwrap().starts_with(&format!("{id}-"));
            let launches = self.slurm.iter().filter(of_job).count();
            self.denials.entry(*id).or_insert(launches);
        }
    }

    /// Counts the Slurm jobs that take a place: pending, unless the app gave them up, or with a runner.
    pub(crate) fn count_living(&mut self, gone: impl Fn(&Value) -> bool) {
        let pending = self.slurm.iter().filter(|job| job.pending && !gone(&job.start)).count();
        self.most_living = self.most_living.max(pending + self.runners.len());
    }

    pub(crate) fn finish(&mut self, id: u64, conclusion: &'static str) {
        let job = self.jobs.get_mut(&id).unwrap();
        job.status = Status::Done(conclusion);
        let of_job = |runner: &Runner| runner.job == Some(id);
        let gone: Vec<String> =
            self.runners.extract_if(.., |runner| of_job(runner)).map(|runner| runner.name).collect();
        // An ephemeral runner leaves the list with its job.
        self.listed.retain(|listed| !gone.contains(&listed.name));
        self.notify("completed", id);
    }

    pub(crate) fn assign(&mut self, id: u64, runner: usize) {
        let runner = &mut self.runners[runner];
        let job = self.jobs.get_mut(&id).unwrap();
        runner.job = Some(id);
        job.status = Status::Running;
        job.runner = Some(runner.name.clone());
        if runner.name != format!("gha-slurm-{id}-1") {
            self.adversities += 1;
        }
        self.notify("in_progress", id);
    }

    /// A fitting pair of a queued job and an idle runner, if there is one.
    pub(crate) fn fitting(&self, job: usize, runner: usize) -> Option<(u64, usize)> {
        let queued: Vec<_> = self.jobs.iter().filter(|(_, job)| job.status == Status::Queued).collect();
        let (id, job) = queued.get(job % queued.len().max(1))?;
        let idle: Vec<usize> = (0..self.runners.len())
            .filter(|index| self.runners[*index].job.is_none() && self.runners[*index].pool >= job.pool)
            .collect();
        Some((**id, *idle.get(runner % idle.len().max(1))?))
    }

    /// A runner's Slurm job ends under it.
    pub(crate) fn crash(&mut self, runner: usize) {
        let runner = self.runners.remove(runner);
        self.adversities += 1;
        if let Some(job) = self.slurm.iter_mut().find(|job| job.start["runnerName"] == runner.name.as_str()) {
            job.end = "NODE_FAIL";
        }
        if let Some(job) = runner.job {
            self.listed.retain(|listed| listed.name != runner.name);
            self.finish(job, "failure");
        }
    }

    /// The check on the node refuses the job that a runner took: runner and Slurm job end before its first step. GitHub fails
    /// the job after a while. Returns what the launch was submitted with.
    pub(crate) fn refuse_at_the_node(&mut self, id: u64) -> Value {
        let index = self.runners.iter().position(|runner| runner.job == Some(id)).unwrap();
        let runner = self.runners.remove(index);
        self.listed.retain(|listed| listed.name != runner.name);
        self.adversities += 1;
        *self.refusals.entry(LaunchId::of_runner(&runner.name).unwrap().job.0).or_default() += 1;
        let of_runner =
            |job: &&mut SlurmJob| LaunchId::of_runner(&runner.name).unwrap().to_string() == job.start["launch"];
        let slurm_job = self.slurm.iter_mut().find(of_runner).unwrap();
        slurm_job.end = "FAILED";
        slurm_job.start.clone()
    }

    /// Somebody else's runner takes a queued job.
    pub(crate) fn strange(&mut self, id: u64) {
        let job = self.jobs.get_mut(&id).unwrap();
        job.status = Status::Running;
        job.runner = Some("somebody-elses".to_owned());
        self.notify("in_progress", id);
    }

    fn refuses(&self, start: &Value) -> bool {
        let job = start["launch"].as_str().unwrap().split('-').next().unwrap();
        self.refused.contains(&job.parse().unwrap())
    }

    /// Slurm takes a launch.
    pub(crate) fn submit(&mut self, cluster: usize, start: Value) -> usize {
        if let Some(other) = self.slurm.iter().find(|job| job.start["launch"] == start["launch"]) {
            let (launch, other) = (&start["launch"], other.cluster);
            self.violations.push(format!("I2: {launch} is submitted to cluster {cluster}, and was to {other}"));
        }
        self.slurm.push(SlurmJob { cluster, start, pending: true, end: "COMPLETED" });
        self.slurm.len() - 1
    }

    /// The state of a Slurm job in Slurm's word.
    pub(crate) fn slurm_state(&self, job: usize) -> &'static str {
        let job = &self.slurm[job];
        match job.pending {
            true => "PENDING",
            false if self.runners.iter().any(|runner| job.start["runnerName"] == runner.name.as_str()) => "RUNNING",
            false => job.end,
        }
    }

    /// Remembers to which cluster a launch was handed out.
    pub(crate) fn hand_out(&mut self, launch: &str, cluster: usize) {
        let first = *self.handed.entry(launch.to_owned()).or_insert(cluster);
        if first != cluster {
            self.violations.push(format!("I2: {launch} is handed out to cluster {cluster}, and was to {first}"));
        }
    }

    /// The Slurm job of a launch that the gateway was called for.
    fn known(&self, launch: &Value) -> Option<usize> {
        self.slurm.iter().position(|job| Some(job.cluster) == self.pushed && job.start["launch"] == *launch)
    }

    /// What the gateway tells of a launch's Slurm job.
    fn slurm_job(&self, launch: &str) -> Result<HttpResponse, SendError> {
        let Some(index) = self.known(&json!(launch)) else {
            return answer(404, &json!({}));
        };
        let state = self.slurm_state(index);
        answer(200, &json!({"launch": launch, "job_id": index.to_string(), "state": state}))
    }

    fn jit_config(&mut self, name: &str) -> Result<HttpResponse, SendError> {
        if self.listed.iter().any(|listed| listed.name == name) {
            return answer(409, &json!({"message": "Already exists"}));
        }
        self.last_id += 1;
        self.listed.push(Listed { id: self.last_id, name: name.to_owned(), unknown: false });
        answer(201, &json!({"runner": {"id": self.last_id, "name": name}, "encoded_jit_config": name}))
    }

    fn list(&self, name: &str) -> Result<HttpResponse, SendError> {
        let shown = |listed: &Listed| {
            let runs = self.runners.iter().find(|runner| runner.name == listed.name);
            let status = if runs.is_some() { "online" } else { "offline" };
            let busy = runs.is_some_and(|runner| runner.job.is_some());
            json!({"id": listed.id, "name": listed.name, "status": status, "busy": busy})
        };
        let found: Vec<Value> = self.listed.iter().filter(|listed| listed.name == name).map(shown).collect();
        answer(200, &json!({"total_count": found.len(), "runners": found}))
    }

    fn remove_runner(&mut self, id: u64) -> Result<HttpResponse, SendError> {
        *self.removals.entry(id).or_default() += 1;
        let Some(index) = self.listed.iter().position(|listed| listed.id == id) else {
            return answer(404, &json!({}));
        };
        let of_name = |runner: &Runner| runner.name == self.listed[index].name;
        match self.runners.iter().position(of_name) {
            Some(runner) if self.runners[runner].job.is_some() => return answer(422, &json!({})),
            Some(runner) => {
                // It was still there, and ends.
                self.runners.remove(runner);
                self.adversities += 1;
            }
            None => {}
        }
        self.listed.remove(index);
        self.removed.insert(id);
        Ok(HttpResponse { status: 204, headers: Vec::new(), body: Vec::new() })
    }

    pub(crate) fn serve(&mut self, request: &HttpRequest) -> Result<HttpResponse, SendError> {
        let path = request.url.path();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if path.starts_with("/runner/") {
            if self.away {
                return Err(SendError::Broken("connection refused".to_owned()));
            }
            if request.method == HttpMethod::Get {
                if self.mute {
                    return answer(404, &json!({}));
                }
                return self.slurm_job(path.trim_start_matches("/runner/"));
            }
            let known = self.known(&body["launch"]);
            let reply = match (path, known) {
                ("/runner/start", Some(index)) => answer(200, &json!({"status": "OK!", "job_id": index})),
                ("/runner/start", None) if self.refuses(&body) => answer(403, &json!({"message": "no Slurm user"})),
                ("/runner/start", None) => {
                    let cluster = self.pushed.unwrap();
                    self.hand_out(body["launch"].as_str().unwrap(), cluster);
                    let job = self.submit(cluster, body);
                    answer(200, &json!({"status": "OK!", "job_id": job}))
                }
                (_, Some(index)) => {
                    self.slurm[index].pending = false;
                    answer(200, &json!({"status": "OK!"}))
                }
                (_, None) => answer(404, &json!({})),
            };
            if std::mem::take(&mut self.lose_answer) {
                return Err(SendError::Broken("connection reset".to_owned()));
            }
            return reply;
        }
        if request.method == HttpMethod::Delete {
            return self.remove_runner(path.rsplit_once('/').unwrap().1.parse().unwrap());
        }
        if path.ends_with("/actions/runners") {
            let (_, name) = request.url.query_pairs().find(|(key, _)| key == "name").unwrap();
            return self.list(&name);
        }
        if path.ends_with("/generate-jitconfig") {
            return self.jit_config(body["name"].as_str().unwrap());
        }
        let expires_at = time(self.now + 3600);
        if path.ends_with("/access_tokens") || path.ends_with("/registration-token") {
            return answer(201, &json!({"token": "secret", "expires_at": expires_at}));
        }
        if path == "/app/hook/deliveries" {
            let listed: Vec<_> = self
                .failed
                .iter()
                .rev()
                .map(|webhook| {
                    json!({
                        "id": webhook.id, "guid": webhook.name(), "status": "failed", "event": "workflow_job",
                        "action": webhook.action, "delivered_at": time(webhook.at),
                    })
                })
                .collect();
            return answer(200, &json!(listed));
        }
        if let Some(id) = path.strip_prefix("/app/hook/deliveries/").and_then(|rest| rest.strip_suffix("/attempts")) {
            let webhook = self.failed.iter().find(|webhook| webhook.id.to_string() == id).cloned();
            self.webhooks.push(webhook.unwrap());
            return answer(202, &json!({}));
        }
        let id: u64 = path.rsplit_once('/').unwrap().1.parse().unwrap();
        if path.starts_with("/app/hook/deliveries/") {
            return self.show_delivery(id);
        }
        let job = &self.jobs[&id];
        if let Some(mut run) = own_run(path) {
            if job.fork {
                run["head_repository"]["id"] = json!(666);
            }
            return answer(200, &run);
        }
        let conclusion = if let Status::Done(conclusion) = job.status { Some(conclusion) } else { None };
        answer(
            200,
            &json!({"id": id, "status": job.status.word(), "conclusion": conclusion, "runner_name": job.runner}),
        )
    }
}
