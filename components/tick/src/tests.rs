//! What a run does about ends, refusals and outages.

use gha_slurm_core::ledger::{Ledger, RETENTION_SECONDS, RegisteredApp, Stored};
use gha_slurm_core::ports::{HttpMethod, Store, Variables};
use gha_slurm_core::settings::Settings;
use gha_slurm_edge::testing::authorized;
use gha_slurm_protocol::secret::Secret;
use gha_slurm_scene::{Gateway, Scene, app_key};
use serde_json::{Value, json};

use crate::run::tick;

const GPU: [&str; 3] = ["self-hosted", "slurm", "gpu"];

fn scene() -> Scene {
    let scene = Scene::new();
    scene.github("/app/hook/deliveries", 200, json!([]));
    scene
}

fn run(scene: &Scene) -> Value {
    tick(&scene.platform, &authorized("Bearer an-admin-token-of-32-characters!")).body
}

/// Queues a job of the profile with `max_running = 1`; what was decided.
fn queue_gpu(scene: &Scene, job: u64) -> Value {
    scene.queue_with(job, json!({"labels": GPU})).body["decision"].clone()
}

fn launched(scene: &Scene, launch: &str) -> bool {
    scene.platform.get(&format!("gha-slurm/1/launch/{launch}/launched")).unwrap().is_some()
}

fn asked(scene: &Scene) -> usize {
    let of = |path: &str| path.starts_with("/runner/") && path != "/runner/start";
    scene.platform.sent.borrow().iter().filter(|sent| sent.method == HttpMethod::Get && of(sent.url.path())).count()
}

/// Job 1 of the profile with one place is redeemed, then cancelled before its runner takes it; job 2 is in line.
fn cancelled_after_its_redemption() -> Scene {
    let scene = scene();
    assert_eq!(queue_gpu(&scene, 1), "launched");
    assert_eq!(scene.redeem("1-1").status, 200);
    scene.pass(1);
    scene.finish(1, "cancelled");
    assert_eq!(queue_gpu(&scene, 2), "deferred");
    scene
}

#[test]
fn a_place_is_free_as_soon_as_the_gateway_says_that_the_slurm_job_is_over() {
    let scene = cancelled_after_its_redemption();
    scene.slurm("RUNNING", None);
    assert_eq!((run(&scene)["ended"].clone(), launched(&scene, "2-1")), (json!(0), false));
    scene.slurm("COMPLETED", None);
    scene.pass(60);
    let report = run(&scene);
    assert_eq!((&report["ended"], launched(&scene, "2-1")), (&json!(1), true), "{report}");
}

#[test]
fn the_end_of_a_job_is_reason_to_ask_at_once_and_then_at_a_distance() {
    let scene = cancelled_after_its_redemption();
    scene.slurm("RUNNING", None);
    for (seconds, expected) in [(0, 1), (30, 1), (30, 2)] {
        scene.pass(seconds);
        run(&scene);
        assert_eq!(asked(&scene), expected);
    }
}

#[test]
fn where_the_gateway_cannot_tell_an_idle_runner_counts_as_ended_after_an_hour() {
    let scene = cancelled_after_its_redemption();
    scene.pass(60 * 60 - 2);
    run(&scene);
    assert!(!launched(&scene, "2-1"));
    scene.pass(61);
    run(&scene);
    assert!(launched(&scene, "2-1"));
}

#[test]
fn a_runner_whose_name_was_not_told_gives_its_place_back() {
    let scene = scene();
    queue_gpu(&scene, 1);
    assert_eq!(scene.redeem("1-1").status, 200);
    scene.start(1, "");
    scene.finish(1, "success");
    assert_eq!(queue_gpu(&scene, 2), "deferred");
    scene.slurm("COMPLETED", None);
    run(&scene);
    assert!(launched(&scene, "2-1"));
}

#[test]
fn a_runner_that_died_under_its_job_gives_its_place_back() {
    let scene = scene();
    queue_gpu(&scene, 1);
    assert_eq!(scene.redeem("1-1").status, 200);
    scene.start(1, "gha-slurm-1-1");
    assert_eq!(queue_gpu(&scene, 2), "deferred");
    scene.slurm("NODE_FAIL", None);
    scene.pass(10 * 60);
    run(&scene);
    assert!(launched(&scene, "2-1"));
}

#[test]
fn what_the_gateway_refuses_takes_no_place_in_line_and_comes_right_by_itself() {
    let scene = scene();
    scene.gateway(Gateway::Says(403, "no Slurm user is mapped"));
    assert_eq!(queue_gpu(&scene, 1), "deferred");
    scene.gateway(Gateway::Takes);
    assert_eq!(queue_gpu(&scene, 2), "launched");
    // Its turn comes behind the one that has the place.
    scene.pass(12 * 60);
    run(&scene);
    assert!(!launched(&scene, "1-1"));
    assert_eq!(scene.redeem("2-1").status, 200);
    scene.start(2, "gha-slurm-2-1");
    scene.finish(2, "success");
    // It stands in no line, so the next run finds it.
    run(&scene);
    assert!(launched(&scene, "1-1"));
}

#[test]
fn what_the_gateway_refuses_is_asked_for_rarely() {
    let scene = scene();
    scene.gateway(Gateway::Says(422, "too many CPUs"));
    scene.queue(1);
    for _ in 0..6 * 60 {
        scene.pass(60);
        run(&scene);
    }
    let sent = scene.platform.sent.borrow();
    let tries = sent.iter().filter(|sent| sent.url.path() == "/runner/start").count();
    assert!((6..=10).contains(&tries), "{tries} in six hours");
}

#[test]
fn a_limit_that_passes_by_itself_is_no_refusal() {
    let scene = scene();
    scene.gateway(Gateway::Says(429, "QOSMaxSubmitJobPerUserLimit"));
    assert_eq!(queue_gpu(&scene, 1), "deferred");
    scene.gateway(Gateway::Takes);
    assert_eq!(queue_gpu(&scene, 2), "deferred", "the first keeps its place");
    scene.pass(6);
    run(&scene);
    assert!(launched(&scene, "1-1"));
}

#[test]
fn after_an_outage_many_launches_are_submitted_at_once() {
    let scene = scene();
    scene.gateway(Gateway::Away);
    for job in 1..=100 {
        scene.queue(job);
    }
    scene.gateway(Gateway::Takes);
    scene.pass(10);
    scene.platform.batches.borrow_mut().clear();
    let report = run(&scene);
    assert_eq!(report["launched"], 100, "{report}");
    let rounds: Vec<usize> = scene.platform.batches.borrow().iter().copied().filter(|size| *size > 0).collect();
    assert!(rounds.len() <= 6 && rounds.iter().all(|size| *size <= 32), "{rounds:?}");
}

#[test]
fn a_gateway_that_is_away_is_not_asked_a_hundred_times_in_one_run() {
    let scene = scene();
    scene.gateway(Gateway::Away);
    for job in 1..=100 {
        scene.queue(job);
    }
    scene.pass(60 * 60);
    let before = scene.platform.sent.borrow().len();
    run(&scene);
    assert!(scene.platform.sent.borrow().len() - before < 40);
}

#[test]
fn what_the_gateway_refuses_does_not_keep_webhooks_from_retrying_what_is_behind_it() {
    let scene = scene();
    scene.gateway(Gateway::Says(403, "no Slurm user is mapped"));
    for job in 1..=200 {
        scene.queue(job);
    }
    scene.gateway(Gateway::Away);
    scene.queue(1000);
    scene.gateway(Gateway::Says(403, "no Slurm user is mapped"));
    scene.pass(10);
    // Each looks at 64 entries; the last one is in the fourth part of the list.
    for job in 1001..=1004 {
        scene.queue(job);
    }
    let tries = || {
        let sent = scene.platform.sent.borrow();
        let of = |sent: &&gha_slurm_core::ports::HttpRequest| {
            serde_json::from_slice::<Value>(&sent.body).is_ok_and(|body| body["launch"] == "1000-1")
        };
        sent.iter().filter(of).count()
    };
    assert_eq!(tries(), 2);
}

#[test]
fn a_repository_at_its_share_holds_up_no_other_and_is_not_forgotten() {
    let scene = scene();
    let profiles =
        "[[profile]]\nname = 'all'\nlabels = ['self-hosted', 'slurm']\nmax_running = 3\nmax_running_per_repository = 2";
    scene.platform.set_variable("profiles", Some(profiles));
    let queue = |job, repository: u64| scene.queue_of(job, repository).body["decision"].clone();
    assert_eq!([1, 2, 3].map(|job| queue(job, 7)), ["launched", "launched", "deferred"]);
    assert_eq!(queue(4, 8), "launched");
    assert_eq!(queue(5, 9), "deferred", "the profile is full");
    assert_eq!(scene.redeem("1-1").status, 200);
    scene.start(1, "gha-slurm-1-1");
    scene.finish(1, "success");
    assert!(launched(&scene, "3-1") && !launched(&scene, "5-1"));
}

#[test]
fn a_job_whose_runner_ended_gets_another_launch_once_late_webhooks_had_their_time() {
    let scene = scene();
    scene.queue(1);
    assert_eq!(scene.redeem("1-1").status, 200);
    scene.github("/jobs/1", 200, json!({"id": 1, "name": "j", "status": "queued", "conclusion": null, "labels": []}));
    scene.slurm("TIMEOUT", None);
    scene.pass(150);
    assert_eq!(run(&scene)["ended"], 1);
    assert!(!launched(&scene, "1-2"));
    scene.pass(60);
    assert_eq!(run(&scene)["relaunched"], 1);
    assert!(launched(&scene, "1-2"));
}

#[test]
fn a_relaunch_asks_for_a_runner_of_the_repository_as_it_is_called_now() {
    let submitted = |page: &str| {
        let scene = scene();
        scene.queue(1);
        assert_eq!(scene.redeem("1-1").status, 200);
        let state =
            json!({"id": 1, "name": "j", "status": "queued", "conclusion": null, "labels": [], "html_url": page});
        scene.github("/jobs/1", 200, state);
        // The job script took the credential for another repository's.
        scene.slurm("FAILED", None);
        scene.pass(150);
        run(&scene);
        scene.pass(60);
        assert_eq!(run(&scene)["relaunched"], 1, "{page}");
        let sent = scene.platform.sent.borrow();
        let start = sent.iter().rfind(|request| request.url.path() == "/runner/start").unwrap();
        serde_json::from_slice::<Value>(&start.body).unwrap()["gitHubURL"].clone()
    };
    assert_eq!(submitted("https://github.com/octo/renamed/actions/runs/2/job/1"), "https://github.com/octo/renamed");
    assert_eq!(submitted("https://github.com/octo/repo/actions/runs/2/job/1"), "https://github.com/octo/repo");
    for other in
        ["https://elsewhere.example/octo/renamed/actions", "https://a:b@github.com/x/y/z", "https://github.com/x"]
    {
        assert_eq!(submitted(other), "https://github.com/octo/repo", "{other}");
    }
}

#[test]
fn an_apps_key_in_clear_is_sealed_once_there_is_a_store_key() {
    let scene = scene();
    let (platform, registration) = (&scene.platform, Ledger(&scene.platform).registration());
    let app = RegisteredApp {
        app_id: 1,
        slug: "s".to_owned(),
        name: "n".to_owned(),
        html_url: "https://github.com/apps/s".to_owned(),
        at: 0,
    };
    assert!(registration.keep(&app, &Secret::new(app_key()), &Secret::new("w"), None).unwrap());
    for name in ["github_app_id", "github_private_key"] {
        platform.set_variable(name, None);
    }
    let signers = Settings(platform).app_signer_digests().unwrap();
    scene.queue(1);
    assert_eq!((&run(&scene)["problems"], registration.private_key_stored().unwrap()), (&json!([]), Stored::Clear));

    platform.set_variable("store_key", Some("a-store-key-that-has-32-characters"));
    assert!(Settings(platform).app_key().is_ok(), "in clear it is read until then");
    assert_eq!((&run(&scene)["problems"], registration.private_key_stored().unwrap()), (&json!([]), Stored::Sealed));
    for (key, value) in platform.values() {
        assert!(!String::from_utf8_lossy(&value).contains("PRIVATE KEY"), "{key}");
    }
    assert!(Settings(platform).app_key().is_ok());
    assert_eq!(Settings(platform).app_signer_digests().unwrap(), signers, "the same key");
    let sealed = platform.values();
    assert_eq!(run(&scene)["problems"], json!([]));
    let of = |values: Vec<(String, Vec<u8>)>| values.into_iter().find(|(key, _)| key.ends_with("/private-key"));
    assert_eq!(of(platform.values()), of(sealed), "sealed once");
    assert_eq!(scene.redeem("1-1").status, 200, "what was launched before goes on");
}

#[test]
fn the_orders_of_a_cluster_that_left_the_configuration_go_with_their_jobs() {
    let scene = Scene::fetching(&["alps", "eiger"]);
    scene.queue(1);
    run(&scene);
    let orders = || scene.platform.keys().into_iter().filter(|key| key.contains("/order/")).count();
    assert_eq!(orders(), 1);
    for name in ["clusters", "profiles"] {
        let before = scene.platform.variable(name).unwrap().unwrap();
        scene.platform.set_variable(name, Some(&before.replace("alps", "tave")));
    }
    scene.pass(RETENTION_SECONDS + 2 * 60 * 60);
    for _ in 0..3 {
        run(&scene);
        scene.pass(61);
    }
    assert_eq!(orders(), 0);
}
