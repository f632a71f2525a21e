//! The seven arrows on a real Slurm: host, components, gateway, slurmctld, slurmd, slurmrestd and munge as shipped, each
//! in a process of its own. Only GitHub and its runner program are the simulator's. What the gateway does by itself is
//! tested beside it (`gateway/tests/slurm.rs`).
//!
//! Needs root and Slurm. Without them it is ignored; `GHA_SLURM_REQUIRE_SLURM=1` makes it fail instead.

// clippy.toml lets tests panic; what they share is part of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cluster;
#[path = "../support/optional.rs"]
mod optional;
#[path = "../support/mod.rs"]
mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cluster::Cluster;
use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::{Endpoint, Fault, GitHub, JobSpec, JobStatus, Person};
use gha_slurm_simulator::runner;
use optional::trials;
use serde_json::Value;
use support::gateway::GatewayProcess;
use support::{App, LABELS, REPOSITORY, WEBHOOK_SECRET};

const USER: &str = "ghaslurm1";
const ADAS_USER: &str = "ghaslurm2";
const PROFILES: &str = "[[profile]]
name = 'all'
labels = ['self-hosted', 'slurm']
partition = 'big'
cpus = 2
memory = '300M'
time_limit = '20'
[profile.dynamic]
slurm_users = ['*']

[[profile]]
name = 'open'
labels = ['open']
partition = 'big'
forks = 'allow'
";

struct Site {
    // Dropped first: the gateway's and the app's logs are read before the cluster is gone.
    app: App,
    gateway: GatewayProcess,
    cluster: Cluster,
    folder: tempfile::TempDir,
}

impl Site {
    async fn start() -> Self {
        let cluster = Cluster::up();
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        runner::install(&here.join("runner")).unwrap();
        std::fs::create_dir(here.join("scratch")).unwrap();
        for (path, mode) in [(here.to_owned(), 0o755), (here.join("scratch"), 0o1777)] {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        }
        let events = Events::default();
        let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
        let yaml = format!(
            "listen: 127.0.0.1:0\nghaSharedSecret: gateway-secret-of-the-tests\nstateDirectory: {here}\n\
             slurmUsers: {{{USER}: {{repositories: ['https://github.com/{REPOSITORY}'], partitions: [big]}}}}\n\
             people: {{table: {{ada-lovelace: {{id: 12, slurmUsers: [{ADAS_USER}]}}}}}}\n\
             slurmrestd: {{url: '{}', jwtKeyFile: {}}}\n\
             job: {{runner: {here}/runner, scratch: {here}/scratch, idleSeconds: 30, environment: {{{}: '{}'}}}}\n",
            cluster.rest,
            cluster.folder.join("jwt_hs256.key").display(),
            runner::GITHUB_VARIABLE,
            github.url(),
            here = here.display(),
        );
        let gateway = GatewayProcess::start(here, &yaml);
        let changes = [("gateway_url", gateway.url.as_str()), ("profiles", PROFILES)];
        let app = App::start_beside(github, events, "", &changes).await;
        Self { app, gateway, cluster, folder }
    }

    /// Queues a job, of which the app tells that decision.
    async fn queue(&self, decision: &str) -> u64 {
        let (job, delivery) = self.app.github.queue_job(REPOSITORY, LABELS).await;
        let delivery = delivery.unwrap();
        assert_eq!(delivery.answer["decision"], decision, "{delivery:?}");
        job
    }

    /// Queues a job that is launched; its Slurm job's id.
    async fn launch(&self) -> (u64, String) {
        let job = self.queue("launched").await;
        (job, self.slurm_job(job).await)
    }

    async fn slurm_job(&self, job: u64) -> String {
        let answer = self.gateway.slurm_job(&format!("{job}-1")).await;
        answer["job_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Waits until a job is done; the runner that did it.
    async fn done(&self, job: u64) -> String {
        let done = || self.app.github.job(job).unwrap().status == JobStatus::Completed("success".to_owned());
        self.app.within_seconds(60, &format!("job {job} is done"), done).await;
        self.app.github.job(job).unwrap().runner.unwrap().1
    }

    async fn ends(&self, slurm_job: &str, state: &str) {
        let ended = || self.cluster.job(slurm_job).contains(&format!("JobState={state}"));
        self.app.within_seconds(60, &format!("Slurm job {slurm_job} {state}"), ended).await;
    }

    fn slurm(&self, words: &str) {
        let words: Vec<&str> = ["scontrol"].into_iter().chain(words.split(' ')).collect();
        self.cluster.run("root", &words);
    }

    fn partition(&self, state: &str) {
        self.slurm(&format!("update PartitionName=big State={state}"));
    }

    fn launches(&self) -> usize {
        let all = self.cluster.run("root", &["squeue", "--noheader", "--states=all", "--format=%A"]);
        all.split_whitespace().count()
    }

    fn log(slurm_job: &str) -> String {
        std::fs::read_to_string(format!("/home/{USER}/gha-slurm-{slurm_job}.out")).unwrap()
    }

    fn scratch_is_empty(&self) -> bool {
        std::fs::read_dir(self.folder.path().join("scratch")).unwrap().next().is_none()
    }
}

fn main() -> std::process::ExitCode {
    optional::run(vec![trials![Cluster::need() => the_whole_workflow_on_a_real_slurm]])
}

async fn the_whole_workflow_on_a_real_slurm() {
    let site = Site::start().await;
    for name in ["free", "taken"] {
        println!("== the runner's name is {name}");
        from_queued_to_completed(&site, name == "taken").await;
    }
    println!("== a person's Slurm user");
    a_person_runs_as_her_own_slurm_user(&site).await;
    println!("== fork");
    a_forks_job_is_ended_before_its_first_step(&site).await;
    println!("== stolen runner");
    a_stolen_runner_starves_nobody(&site).await;
    println!("== cancelled");
    a_cancelled_jobs_slurm_job_is_cancelled(&site).await;
    println!("== outage");
    an_outage_of_slurm_loses_nothing(&site).await;
}

async fn from_queued_to_completed(site: &Site, name_is_taken: bool) {
    if name_is_taken {
        // As after an attempt that died: asked once more, when whoever has it was looked at.
        site.app.github.fail(Endpoint::JitConfig, Fault::Status(409));
    }
    site.partition("DOWN");
    let (job, slurm_job) = site.launch().await;
    let state = site.gateway.slurm_job(&format!("{job}-1")).await;
    assert_eq!((&state["state"], &state["reason"]), (&"PENDING".into(), &"PartitionDown".into()), "{state}");
    let asked = |end: &str| site.app.github.requests().iter().filter(|request| request.ends_with(end)).count();
    let before = asked("/generate-jitconfig");
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(asked("/generate-jitconfig"), before, "no credential while the Slurm job waits");
    site.partition("UP");
    assert_eq!(site.done(job).await, format!("gha-slurm-{job}-1"));
    site.ends(&slurm_job, "COMPLETED").await;
    assert_eq!(asked("/generate-jitconfig"), before + 1 + usize::from(name_is_taken));
    let shown = site.cluster.job(&slurm_job);
    for fact in [format!("UserId={USER}("), "Partition=big".into(), "CPUs/Task=2".into(), "MinMemoryNode=300M".into()] {
        assert!(shown.contains(&fact), "{fact}: {shown}");
    }
    assert!(shown.contains("TimeLimit=00:20:00") && shown.contains(REPOSITORY), "{shown}");
    let log = Site::log(&slurm_job);
    assert!(log.contains("Running job: build") && !log.contains("eyJhbGci"), "{log}");
    assert!(site.scratch_is_empty(), "its folder is gone");
}

async fn a_person_runs_as_her_own_slurm_user(site: &Site) {
    let label = format!("slurm-user={ADAS_USER}");
    let by = |login: &str, id| JobSpec {
        actor: Person::new(login, id),
        ..JobSpec::new(REPOSITORY, &["self-hosted", "slurm", &label])
    };
    let (job, delivery) = site.app.github.queue(by("Ada-Lovelace", 12)).await;
    assert_eq!(delivery.unwrap().answer["decision"], "launched");
    let slurm_job = site.slurm_job(job).await;
    assert_eq!(site.done(job).await, format!("gha-slurm-{job}-1"));
    site.ends(&slurm_job, "COMPLETED").await;
    let shown = site.cluster.job(&slurm_job);
    assert!(shown.contains(&format!("UserId={ADAS_USER}(")) && shown.contains("Ada-Lovelace"), "{shown}");
    let before = site.launches();
    let (_, delivery) = site.app.github.queue(by("mallory", 66)).await;
    let answer = delivery.unwrap().answer;
    assert!(answer["reason"].as_str().unwrap().contains("do not let mallory run as"), "{answer}");
    assert_eq!(site.launches(), before);
}

async fn a_forks_job_is_ended_before_its_first_step(site: &Site) {
    let spec = JobSpec {
        event: "pull_request".to_owned(),
        fork: Some("mallory/simulation".to_owned()),
        actor: Person::new("mallory", 66),
        ..JobSpec::new(REPOSITORY, &["open"])
    };
    let (job, delivery) = site.app.github.queue(spec).await;
    assert_eq!(delivery.unwrap().answer["decision"], "launched");
    let slurm_job = site.slurm_job(job).await;
    site.ends(&slurm_job, "FAILED").await;
    assert!(site.cluster.job(&slurm_job).contains("ExitCode=83:0"), "{}", site.cluster.job(&slurm_job));
    let (log, of_job) = (Site::log(&slurm_job), site.app.github.log(job).join("\n"));
    assert!(log.contains("the policy (forks) does not allow it"), "{log}");
    assert!(of_job.contains("##[error]") && !of_job.contains("Running step"), "{of_job}");
    site.app.github.lose_runner(&format!("gha-slurm-{job}-1")).await;
}

async fn a_stolen_runner_starves_nobody(site: &Site) {
    let before = site.launches();
    site.partition("DOWN");
    let (robber, robbers) = site.launch().await;
    let (robbed, robbeds) = site.launch().await;
    site.slurm(&format!("hold {robbers}"));
    site.partition("UP");
    assert_eq!(site.done(robber).await, format!("gha-slurm-{robbed}-1"), "GitHub gives the oldest job away first");
    site.ends(&robbeds, "COMPLETED").await;
    assert!(site.cluster.job(&robbers).contains("JobState=PENDING"), "its launch is the robbed job's now");
    site.slurm(&format!("release {robbers}"));
    assert_eq!(site.done(robbed).await, format!("gha-slurm-{robber}-1"));
    site.ends(&robbers, "COMPLETED").await;
    assert_eq!(site.launches(), before + 2, "no launch was wasted");
}

async fn a_cancelled_jobs_slurm_job_is_cancelled(site: &Site) {
    site.partition("DOWN");
    let (job, slurm_job) = site.launch().await;
    site.app.github.cancel_job(job).await;
    site.ends(&slurm_job, "CANCELLED").await;
    site.partition("UP");
}

async fn an_outage_of_slurm_loses_nothing(site: &Site) {
    let before = site.launches();
    site.cluster.script(&["stop", "slurmctld"]);
    let job = site.queue("deferred").await;
    site.cluster.script(&["start", "slurmctld"]);
    let mut report = Value::Null;
    for _ in 0..30 {
        report = site.app.tick().await;
        if report["launched"] == 1 || site.app.github.job(job).unwrap().status != JobStatus::Queued {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert_eq!(site.done(job).await, format!("gha-slurm-{job}-1"), "{report}");
    let slurm_job = site.slurm_job(job).await;
    site.ends(&slurm_job, "COMPLETED").await;
    assert_eq!(site.launches(), before + 1);
    assert!(Path::new(&format!("/home/{USER}/gha-slurm-{slurm_job}.out")).exists());
}
