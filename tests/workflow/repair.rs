//! What the app does about webhooks that do not come, runners that serve others, a gateway that was away, and a store
//! with garbage in it: by itself where it can, by the tick where it must.

use std::time::{Duration, Instant};

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::gateway::Fault;
use gha_slurm_simulator::github::{GitHub, JobStatus, WebhookFault};
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, App, LABELS, REPOSITORY, WEBHOOK_SECRET, fresh, json, queued};

fn done(app: &App, jobs: &[u64]) -> bool {
    jobs.iter().all(|job| app.github.job(*job).unwrap().status == JobStatus::Completed("success".to_owned()))
}

fn launches(app: &App) -> Vec<String> {
    app.gateway.starts().iter().map(|start| start["launch"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_admin_token_starts_a_tick() {
    let app = App::start().await;
    let url = format!("{}/internal/tick", app.url);
    let longer = format!("{ADMIN_TOKEN}!");
    for wrong in ["", "wrong", &ADMIN_TOKEN[1..], &longer] {
        assert_eq!(app.client.post(&url).bearer_auth(wrong).send().await.unwrap().status(), 401, "{wrong:?}");
    }
    let none = app.client.post(&url).send().await.unwrap();
    assert!(none.headers().contains_key("www-authenticate"));
    assert_eq!(none.status(), 401);
    assert_eq!(app.client.get(&url).send().await.unwrap().status(), 405);
    assert_eq!(app.tick().await["problems"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_admin_token_nobody_starts_a_tick() {
    let unset = App::start_with(&[("admin_token", "")]).await;
    let url = format!("{}/internal/tick", unset.url);
    let (status, body) = json(unset.client.post(&url).bearer_auth("").send().await.unwrap()).await;
    assert!(status == 403 && body["error"].as_str().unwrap().contains("admin_token"), "{status} {body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_while_the_gateway_is_away_is_launched_when_it_is_back() {
    let app = App::start().await;
    let mut jobs = Vec::new();
    for _ in 0..10 {
        app.gateway.fail(Fault::Status(503));
        let (job, delivery) = app.github.queue_job(REPOSITORY, LABELS).await;
        assert_eq!(delivery.unwrap().answer["decision"], "deferred");
        jobs.push(job);
    }
    // The first retry comes 5 s after the failure, or a little later.
    for _ in 0..30 {
        app.tick().await;
        if launches(&app).len() == jobs.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    app.within_seconds(20, "all jobs are done", || done(&app, &jobs)).await;
    assert_eq!(launches(&app).len(), jobs.len(), "each was launched once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_heals_what_is_overdue_without_a_tick() {
    let app = App::start().await;
    app.gateway.fail(Fault::Status(503));
    let (first, _) = app.github.queue_job(REPOSITORY, LABELS).await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    let (second, _) = app.github.queue_job(REPOSITORY, LABELS).await;
    app.within_seconds(10, "both are done", || done(&app, &[first, second])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_delivery_is_repeated() {
    let app = App::start().await;
    app.github.disturb_webhook(WebhookFault::Unreachable);
    let (job, _) = app.github.queue_job(REPOSITORY, LABELS).await;
    assert!(app.gateway.starts().is_empty());
    // GitHub's list is read once a minute, perhaps by the host's own tick.
    let begun = Instant::now();
    while !done(&app, &[job]) {
        assert!(begun.elapsed() < Duration::from_secs(70), "it is not repeated");
        app.tick().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(launches(&app), [format!("{job}-1")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_repairs_by_itself() {
    let app = App::start().await;
    app.github.disturb_webhook(WebhookFault::Unreachable);
    let (job, _) = app.github.queue_job(REPOSITORY, LABELS).await;
    // Every 30 s.
    app.within_seconds(50, "the job is done, and nobody asked for it", || done(&app, &[job])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_stolen_within_its_pool_costs_no_launch() {
    let app = App::start().await;
    app.gateway.hold(true);
    let (robber, _) = app.github.queue_job(REPOSITORY, LABELS).await;
    let (robbed, _) = app.github.queue_job(REPOSITORY, LABELS).await;
    // The second one's runner comes first, and GitHub gives it to the first.
    app.gateway.let_run(&format!("{robbed}-1"));
    app.within_seconds(15, "the first is done", || done(&app, &[robber])).await;
    assert_eq!(app.github.job(robber).unwrap().runner.unwrap().1, format!("gha-slurm-{robbed}-1"));
    assert_eq!(app.github.job(robbed).unwrap().status, JobStatus::Queued);
    app.tick().await;
    app.gateway.hold(false);
    app.within_seconds(15, "both are done", || done(&app, &[robber, robbed])).await;
    assert_eq!(app.github.job(robbed).unwrap().runner.unwrap().1, format!("gha-slurm-{robber}-1"));
    assert_eq!(launches(&app).len(), 2, "{:?}", launches(&app));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_stolen_by_another_pool_is_replaced_and_the_robbers_launch_withdrawn() {
    let app = App::start_with_profiles().await;
    // A job of the smaller pool waits while Slurm holds its runner; then one of the larger pool gets a runner at once.
    app.gateway.hold(true);
    let (robber, _) = app.github.queue_job(REPOSITORY, &["self-hosted"]).await;
    let (robbed, _) = app.github.queue_job(REPOSITORY, &["self-hosted", "large"]).await;
    let starts = app.gateway.starts();
    let larger = starts.iter().find(|start| start["launch"] == format!("{robbed}-1")).unwrap();
    let (status, credential) = app.gateway.redeem(larger).await;
    assert_eq!(status, 200, "{credential}");
    app.github.start_runner(credential["encoded_jit_config"].as_str().unwrap());
    let replaced = || launches(&app).contains(&format!("{robbed}-2"));
    app.within_seconds(10, "the robbed job has another launch", replaced).await;
    let withdrawn = || app.gateway.cancelled().contains(&json!(format!("{robber}-1")));
    app.within_seconds(10, "the robber's launch is withdrawn", withdrawn).await;
    assert_eq!(app.gateway.redeem(&starts[0]).await.0, 410);
    app.gateway.hold(false);
    app.within_seconds(10, "the robbed job is done", || done(&app, &[robbed])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_jobs_slurm_job_is_cancelled() {
    let app = App::start().await;
    let (job, _) = app.held_launch().await;
    app.github.cancel_job(job).await;
    assert_eq!(app.gateway.cancelled(), [json!(format!("{job}-1"))]);
    app.github.notify(job, "completed").await;
    app.tick().await;
    assert_eq!(app.gateway.cancelled().len(), 1, "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn max_running_holds_and_who_waits_is_launched_when_a_place_is_free() {
    let app = App::start_with_profiles().await;
    app.gateway.hold(true);
    let mut jobs = Vec::new();
    for number in 0..5 {
        let (job, delivery) = app.github.queue_job(REPOSITORY, &["self-hosted", "few"]).await;
        let decision = if number < 2 { "launched" } else { "deferred" };
        assert_eq!(delivery.unwrap().answer["decision"], decision);
        jobs.push(job);
    }
    app.tick().await;
    assert_eq!(launches(&app).len(), 2);
    app.gateway.hold(false);
    app.within_seconds(20, "all are done", || done(&app, &jobs)).await;
    assert_eq!(launches(&app).len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_payload_launches_only_what_github_calls_queued() {
    let app = App::start().await;
    app.gateway.hold(true);
    // A job that waited long for an approval: queued at GitHub, but its own webhook is lost.
    app.github.disturb_webhook(WebhookFault::Lost);
    let (waited, _) = app.github.queue_job(REPOSITORY, LABELS).await;
    for (job, expected) in [(waited, 1), (fresh(4711), 0)] {
        let mut old = queued(job);
        old["workflow_job"]["created_at"] = json!("2024-01-01T00:00:00Z");
        old["repository"]["id"] = json!(app.github.repository_id(REPOSITORY).unwrap());
        let (status, answer) = json(app.deliver("workflow_job", old.to_string()).await).await;
        assert_eq!((status, answer["decision"].as_str()), (202, Some("deferred")), "{answer}");
        let before = launches(&app).len();
        let report = app.tick().await;
        assert_eq!(launches(&app).len() - before, expected, "{report}");
    }
    assert_eq!(launches(&app), [format!("{waited}-1")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_the_store_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
    let app = App::start_beside(github, events, folder.path().to_str().unwrap(), &[]).await;
    let garbled = 4712;
    app.gateway.hold(true);
    app.deliver("workflow_job", queued(garbled).to_string()).await;
    let (sound, _) = app.held_launch().await;
    let store = rusqlite::Connection::open(folder.path().join("sqlite_key_value.db")).unwrap();
    let change = |key: &str, value: &[u8]| {
        let insert = "INSERT OR REPLACE INTO spin_key_value (store, key, value) VALUES ('default', ?1, ?2)";
        store.execute(insert, rusqlite::params![key, value]).unwrap();
    };
    let key = format!("gha-slurm/1/job/{garbled}/requested");
    change(&key, b"\xff garbage");
    change("gha-slurm/2/job/1/requested", b"from a newer version");
    change("gha-slurm/0/anything", b"from an older version");
    let report = app.tick().await;
    let problems: Vec<&str> = report["problems"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(problems.len() == 1 && problems[0].contains(&key), "{report}");
    app.gateway.hold(false);
    app.within_seconds(10, "the other job is done", || done(&app, &[sound])).await;
    assert_eq!(json(app.deliver("workflow_job", queued(garbled).to_string()).await).await.0, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_whose_job_was_cancelled_leaves_githubs_list() {
    let folder = tempfile::tempdir().unwrap();
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
    let app = App::start_beside(github, events, folder.path().to_str().unwrap(), &[]).await;
    let (job, start) = app.held_launch().await;
    let request = app.client.post(format!("{}/gha/runner", app.url));
    let request = request.bearer_auth(start["launcherToken"].as_str().unwrap()).json(&json!({"credential": "jit"}));
    let (status, credential) = json(request.send().await.unwrap()).await;
    assert!(status == 200 && credential["encoded_jit_config"].is_string(), "{status}");
    let runner = format!("gha-slurm-{job}-1");
    // Its Slurm job ends now; the runner stays in the list, offline.
    app.github.cancel_job(job).await;
    assert_eq!(app.tick().await["removed"], 0, "it may be about to start");
    assert_eq!(app.github.runners(), [runner]);

    // The launch was redeemed eleven minutes ago.
    let store = rusqlite::Connection::open(folder.path().join("sqlite_key_value.db")).unwrap();
    let key = format!("gha-slurm/1/launch/{job}-1/runner");
    let select = "SELECT value FROM spin_key_value WHERE store = 'default' AND key = ?1";
    let fact: Vec<u8> = store.query_row(select, [&key], |row| row.get(0)).unwrap();
    let mut fact: Value = serde_json::from_slice(&fact).unwrap();
    fact["at"] = json!(fact["at"].as_u64().unwrap() - 11 * 60);
    let update = "UPDATE spin_key_value SET value = ?2 WHERE store = 'default' AND key = ?1";
    store.execute(update, rusqlite::params![key, fact.to_string().into_bytes()]).unwrap();
    let report = app.tick().await;
    assert_eq!((&report["removed"], &report["problems"]), (&json!(1), &json!([])), "{report}");
    assert!(app.github.runners().is_empty());
    app.tick().await;
    let removals = app.github.requests().iter().filter(|request| request.starts_with("DELETE ")).count();
    assert_eq!(removals, 1, "once");
}
