//! Clusters that fetch, and webhooks that are read: nothing comes in from outside, and all of it works as it does
//! otherwise.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::{GitHub, JobStatus};
use gha_slurm_simulator::runner;
use gha_slurm_simulator::wire::Wire;
use sha2::{Digest, Sha256};

use crate::support::gateway::GatewayProcess;
use crate::support::{App, LABELS, REPOSITORY, WEBHOOK_SECRET, json};

pub(crate) const SECRET: &str = "a-secret-of-the-cluster-of-the-tests";

/// The variable `clusters`: one that fetches, called alps.
pub(crate) fn clusters() -> String {
    let digest = Sha256::digest(SECRET).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    format!("[[cluster]]\nname = \"alps\"\nreach = \"fetch\"\nsecret_sha256 = \"{digest}\"\n")
}

/// A gateway that fetches from `app`. It listens nowhere.
fn fetching(folder: &Path, app: &str, more: &str) -> GatewayProcess {
    let secret = folder.join("app-secret");
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let here = folder.display();
    let yaml = format!(
        "app: {{url: '{app}', cluster: alps, secretFile: app-secret}}\nstateDirectory: {here}/state\n\
         repositories: [{{gitHubURL: 'https://github.com/{REPOSITORY}', slurmUser: daemon}}]\n{more}\n"
    );
    GatewayProcess::start_fetching(folder, &yaml)
}

/// The job script runs a runner's stand-in here, with no Slurm between.
fn local(folder: &Path, github: &GitHub) -> String {
    runner::install(&folder.join("runner")).unwrap();
    let (here, github) = (folder.display(), github.url());
    let variable = runner::GITHUB_VARIABLE;
    format!("backend: local\njob: {{runner: {here}/runner, idleSeconds: 20, environment: {{{variable}: '{github}'}}}}")
}

async fn github() -> (GitHub, Events) {
    let events = Events::default();
    (GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap(), events)
}

async fn is_done(app: &App, job: u64) {
    let done = || app.github.job(job).unwrap().status == JobStatus::Completed("success".to_owned());
    app.within_seconds(30, "the job is done", done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_fetches_runs_a_job_by_a_gateway_that_listens_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let (github, events) = github().await;
    let app = App::start_beside(
        github,
        events,
        "",
        &[("gateway_url", ""), ("gateway_secret", ""), ("clusters", &clusters())],
    )
    .await;
    let _gateway = fetching(folder.path(), &app.url, &local(folder.path(), &app.github));
    let (job, delivery) = app.github.queue_job(REPOSITORY, LABELS).await;
    let delivery = delivery.unwrap();
    assert_eq!((delivery.status, &delivery.answer["decision"]), (202, &"offered".into()), "{delivery:?}");
    is_done(&app, job).await;
    assert!(app.gateway.starts().is_empty(), "nobody was called");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_cancelled_after_it_was_fetched_leaves_no_slurm_job() {
    let folder = tempfile::tempdir().unwrap();
    let (github, events) = github().await;
    let app = App::start_beside(
        github,
        events,
        "",
        &[("gateway_url", ""), ("gateway_secret", ""), ("clusters", &clusters())],
    )
    .await;
    let slurm = FakeSlurm::new(folder.path());
    let _gateway = fetching(folder.path(), &app.url, &slurm.backend());
    let (job, _) = app.github.queue_job(REPOSITORY, LABELS).await;
    app.within_seconds(20, "it is submitted", || slurm.submitted().len() == 1).await;
    app.github.cancel_job(job).await;
    app.within_seconds(30, "it is cancelled", || slurm.cancelled() == [format!("gha-slurm-{job}-1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_the_clusters_secret_fetches_nothing() {
    let app = App::start_with(&[("gateway_url", ""), ("gateway_secret", ""), ("clusters", &clusters())]).await;
    let (job, _) = app.github.queue_job(REPOSITORY, LABELS).await;
    let ask = async |cluster: &str, secret: &str| {
        let url = format!("{}/clusters/{cluster}/exchange", app.url);
        let request = app.client.post(url).bearer_auth(secret).header("content-type", "application/json");
        json(request.body(r#"{"gateway": "a", "room": 9}"#).send().await.unwrap()).await
    };
    let (status, wrong) = ask("alps", "another-secret-of-32-characters!!").await;
    assert_eq!(status, 401);
    // Nor does he learn which clusters there are.
    assert_eq!(ask("eiger", SECRET).await, (401, wrong));
    let (status, orders) = ask("alps", SECRET).await;
    assert_eq!((status, &orders["launches"][0]["start"]["launch"]), (200, &format!("{job}-1").into()), "{orders}");
    assert_eq!(ask("alps", SECRET).await.1["launches"], serde_json::json!([]), "it is leased");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_that_are_read_and_launches_that_are_fetched_need_no_way_in() {
    let folder = tempfile::tempdir().unwrap();
    let (github, events) = github().await;
    let clusters = clusters();
    let changes = [
        ("gateway_url", ""),
        ("gateway_secret", ""),
        ("clusters", clusters.as_str()),
        ("webhooks", "poll"),
        ("poll_seconds", "1"),
    ];
    let app = App::start_beside(github, events, "", &changes).await;
    app.github.set_webhook_url("https://gha-slurm.invalid/");
    let _gateway = fetching(folder.path(), &app.url, &local(folder.path(), &app.github));
    let (job, delivery) = app.github.queue_job(REPOSITORY, LABELS).await;
    assert_eq!(delivery.unwrap().status, 0, "GitHub reaches nobody");
    is_done(&app, job).await;
    let (status, answer) = json(app.deliver("workflow_job", "{}".to_owned()).await).await;
    assert_eq!(status, 404, "{answer}");
}

/// A Slurm of three scripts, where Slurm jobs wait for ever.
struct FakeSlurm(std::path::PathBuf);

impl FakeSlurm {
    fn new(folder: &Path) -> Self {
        let folder = folder.join("slurm");
        std::fs::create_dir_all(&folder).unwrap();
        let here = folder.display();
        let scripts = [
            (
                "sbatch",
                format!(
                    "for word; do case $word in --job-name=*) name=${{word#*=}} ;; esac; done\ncat > /dev/null\n\
                     exec 9>>{here}/jobs\nflock 9\nid=$(( $(wc -l < {here}/jobs) + 1 ))\necho \"$id $name\" >&9\necho $id\n"
                ),
            ),
            (
                "squeue",
                format!(
                    "for word; do case $word in --format=*) format=${{word#*=}} ;; --name=*) names=,${{word#*=}}, ;; esac; done\n\
                     touch {here}/jobs\nwhile read -r id name; do\n\
                     case ${{names-,$name,}} in *,$name,*) ;; *) continue ;; esac\n\
                     case $format in %A) echo $id ;; *) echo \"$id|1|0|PENDING|N/A|gha|Priority\" ;; esac\n\
                     done < {here}/jobs\n"
                ),
            ),
            ("scancel", format!("for id; do :; done\nsed -n \"s/^$id //p\" {here}/jobs >> {here}/cancelled\n")),
        ];
        for (name, script) in scripts {
            let path = folder.join(name);
            std::fs::write(&path, format!("#!/bin/bash\n{script}")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        Self(folder)
    }

    fn backend(&self) -> String {
        let at = self.0.display();
        format!(
            "backend: sbatch\nsbatch: {{sbatch: [{at}/sbatch], squeue: [{at}/squeue], scancel: [{at}/scancel]}}\n\
             job: {{runner: {at}/runner}}"
        )
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The names of the Slurm jobs, each as often as it was submitted.
    fn submitted(&self) -> BTreeMap<String, usize> {
        let mut times = BTreeMap::new();
        for line in self.lines("jobs") {
            *times.entry(line.split_once(' ').unwrap().1.to_owned()).or_default() += 1;
        }
        times
    }

    fn cancelled(&self) -> Vec<String> {
        self.lines("cancelled")
    }
}

const LAUNCHES: usize = 500;

/// How often app and gateway are killed; `.ci/run` asks for more.
fn kills() -> usize {
    std::env::var("GHA_SLURM_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(8)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_app_and_gateway_are_killed_five_hundred_launches_are_each_submitted_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let (github, events) = github().await;
    let wire = Wire::start(events.clone()).await.unwrap();
    let (clusters, url) = (clusters(), wire.app_url());
    let changes =
        [("gateway_url", ""), ("gateway_secret", ""), ("clusters", clusters.as_str()), ("public_url", url.as_str())];
    let start = async || {
        let app = App::start_beside(github.clone(), events.clone(), store.to_str().unwrap(), &changes).await;
        wire.connect_app(&app.url);
        app
    };
    let slurm = FakeSlurm::new(folder.path());
    let gateway = || fetching(folder.path(), &url, &slurm.backend());

    let mut app = start().await;
    let mut jobs = Vec::new();
    for _ in 0..LAUNCHES {
        let (job, delivery) = app.github.queue_job(REPOSITORY, LABELS).await;
        assert_eq!(delivery.unwrap().answer["decision"], "offered");
        jobs.push(job);
    }
    let mut running = gateway();
    for kill in 0..kills() {
        tokio::time::sleep(Duration::from_millis(700 + (kill as u64 * 433) % 1500)).await;
        if kill % 2 == 0 {
            running.kill();
            running = gateway();
        } else {
            app.kill();
            app = start().await;
        }
    }
    // What was leased when somebody died is offered again after two minutes.
    app.within_seconds(200, "all are submitted", || slurm.submitted().len() == LAUNCHES).await;
    let twice: Vec<_> = slurm.submitted().into_iter().filter(|(_, times)| *times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert!(jobs.iter().all(|job| slurm.submitted().contains_key(&format!("gha-slurm-{job}-1"))));
    drop(running);
}
