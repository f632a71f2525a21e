//! The gateway and its job script on a real Slurm: munge, slurmctld, slurmd and slurmrestd, started for this test.
//!
//! Needs root and Slurm. Without them it is ignored; `GHA_SLURM_REQUIRE_SLURM=1` makes it fail instead.

// Tests fail by panicking, in helpers too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../tests/slurm/cluster.rs"]
mod cluster;
#[path = "../../tests/support/optional.rs"]
mod optional;
mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cluster::Cluster;
use gha_slurm_protocol::slurm_job::SlurmJob;
use gha_slurm_simulator::github::JobStatus;
use optional::trials;
use serde_json::{Value, json};
use support::{App, Gateway, ONE, TWO, get_json, post_json, runner_folder, within};

const USERS: [&str; 2] = ["ghaslurm1", "ghaslurm2"];

/// Everything around one gateway.
struct Site {
    cluster: Cluster,
    folder: tempfile::TempDir,
    app: std::sync::Arc<App>,
}

impl Site {
    fn yaml(&self, changes: &str) -> String {
        let (folder, key) = (self.folder.path().display(), self.cluster.folder.join("jwt_hs256.key"));
        let conf = self.cluster.folder.join("slurm.conf");
        let base = format!(
            "listen: 127.0.0.1:0\nghaSharedSecret: {}\nstateDirectory: {folder}\n\
             slurmUsers:\n  ghaslurm1: {{repositories: ['https://github.com/{ONE}'], partition: gha, partitions: [big], limits: {{cpus: 4}}}}\n  \
             ghaslurm2: {{repositories: ['https://github.com/{TWO}']}}\n",
            support::SECRET
        );
        let environment = |more: &str| format!("{{STAND_IN_GITHUB: '{}'{more}}}", self.app.github.url());
        let mut job = format!(
            "job: {{runner: {folder}/runner, scratch: {folder}/scratch, idleSeconds: 20, graceSeconds: 8, environment: "
        );
        job += &match changes {
            "stubborn" => environment(&format!(", STAND_IN_STUBBORN: '{folder}/scratch/stray'")),
            "slow" => environment(", STAND_IN_JOB_SECONDS: '60'"),
            "endless" => environment(", STAND_IN_JOB_SECONDS: '600'"),
            _ => environment(""),
        };
        job += "}\n";
        if changes == "endless" {
            // Beside the others, which look whether theirs is empty.
            job = job.replace("/scratch,", "/scratch-of-its-own,");
        }
        if changes == "stubborn" {
            job = job.replace("idleSeconds: 20", "idleSeconds: 3");
        }
        let backend = match changes {
            "sbatch" => {
                let command =
                    |tool| format!("[runuser, -u, '{{user}}', --, env, 'SLURM_CONF={}', {tool}]", conf.display());
                format!(
                    "backend: sbatch\nsbatch: {{sbatch: {}, squeue: {}, scancel: {}}}\n",
                    command("sbatch"),
                    command("squeue"),
                    command("scancel")
                )
            }
            "command" => format!(
                "slurmrestd: {{url: '{}', tokenCommand: [env, 'SLURM_CONF={}', scontrol, token, 'username={{user}}', 'lifespan={{seconds}}']}}\n",
                self.cluster.rest,
                conf.display()
            ),
            // The gateway believes that its tokens live for longer than they do.
            "expiring" => format!(
                "slurmrestd: {{url: '{}', tokenCommand: [env, 'SLURM_CONF={}', scontrol, token, 'username={{user}}', lifespan=3]}}\n",
                self.cluster.rest,
                conf.display()
            ),
            _ => format!("slurmrestd: {{url: '{}', jwtKeyFile: {}}}\n", self.cluster.rest, key.display()),
        };
        let scontrol = format!("scontrol: [env, 'SLURM_CONF={}', scontrol]\n", conf.display());
        base + &job + &scontrol + &backend
    }

    fn gateway(&self, changes: &str, resources: Value) -> Gateway {
        let gateway = Gateway::start(self.folder.path(), &self.yaml(changes));
        self.app.launch_at(&gateway.url, resources);
        gateway
    }

    /// Waits until a Slurm job has that state.
    async fn ends(&self, seconds: u64, id: &str, state: &str) {
        let cluster = &self.cluster;
        within(seconds, &format!("Slurm job {id} {state}: {}", cluster.job(id)), async || {
            cluster.job(id).contains(&format!("JobState={state}"))
        })
        .await;
    }

    fn scratch(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir(self.folder.path().join("scratch")).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.is_dir()).collect()
    }

    /// Queues a job that Slurm takes.
    async fn queue(&self, repository: &str) -> (u64, String) {
        let (job, status, answer) = self.app.queue(repository).await;
        assert_eq!((status, answer["status"].as_str()), (200, Some("OK!")), "{answer}");
        (job, answer["job_id"].as_str().unwrap().to_owned())
    }

    fn done(&self, job: u64) -> bool {
        self.app.github.job(job).unwrap().status == JobStatus::Completed("success".to_owned())
    }
}

fn main() -> std::process::ExitCode {
    optional::run(vec![trials![Cluster::need() => on_a_real_slurm]])
}

async fn on_a_real_slurm() {
    let folder = tempfile::tempdir().unwrap();
    runner_folder(folder.path());
    for name in ["scratch", "scratch-of-its-own"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::set_permissions(folder.path().join(name), PermissionsExt::from_mode(0o1777)).unwrap();
    }
    let cluster = Cluster::up();
    let site = Site { cluster, folder, app: App::start().await };
    let begun = Instant::now();
    let stage = |name: &str| println!("== {name} ({} s)", begun.elapsed().as_secs());
    stage("time limit, which comes later");
    let limited = a_job_longer_than_its_time_limit(&site).await;
    stage("workflow");
    the_whole_workflow(&site).await;
    stage("refusals");
    what_slurm_refuses_is_refused(&site).await;
    stage("what never starts");
    what_slurm_will_never_start_says_so(&site).await;
    stage("idle");
    an_idle_runner_ends_with_its_children(&site).await;
    stage("queue");
    the_credential_is_asked_for_when_the_slurm_job_starts(&site).await;
    stage("cancel");
    cancelled_while_pending_and_while_running(&site).await;
    stage("another name");
    a_renamed_slurm_job_is_watched_and_cancelled(&site).await;
    stage("users");
    two_users_see_nothing_of_each_other(&site).await;
    stage("outages");
    outages_lose_nothing_and_double_nothing(&site).await;
    stage("sbatch");
    the_same_by_sbatch(&site).await;
    stage("several nodes");
    several_nodes_with_one_runner(&site).await;
    stage("burst");
    a_burst_runs_once_each(&site).await;
    stage("expired token");
    an_expired_token_is_renewed(&site).await;
    stage("time limit");
    the_time_limit_ends_it_in_order(&site, &limited).await;
    // It takes whole nodes, so nothing else may be there any more.
    stage("expected start");
    slurms_expected_start_is_passed_on(&site).await;
    stage("done");
}

async fn the_whole_workflow(site: &Site) {
    let asked = json!({"cpus": "2", "memory": "512M", "duration": "30", "partition": "big", "gres": "fpga:1"});
    let gateway = site.gateway("command", asked);
    let (job, id) = site.queue(ONE).await;
    site.ends(30, &id, "COMPLETED").await;
    assert!(site.done(job), "{:?}", site.app.github.job(job));
    let shown = site.cluster.job(&id);
    for fact in ["UserId=ghaslurm1(", "Partition=big", "CPUs/Task=2", "MinMemoryNode=512M", "TimeLimit=00:30:00"] {
        assert!(shown.contains(fact), "{fact}: {shown}");
    }
    // As releases until and from 23.02 write it.
    assert!(
        ["gres:fpga:1", "gres/fpga:1"].iter().any(|gres| shown.contains(&format!("TresPerNode={gres}"))),
        "{shown}"
    );
    assert_eq!(site.scratch(), Vec::<PathBuf>::new(), "the private folder is gone");
    let log = PathBuf::from(format!("/home/ghaslurm1/gha-slurm-{id}.out"));
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("Running job: build") && !text.contains("eyJhbGci"), "{text}");
    assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    let (_, state) = get_json(&gateway.url, &format!("/runner/{job}-1")).await;
    assert_eq!(state, json!({"launch": format!("{job}-1"), "job_id": id, "state": "COMPLETED"}));
}

async fn a_job_longer_than_its_time_limit(site: &Site) -> (u64, String) {
    let _gateway = site.gateway("endless", json!({"duration": "1"}));
    let (job, id) = site.queue(ONE).await;
    within(20, "it runs", async || site.app.github.job(job).unwrap().status == JobStatus::InProgress).await;
    (job, id)
}

async fn the_time_limit_ends_it_in_order(site: &Site, (job, id): &(u64, String)) {
    site.ends(120, id, "TIMEOUT").await;
    let own = site.folder.path().join("scratch-of-its-own");
    within(20, "its folder is gone", async || std::fs::read_dir(&own).unwrap().next().is_none()).await;
    let log = std::fs::read_to_string(format!("/home/ghaslurm1/gha-slurm-{id}.out")).unwrap();
    assert!(log.contains("told to end; so is the runner") && log.contains("Exiting..."), "{log}");
    site.app.github.cancel_job(*job).await;
}

async fn an_expired_token_is_renewed(site: &Site) {
    let _gateway = site.gateway("expiring", json!({}));
    for _ in 0..2 {
        let (job, _) = site.queue(ONE).await;
        within(30, "it runs", async || site.done(job)).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
}

async fn what_slurm_refuses_is_refused(site: &Site) {
    let gateway = site.gateway("", json!({}));
    let mut request = site.app.request(77, TWO, "self-hosted");
    for (field, value, words) in
        [("partition", "nowhere", "partition"), ("memory", "4000G", "not available"), ("cpus", "999", "")]
    {
        request[field] = value.into();
        let (status, answer) = post_json(&gateway.url, "/runner/start", &request).await;
        assert!(status == 422 && answer["message"].as_str().unwrap().contains(words), "{field}: {status} {answer}");
        request.as_object_mut().unwrap().remove(field);
    }
    assert!(
        site.cluster.run("root", &["squeue", "-h", "-t", "PD"]).trim().is_empty(),
        "nothing stays pending for ever"
    );
    let (status, answer) = post_json(&gateway.url, "/runner/start", &request).await;
    assert_eq!(status, 200, "a refused launch may come again: {answer}");
    let check = Command::new(env!("CARGO_BIN_EXE_gha-slurm-gateway"))
        .args(["check".as_ref(), "--config".as_ref(), site.folder.path().join("gateway.yaml").as_os_str()])
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success() && printed.contains("ghaslurm2: ok, slurmrestd "), "{printed}");
    assert!(
        printed.contains("ProctrackType: warning: proctrack/linuxproc: a workflow's process outlives"),
        "{printed}"
    );
    let id = answer["job_id"].as_str().unwrap();
    assert_eq!(post_json(&gateway.url, "/runner/cancel", &json!({"job_id": id})).await.0, 200);
    drop(gateway);
    let gateway = Gateway::start(site.folder.path(), &site.yaml("").replace("ghaslurm2:", "slurm:"));
    let (status, answer) = post_json(&gateway.url, "/runner/start", &site.app.request(78, TWO, "x")).await;
    assert!(status == 403 && answer["message"].as_str().unwrap().contains("SlurmUser's"), "{status} {answer}");
}

/// Slurm takes it and says why it waits; when it is ended for that is tested without Slurm.
async fn what_slurm_will_never_start_says_so(site: &Site) {
    for (number, changes) in [(7001, ""), (7002, "sbatch")] {
        let gateway = site.gateway(changes, json!({"partition": "short", "duration": "30"}));
        let (status, answer) = post_json(&gateway.url, "/runner/start", &site.app.request(number, TWO, "x")).await;
        // slurmrestd of 22.05 tells it at once.
        if status == 422 && changes != "sbatch" {
            assert!(answer["message"].as_str().unwrap().contains("not available now (2015)"), "{answer}");
            continue;
        }
        assert_eq!(status, 200, "{answer}");
        let shown = site.cluster.job(answer["job_id"].as_str().unwrap());
        assert!(shown.contains("Requeue=0"), "{shown}");
        let launch = format!("/runner/{number}-1");
        within(20, "Slurm's reason", async || {
            let told: SlurmJob = serde_json::from_value(get_json(&gateway.url, &launch).await.1).unwrap();
            told.reason.as_deref() == Some("PartitionTimeLimit") && told.never_starts().is_some()
        })
        .await;
        let id = json!({"launch": format!("{number}-1")});
        assert_eq!(post_json(&gateway.url, "/runner/cancel", &id).await.0, 200);
        // The reason is kept after its end, to explain it.
        let told = get_json(&gateway.url, &launch).await.1;
        assert_eq!((&told["state"], &told["reason"]), (&json!("CANCELLED"), &json!("PartitionTimeLimit")), "{told}");
    }
}

async fn an_idle_runner_ends_with_its_children(site: &Site) {
    let gateway = site.gateway("stubborn", json!({}));
    let request = site.app.request(1, ONE, "nothing-that-a-job-wants");
    let (_, answer) = post_json(&gateway.url, "/runner/start", &request).await;
    let id = answer["job_id"].as_str().unwrap();
    let file = site.folder.path().join("scratch/stray");
    within(15, "the runner listens", async || std::fs::read_to_string(&file).is_ok_and(|pid| !pid.is_empty())).await;
    let stray = std::fs::read_to_string(&file).unwrap();
    assert!(Path::new("/proc").join(stray.trim()).exists());
    site.ends(40, id, "COMPLETED").await;
    // Empty for a process that is over and only not yet collected.
    let command = std::fs::read(Path::new("/proc").join(stray.trim()).join("cmdline"));
    assert!(command.is_err() || command.is_ok_and(|line| line.is_empty()), "its child in another session is gone too");
    assert_eq!(site.scratch(), Vec::<PathBuf>::new());
    std::fs::remove_file(file).unwrap();
}

async fn the_credential_is_asked_for_when_the_slurm_job_starts(site: &Site) {
    let _gateway = site.gateway("", json!({}));
    for answer in [None, Some(410)] {
        site.cluster.run("root", &["scontrol", "update", "PartitionName=gha", "State=DOWN"]);
        let before = site.app.exchanges().len();
        let (job, id) = site.queue(ONE).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(site.cluster.job(&id).contains("JobState=PENDING"));
        assert_eq!(site.app.exchanges().len(), before, "nothing is exchanged while it waits");
        site.app.answer_next(&answer.into_iter().collect::<Vec<_>>());
        site.cluster.run("root", &["scontrol", "update", "PartitionName=gha", "State=UP"]);
        site.ends(30, &id, "COMPLETED").await;
        assert_eq!(site.app.exchanges().len(), before + 1, "once");
        assert_eq!(site.done(job), answer.is_none());
        site.app.github.cancel_job(job).await;
    }
}

async fn cancelled_while_pending_and_while_running(site: &Site) {
    let gateway = site.gateway("slow", json!({}));
    let cancel =
        async |job: u64| post_json(&gateway.url, "/runner/cancel", &json!({"launch": format!("{job}-1")})).await.0;
    site.cluster.run("root", &["scontrol", "update", "PartitionName=gha", "State=DOWN"]);
    let (job, id) = site.queue(ONE).await;
    assert!(site.cluster.job(&id).contains("JobState=PENDING"));
    assert_eq!((cancel(job).await, cancel(job).await), (200, 200), "again is no error");
    assert!(site.cluster.job(&id).contains("JobState=CANCELLED"));
    let again = site.app.request(job, ONE, "x");
    assert_eq!(post_json(&gateway.url, "/runner/start", &again).await.0, 410);
    site.cluster.run("root", &["scontrol", "update", "PartitionName=gha", "State=UP"]);

    site.app.github.cancel_job(job).await;
    let (job, id) = site.queue(ONE).await;
    within(20, "the job runs", async || site.app.github.job(job).unwrap().status == JobStatus::InProgress).await;
    assert_eq!(cancel(job).await, 200);
    within(45, "the private folder is gone", async || site.scratch().is_empty()).await;
    site.ends(10, &id, "CANCELLED").await;
    let text = std::fs::read_to_string(format!("/home/ghaslurm1/gha-slurm-{id}.out")).unwrap();
    assert!(text.contains("told to end"), "{text}");
    assert_eq!(cancel(999).await, 404);
    assert_eq!(post_json(&gateway.url, "/runner/cancel", &json!({"job_id": "99999"})).await.0, 404);
    site.app.github.cancel_job(job).await;
}

async fn a_renamed_slurm_job_is_watched_and_cancelled(site: &Site) {
    site.cluster.run("root", &["scontrol", "update", "PartitionName=gha", "State=DOWN"]);
    for changes in ["", "sbatch"] {
        let gateway = site.gateway(changes, json!({}));
        let (job, id) = site.queue(ONE).await;
        let name = format!("JobName=x|y\n{id}|1|0|COMPLETED|N/A|gha|z");
        site.cluster.run(USERS[0], &["scontrol", "update", &format!("JobId={id}"), &name]);
        assert!(site.cluster.job(&id).contains("JobName=x|y\n"), "{}", site.cluster.job(&id));
        let state = async || get_json(&gateway.url, &format!("/runner/{job}-1")).await.1["state"].clone();
        assert_eq!(state().await, "PENDING", "{changes}");
        // Requeued, which a user may do as well, it counts as submitted anew.
        site.cluster.run("root", &["scontrol", "update", "PartitionName=gha", "State=UP"]);
        site.ends(30, &id, "RUNNING").await;
        site.cluster.run(USERS[0], &["scontrol", "update", &format!("JobId={id}"), "Requeue=1"]);
        site.cluster.run(USERS[0], &["scontrol", "requeue", &id]);
        site.cluster.run("root", &["scontrol", "update", "PartitionName=gha", "State=DOWN"]);
        site.ends(60, &id, "PENDING").await;
        assert!(site.cluster.job(&id).contains("Restarts=1"), "{}", site.cluster.job(&id));
        assert_eq!(state().await, "PENDING", "{changes}");
        let cancelled = json!({"launch": format!("{job}-1")});
        assert_eq!(post_json(&gateway.url, "/runner/cancel", &cancelled).await.0, 200);
        site.ends(30, &id, "CANCELLED").await;
        site.app.github.cancel_job(job).await;
    }
    site.cluster.run("root", &["scontrol", "update", "PartitionName=gha", "State=UP"]);
}

async fn two_users_see_nothing_of_each_other(site: &Site) {
    let gateway = site.gateway("slow", json!({}));
    let (one, first) = site.queue(ONE).await;
    let (two, second) = site.queue(TWO).await;
    for job in [one, two] {
        within(20, "both run", async || site.app.github.job(job).unwrap().status == JobStatus::InProgress).await;
    }
    for (other, id, job) in [(USERS[1], &first, one), (USERS[0], &second, two)] {
        let owner = USERS.iter().find(|user| **user != other).unwrap();
        let log = format!("/home/{owner}/gha-slurm-{id}.out");
        let script = format!("write batch_script {id} -");
        let script: Vec<&str> = ["scontrol"].into_iter().chain(script.split(' ')).collect();
        let seen = [
            site.cluster.run(other, &["bash", "-c", "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n'"]),
            site.cluster.run(other, &["ps", "axeww"]),
            site.cluster.run(other, &["scontrol", "show", "job", "-dd", id]),
            site.cluster.run(other, &script),
            site.cluster.run(
                other,
                &["bash", "-c", "cat /tmp/gha-slurm-cluster-*/spool/*/*/* /tmp/gha-slurm-cluster-*/ctld/*/*/*"],
            ),
            site.cluster.run(other, &["cat", &log]),
            site.cluster.run(other, &["bash", "-c", &format!("ls {}/scratch/*/", site.folder.path().display())]),
        ];
        let token = format!("eyJhbGciOiJIUzI1NiJ9.job{job}");
        for (index, text) in seen.iter().enumerate() {
            assert!(!text.contains(&token), "{other} sees the token of {owner} ({index}): {text}");
        }
        let own = site.cluster.run(owner, &["bash", "-c", "cat /proc/[0-9]*/environ | tr '\\0' '\\n'"]);
        assert!(own.contains("GHA_SLURM_WORK=") && !own.contains(&token), "not even its own user sees it");
        let own = site.cluster.run(owner, &script);
        assert!(own.contains("gha-slurm") && !own.contains(&token), "{own}");
        assert!(seen[3].contains("retrieval failed"), "{}", seen[3]);
        assert!(seen[5].contains("Permission denied"), "{}", seen[5]);
        assert!(seen[6].lines().any(|line| line.contains("Permission denied")), "{}", seen[6]);
    }
    for job in [one, two] {
        let cancelled = json!({"launch": format!("{job}-1")});
        assert_eq!(post_json(&gateway.url, "/runner/cancel", &cancelled).await.0, 200);
        site.app.github.cancel_job(job).await;
    }
    within(45, "both are gone", async || site.scratch().is_empty()).await;
}

async fn outages_lose_nothing_and_double_nothing(site: &Site) {
    let mut gateway = site.gateway("", json!({}));
    for daemon in ["slurmctld", "slurmrestd"] {
        site.cluster.script(&["stop", daemon]);
        let (job, status, answer) = site.app.queue(ONE).await;
        assert_eq!(status, 503, "{daemon}: {answer}");
        site.cluster.script(&["start", daemon]);
        let request = site.app.request(job, ONE, "self-hosted,slurm");
        within(20, "it is submitted", async || post_json(&gateway.url, "/runner/start", &request).await.0 == 200).await;
        within(30, "it runs", async || site.done(job)).await;
    }
    let (job, id) = site.queue(ONE).await;
    let request = site.app.request(job, ONE, "self-hosted,slurm");
    gateway.child.kill().unwrap();
    drop(gateway);
    // As after a crash between Slurm's answer and the index.
    let index = rusqlite::Connection::open(site.folder.path().join("launches.sqlite")).unwrap();
    assert_eq!(index.execute("UPDATE launches SET job = NULL WHERE key = ?1", [format!("{job}-1")]).unwrap(), 1);
    drop(index);
    gateway = site.gateway("", json!({}));
    for _ in 0..2 {
        let (status, answer) = post_json(&gateway.url, "/runner/start", &request).await;
        assert_eq!((status, answer["job_id"].as_str()), (200, Some(id.as_str())), "the same Slurm job");
    }
    within(30, "it runs", async || site.done(job)).await;
    let named = format!("--name=gha-slurm-{job}-1");
    let all = site.cluster.run("root", &["squeue", "-h", "-t", "all", "-o", "%A", &named]);
    assert_eq!(all.split_whitespace().collect::<Vec<_>>(), [id.as_str()]);
}

async fn the_same_by_sbatch(site: &Site) {
    let gateway = site.gateway("sbatch", json!({"cpus": "2", "duration": "10", "gres": "fpga:1", "memory": "300M"}));
    site.cluster.run("root", &["scontrol", "update", "PartitionName=gha", "State=DOWN"]);
    let (job, id) = site.queue(ONE).await;
    let script = ["scontrol", "write", "batch_script", &id, "-"];
    let script = site.cluster.run(USERS[0], &script);
    assert!(
        script.contains("gha-slurm") && !script.contains("eyJ"),
        "a neighbour of the same Slurm user reads: {script}"
    );
    site.cluster.run("root", &["scontrol", "update", "PartitionName=gha", "State=UP"]);
    site.ends(30, &id, "COMPLETED").await;
    assert!(site.done(job));
    let shown = site.cluster.job(&id);
    assert!(shown.contains("UserId=ghaslurm1(") && shown.contains("MinMemoryNode=300M"), "{shown}");
    let request = site.app.request(job, ONE, "x");
    assert_eq!(post_json(&gateway.url, "/runner/start", &request).await.1["job_id"], json!(id));
    let mut refused = site.app.request(4242, TWO, "x");
    refused["partition"] = "nowhere".into();
    let (status, answer) = post_json(&gateway.url, "/runner/start", &refused).await;
    assert!(status == 422 && answer["message"].as_str().unwrap().contains("invalid partition"), "{status} {answer}");
    assert_eq!(post_json(&gateway.url, "/runner/cancel", &json!({"launch": format!("{job}-1")})).await.0, 200);
}

async fn several_nodes_with_one_runner(site: &Site) {
    let asked = json!({
        "partition": "big", "nodes": "2", "ntasks": "4", "ntasks_per_node": "2", "constraint": "[first*1&second*1]",
        "mem_per_cpu": "100M", "cpus": "1", "licenses": "ansys:2", "nice": "100",
    });
    for changes in ["", "sbatch"] {
        let _gateway = site.gateway(changes, asked.clone());
        let (job, id) = site.queue(ONE).await;
        site.ends(30, &id, "COMPLETED").await;
        assert!(site.done(job), "{:?}", site.app.github.job(job));
        let shown = site.cluster.job(&id);
        for fact in [
            "NumNodes=2",
            "NumTasks=4",
            "Features=[first*1&second*1]",
            "MinMemoryCPU=100M",
            "Licenses=ansys:2",
            "Nice=100",
        ] {
            assert!(shown.contains(fact), "{changes}: {fact}: {shown}");
        }
        let log = std::fs::read_to_string(format!("/home/ghaslurm1/gha-slurm-{id}.out")).unwrap();
        assert_eq!(log.matches("Running job: build").count(), 1, "one runner: {log}");
    }
    let _gateway = site.gateway("sbatch", json!({"partition": "big", "constraint": "second&ib"}));
    let (_, id) = site.queue(ONE).await;
    site.ends(30, &id, "COMPLETED").await;
    let shown = site.cluster.job(&id);
    assert!(shown.contains("NodeList=second\n") && shown.contains("NumNodes=1"), "{shown}");
    let _gateway = site.gateway("", json!({"partition": "big", "nodelist": "second", "prefer": "ib"}));
    let (_, id) = site.queue(ONE).await;
    site.ends(30, &id, "COMPLETED").await;
    assert!(site.cluster.job(&id).contains("NodeList=second\n"), "{}", site.cluster.job(&id));
}

async fn slurms_expected_start_is_passed_on(site: &Site) {
    let whole = ["sbatch", "--parsable", "--exclusive", "--time=10", "--output=/dev/null", "--wrap=sleep 300"];
    let whole = site.cluster.run(USERS[0], &whole).trim().to_owned();
    site.ends(20, &whole, "RUNNING").await;
    for (place, changes) in [(1, ""), (2, "sbatch")] {
        let gateway = site.gateway(changes, json!({"duration": "5"}));
        let launch = format!("{}-1", 8000 + place);
        let mut request = site.app.request(8000 + place, ONE, "x");
        request["launch"] = launch.clone().into();
        assert_eq!(post_json(&gateway.url, "/runner/start", &request).await.0, 200);
        let asked = async || get_json(&gateway.url, &format!("/runner/{launch}")).await.1;
        within(30, "Slurm expects it to start", async || {
            // After 10 min, or 5 min more; 24.11 counts in whole minutes.
            asked().await["starts_in"].as_u64().is_some_and(|seconds| (1..=1000).contains(&seconds))
        })
        .await;
        // Seen where it is cheap to see.
        let position = if changes == "sbatch" { json!(place) } else { json!(null) };
        assert_eq!(asked().await["position"], position);
        println!("{}", asked().await);
    }
    let gateway = site.gateway("", json!({}));
    for launch in ["8001-1", "8002-1"] {
        assert_eq!(post_json(&gateway.url, "/runner/cancel", &json!({"launch": launch})).await.0, 200);
    }
    site.cluster.run("root", &["scancel", &whole]);
}

async fn a_burst_runs_once_each(site: &Site) {
    let count: usize = std::env::var("GHA_SLURM_BURST").map_or(200, |count| count.parse().unwrap());
    let _gateway = site.gateway("", json!({}));
    let begun = Instant::now();
    let mut jobs = Vec::new();
    for _ in 0..count {
        jobs.push(site.queue(ONE).await);
    }
    println!("{count} submitted in {:?}", begun.elapsed());
    for (job, id) in &jobs {
        within(150, "every job is done", async || site.done(*job)).await;
        site.ends(30, id, "COMPLETED").await;
    }
    println!("{count} done in {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(180));
    let ids: std::collections::HashSet<&String> = jobs.iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), count);
    within(10, "nothing is left", async || site.scratch().is_empty()).await;
}
