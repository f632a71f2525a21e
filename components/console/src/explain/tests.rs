//! One job for each cause, and what is said of it: `tests/golden/explain/CAUSE.txt`. `EXPECTORATE=overwrite` writes
//! them anew.

use std::path::Path;

use gha_slurm_core::ledger::{Ledger, LostReason, Scope, Stops};
use gha_slurm_core::ports::{Clock, Store, Variables};
use gha_slurm_edge::testing::authorized;
use gha_slurm_protocol::identity::RepositoryName;
use gha_slurm_scene::{Gateway, PROFILES, Scene};
use serde_json::{Value, json};

use super::{Cause, Explained, explain};

fn ask(scene: &Scene, repository: &str, id: u64) -> Explained {
    explain(&scene.platform, &RepositoryName::try_from(repository.to_owned()).unwrap(), id).unwrap()
}

fn told(scene: &Scene, name: &str, cause: Cause, repository: &str, id: u64) {
    let explained = ask(scene, repository, id);
    assert_eq!(explained.jobs[0].cause, cause, "{explained}");
    let text = explained.to_string();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/golden/explain/{name}.txt"));
    expectorate::assert_contents(&file, &text);
}

fn of_ours(scene: &Scene, name: &str, cause: Cause, id: u64) {
    told(scene, name, cause, "octo/repo", id);
}

/// A job that GitHub alone knows.
fn at_github(name: &str, cause: Cause, repository: &str, status: &str, labels: &[&str]) {
    let scene = Scene::new();
    let job =
        json!({"id": 42, "name": "build", "status": status, "conclusion": null, "runner_name": null, "labels": labels});
    scene.github("/actions/jobs/42", 200, job);
    told(&scene, name, cause, repository, 42);
}

#[test]
fn a_job_that_left_no_fact() {
    at_github("no_profile", Cause::NoProfile, "octo/repo", "queued", &["self-hosted", "slurm", "gpus"]);
    at_github("no_profile_dynamic_alone", Cause::NoProfile, "octo/repo", "queued", &["slurm-cpus=4"]);
    at_github("no_profile_at_all", Cause::NoProfile, "octo/repo", "queued", &["ubuntu-latest"]);
    at_github("repository_not_allowed", Cause::RepositoryNotAllowed, "other/repo", "queued", &["gpu"]);
    at_github("label_refused", Cause::LabelRefused, "octo/repo", "queued", &["gpu", "slurm-cpus=64"]);
    at_github("held_by_github", Cause::HeldByGithub, "octo/repo", "waiting", &["slurm"]);
    at_github("no_webhook", Cause::NoWebhook, "octo/repo", "queued", &["slurm"]);
    at_github("runs_elsewhere", Cause::Running, "octo/repo", "in_progress", &["slurm"]);
    let scene = Scene::new();
    let reading = json!({"mode": "poll", "read_at": scene.platform.unix_seconds() - 3,
                         "newest_at": scene.platform.unix_seconds() - 250, "handled_at": null, "behind": 500});
    scene.platform.set("gha-slurm/1/github/reading", reading.to_string().as_bytes()).unwrap();
    scene.github("/actions/jobs/42", 200, json!({"id": 42, "name": "build", "status": "queued", "labels": ["slurm"]}));
    told(&scene, "no_webhook_polled", Cause::NoWebhook, "octo/repo", 42);
    let scene = Scene::new();
    scene.github("/repos/octo/repo/installation", 404, json!({"message": "Not Found"}));
    told(&scene, "not_installed", Cause::NotInstalled, "octo/repo", 42);
    let scene = Scene::new();
    told(&scene, "unknown", Cause::Unknown, "octo/repo", 42);
    let scene = Scene::new();
    scene.platform.set_variable("github_private_key", None);
    told(&scene, "github_not_configured", Cause::Unknown, "octo/repo", 42);
}

#[test]
fn a_job_that_may_not_run() {
    let scene = Scene::new();
    let job = json!({"id": 42, "name": "build", "status": "queued", "labels": ["slurm"]});
    scene.github("/actions/jobs/42", 200, job);
    scene.github("/repos/octo/repo", 200, json!({"id": 7, "private": false}));
    told(&scene, "public_not_allowed", Cause::PublicNotAllowed, "octo/repo", 42);
    let scene = Scene::new();
    scene.queue(1);
    let somebody = json!({"id": 2, "login": "octocat"});
    let run = json!({
        "event": "pull_request", "head_branch": "main", "path": ".github/workflows/ci.yml", "run_attempt": 1,
        "actor": somebody, "triggering_actor": somebody,
        "head_repository": {"id": 666}, "repository": {"id": 7, "private": true},
    });
    scene.github("/actions/runs/1", 200, run);
    assert_eq!(scene.redeem("1-1").status, 403);
    scene.pass(61);
    of_ours(&scene, "denied", Cause::Denied, 1);
    scene.queue(2);
    assert_eq!(scene.redeem("2-1").status, 200);
    let refused = json!({"reason": "the repository is not one of ada's", "repository": "octo/other", "run_id": 99});
    assert_eq!(scene.refuse_at_node("2-1", &refused.to_string()).status, 200);
    of_ours(&scene, "refused_at_node", Cause::Submitting, 2);
}

#[test]
fn a_job_before_the_gateway() {
    let scene = Scene::new();
    scene.queue_with(1, json!({"created_at": "2020-01-01T00:00:00Z"}));
    scene.pass(20);
    of_ours(&scene, "unconfirmed", Cause::Unconfirmed, 1);
    let gpu = json!({"labels": ["gpu"]});
    for job in 2..=4 {
        scene.queue_with(job, gpu.clone());
    }
    scene.pass(300);
    of_ours(&scene, "at_cap", Cause::AtCap, 4);
    scene.gateway(Gateway::Away);
    scene.queue(5);
    scene.pass(3);
    of_ours(&scene, "gateway_down", Cause::GatewayDown, 5);
    scene.gateway(Gateway::Takes);
    of_ours(&scene, "gateway_back", Cause::GatewayDown, 5);
    scene.gateway(Gateway::Says(403, "no Slurm user is mapped to https://github.com/octo/repo"));
    scene.queue(6);
    scene.pass(90);
    of_ours(&scene, "gateway_refuses", Cause::GatewayRefuses, 6);
    let elsewhere = "tokenURL: launch tokens may be exchanged only below app.url of the gateway's configuration";
    scene.gateway(Gateway::Says(422, elsewhere));
    scene.queue(8);
    of_ours(&scene, "gateway_of_another_app", Cause::GatewayRefuses, 8);
    scene.gateway(Gateway::Says(401, "auth-token missing"));
    scene.queue(7);
    of_ours(&scene, "gateway_secret", Cause::GatewayRefuses, 7);
}

#[test]
fn a_job_that_the_operator_stopped() {
    let scene = Scene::new();
    let stops = Stops(&scene.platform);
    let repository = Scope::Repository("octo/repo".to_owned().try_into().unwrap());
    scene.gateway(Gateway::Away);
    scene.queue(1);
    stops.stop(&repository).unwrap();
    scene.pass(90);
    of_ours(&scene, "stopped_repository", Cause::Stopped, 1);
    stops.stop(&Scope::All).unwrap();
    scene.queue(2);
    of_ours(&scene, "stopped", Cause::Stopped, 2);
    stops.resume(&Scope::All).unwrap();
    stops.resume(&repository).unwrap();
    assert_eq!(ask(&scene, "octo/repo", 2).jobs[0].cause, Cause::Submitting);
}

#[test]
fn a_job_in_the_line_of_a_profile_with_limits() {
    let scene = Scene::new();
    for (name, limits, first) in [
        ("at_cap_of_repository", "max_running_per_repository = 1", 10),
        ("at_cap_of_either", "max_running = 5\nmax_running_per_repository = 1", 20),
    ] {
        let profiles = PROFILES.replace("max_running = 1", limits).replace("'gpu'", &format!("'{name}'"));
        scene.platform.set_variable("profiles", Some(&profiles));
        let job = json!({"labels": [name]});
        scene.queue_with(first, job.clone());
        scene.queue_with(first + 1, job);
        of_ours(&scene, name, Cause::AtCap, first + 1);
    }
}

#[test]
fn a_job_without_a_credential() {
    let scene = Scene::new();
    let refused = |job: u64, name: &str, (github, message): (u16, &str), status: u16| {
        scene.queue(job);
        scene.github("/access_tokens", github, json!({ "message": message }));
        assert_eq!(scene.redeem(&format!("{job}-1")).status, status, "{name}");
        of_ours(&scene, name, Cause::CredentialRefused, job);
    };
    refused(1, "credential_of_no_app", (404, "Integration not found"), 503);
    refused(2, "credential_of_github_away", (502, "Bad Gateway"), 503);
    let permission = "The permissions requested are not granted to this installation.";
    refused(3, "credential_without_permission", (422, permission), 403);
}

#[test]
fn a_job_in_slurm() {
    let scene = Scene::new();
    scene.queue(1);
    scene.pass(3700);
    of_ours(&scene, "submitted", Cause::Submitted, 1);
    scene.slurm("PENDING", Some("Resources"));
    of_ours(&scene, "slurm_pending", Cause::SlurmPending, 1);
    scene.slurm("PENDING", Some("QOSMaxJobsPerUserLimit"));
    of_ours(&scene, "slurm_limit", Cause::SlurmPending, 1);
    scene.slurm("PENDING", Some("PartitionTimeLimit"));
    of_ours(&scene, "slurm_never", Cause::SlurmPending, 1);
    scene.slurm("CANCELLED", Some("PartitionTimeLimit"));
    of_ours(&scene, "slurm_never_ended", Cause::SlurmEnded, 1);
    scene.slurm("RUNNING", Some("None"));
    of_ours(&scene, "slurm_running", Cause::SlurmRunning, 1);
    scene.slurm("NODE_FAIL", None);
    of_ours(&scene, "slurm_ended", Cause::SlurmEnded, 1);
    scene.gateway(Gateway::Away);
    of_ours(&scene, "submitted_gateway_down", Cause::Submitted, 1);
    scene.gateway(Gateway::Takes);
    scene.github("/access_tokens", 403, json!({"message": "This installation has been suspended"}));
    assert_eq!(scene.redeem("1-1").status, 403);
    of_ours(&scene, "credential_refused", Cause::CredentialRefused, 1);
}

#[test]
fn a_job_with_a_runner() {
    let scene = Scene::new();
    scene.queue(1);
    scene.queue(2);
    scene.slurm("PENDING", Some("Priority"));
    scene.redeem("2-1");
    scene.pass(45);
    of_ours(&scene, "runner_starting", Cause::RunnerStarting, 2);
    scene.start(1, "gha-slurm-2-1");
    scene.pass(30);
    of_ours(&scene, "runner_taken", Cause::RunnerTaken, 2);
    of_ours(&scene, "running", Cause::Running, 1);
    scene.finish(1, "success");
    scene.pass(120);
    of_ours(&scene, "done", Cause::Done, 1);
    for (number, reason) in [(1, LostReason::RunnerTaken), (2, LostReason::SlurmJobEnded("FAILED".to_owned()))] {
        Ledger(&scene.platform).launch(format!("3-{number}").parse().unwrap()).record_lost(reason).unwrap();
    }
    scene.queue(3);
    Ledger(&scene.platform).launch("3-3".parse().unwrap()).record_lost(LostReason::Idle).unwrap();
    scene.pass(60);
    of_ours(&scene, "given_up", Cause::GivenUp, 3);
    scene.pass(24 * 60 * 60);
    of_ours(&scene, "expired", Cause::Expired, 3);
}

#[test]
fn a_launch_token_that_came_twice_is_told_of() {
    let scene = Scene::new();
    scene.queue(1);
    assert_eq!(scene.redeem("1-1").status, 200);
    assert_eq!(scene.redeem("1-1").status, 409);
    of_ours(&scene, "replayed", Cause::RunnerStarting, 1);
}

#[test]
fn a_run_is_explained_job_by_job() {
    let scene = Scene::new();
    scene.queue(41);
    scene.slurm("PENDING", Some("Resources"));
    let job = |id: u64, labels: &[&str]| json!({"id": id, "name": format!("build\u{1b}[2J {id}"), "status": "queued", "labels": labels});
    let jobs: Vec<Value> = vec![job(41, &["slurm"]), job(42, &["slurm", "xl"])];
    scene.github("/actions/runs/1000/jobs", 200, json!({"total_count": 2, "jobs": jobs}));
    told(&scene, "run", Cause::SlurmPending, "octo/repo", 1000);
    let explained = ask(&scene, "octo/repo", 1000);
    assert_eq!((explained.run, explained.jobs[1].cause), (true, Cause::NoProfile));
}

fn asks(scene: &Scene, cluster: &str, room: u32) {
    scene.exchange(cluster, &json!({"gateway": "login1", "room": room}));
}

fn reports(scene: &Scene, report: Value) {
    scene.exchange("alps", &json!({"gateway": "login1", "room": 0, "reports": [report]}));
}

#[test]
fn a_job_whose_launch_a_cluster_fetches() {
    let scene = Scene::fetching(&["alps"]);
    scene.queue(1);
    of_ours(&scene, "cluster_never_asked", Cause::ClusterSilent, 1);
    asks(&scene, "alps", 0);
    scene.pass(2);
    of_ours(&scene, "offered", Cause::Offered, 1);
    scene.pass(88);
    asks(&scene, "alps", 0);
    of_ours(&scene, "offered_long", Cause::Offered, 1);
    asks(&scene, "alps", 1);
    scene.pass(40);
    of_ours(&scene, "fetched", Cause::Submitting, 1);
    scene.pass(80);
    asks(&scene, "alps", 0);
    of_ours(&scene, "lease_over", Cause::Offered, 1);
    scene.pass(150);
    of_ours(&scene, "cluster_silent", Cause::ClusterSilent, 1);
    reports(&scene, json!({"launch": "1-1", "news": "unavailable", "message": "slurmctld does not answer"}));
    of_ours(&scene, "unavailable", Cause::GatewayDown, 1);
}

#[test]
fn a_job_that_may_go_to_several_clusters() {
    let scene = Scene::fetching(&["alps", "eiger"]);
    scene.queue(1);
    asks(&scene, "alps", 0);
    scene.pass(590);
    asks(&scene, "eiger", 1);
    of_ours(&scene, "cluster_silent_of_several", Cause::ClusterSilent, 1);
    scene.pass(10);
    let mut tick = authorized("Bearer an-admin-token-of-32-characters!");
    tick.target = "/internal/tick".to_owned();
    assert_eq!(gha_slurm_tick::run::tick(&scene.platform, &tick).status, 200);
    scene.pass(5);
    of_ours(&scene, "moved", Cause::Offered, 1);
    scene.platform.set_variable("clusters", Some("[[cluster]]\nname = 'tave'\nreach = 'push'"));
    of_ours(&scene, "no_cluster", Cause::NoCluster, 1);
}

#[test]
fn a_job_that_no_cluster_takes() {
    let scene = Scene::fetching(&["alps"]);
    let clusters = scene.platform.variable("clusters").unwrap().unwrap();
    let limits = "limits = { cpus = 2 }";
    scene.platform.set_variable("clusters", Some(&(clusters + limits)));
    let of = |labels: &[&str]| {
        let job = json!({"id": 42, "name": "build", "status": "queued", "labels": labels});
        scene.github("/actions/jobs/42", 200, job);
    };
    of(&["gpu", "slurm-cpus=4"]);
    of_ours(&scene, "too_much", Cause::NoCluster, 42);
    of(&["slurm", "slurm-cluster=daint"]);
    of_ours(&scene, "cluster_refused", Cause::LabelRefused, 42);
    scene.platform.set_variable("clusters", Some("[[cluster]]\nname = 'tave'\nreach = 'push'"));
    of(&["self-hosted", "slurm"]);
    of_ours(&scene, "cluster_unknown", Cause::NoCluster, 42);
}

#[test]
fn when_slurm_expects_to_start_a_job() {
    let pending = |more: Value| {
        let mut slurm_job = json!({"job_id": "17", "state": "PENDING", "reason": "Priority"});
        slurm_job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        slurm_job
    };
    let scene = Scene::new();
    scene.queue(1);
    scene.pass(60);
    scene.slurm_says(pending(json!({"starts_in": 840, "position": 4})));
    of_ours(&scene, "slurm_estimate", Cause::SlurmPending, 1);
    scene.slurm_says(pending(json!({"position": 4})));
    of_ours(&scene, "slurm_position", Cause::SlurmPending, 1);

    let scene = Scene::fetching(&["alps"]);
    asks(&scene, "alps", 0);
    scene.queue(1);
    asks(&scene, "alps", 1);
    reports(&scene, json!({"launch": "1-1", "news": "submitted", "job_id": "17"}));
    of_ours(&scene, "submitted_to_a_cluster", Cause::Submitted, 1);
    let mut news = pending(json!({"starts_in": 900, "position": 4}));
    news.as_object_mut().unwrap().extend(json!({"launch": "1-1", "news": "state"}).as_object().unwrap().clone());
    reports(&scene, news);
    scene.pass(60);
    of_ours(&scene, "slurm_estimate_told", Cause::SlurmPending, 1);
    scene.pass(300);
    of_ours(&scene, "slurm_estimate_old", Cause::SlurmPending, 1);
    scene.pass(600);
    asks(&scene, "alps", 0);
    of_ours(&scene, "slurm_estimate_passed", Cause::SlurmPending, 1);
    reports(&scene, json!({"launch": "1-1", "news": "state", "job_id": "17", "state": "RUNNING"}));
    scene.pass(200);
    asks(&scene, "alps", 0);
    of_ours(&scene, "slurm_running_told", Cause::SlurmRunning, 1);
}

#[test]
fn a_job_of_another_repository_is_not_told_of() {
    let scene = Scene::new();
    scene.queue(1);
    let explained = ask(&scene, "octo/other", 1);
    assert_eq!(explained.jobs[0].cause, Cause::Unknown, "{explained}");
    assert!(!explained.to_string().contains("octo/repo"));
}
