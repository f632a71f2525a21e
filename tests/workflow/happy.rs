//! The workflow from end to end, and the same events in other orders.

use gha_slurm_simulator::github::JobStatus;
use serde_json::json;

use crate::support::{App, LABELS, REPOSITORY, fresh, json, queued};

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_job_runs_on_a_runner_of_its_own() {
    let app = App::start().await;
    let (job, delivery) = app.github.queue_job(REPOSITORY, LABELS).await;
    let delivery = delivery.unwrap();
    assert_eq!(delivery.status, 200, "{delivery:?}");
    assert_eq!(delivery.answer["decision"], "launched");
    let done = || app.github.job(job).unwrap().status == JobStatus::Completed("success".to_owned());
    app.within_seconds(15, "the job is done", done).await;
    let (_, runner) = app.github.job(job).unwrap().runner.unwrap();
    assert_eq!(runner, format!("gha-slurm-{job}-1"));

    let starts = app.gateway.starts();
    assert_eq!(starts.len(), 1);
    assert_eq!(starts[0]["gitHubURL"], format!("https://github.com/{REPOSITORY}"));
    assert_eq!(starts[0]["runnerLabels"], "self-hosted,slurm");
    assert_eq!(starts[0]["tokenURL"], format!("{}/gha/runner", app.url));
    assert_eq!(starts[0]["runnerName"], runner);

    // What is done gets no second credential.
    assert_eq!(app.gateway.redeem(&starts[0]).await.0, 409);
    // in_progress and completed were answered as well.
    app.within_seconds(5, "three deliveries", || app.github.deliveries().len() == 3).await;
    assert!(app.github.deliveries().iter().all(|delivery| delivery.status == 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_gives_the_launch_its_resources() {
    let app = App::start_with_profiles().await;
    app.gateway.hold(true);
    let (_, delivery) = app.github.queue_job(REPOSITORY, &["LARGE", "slurm", "slurm-cpus=12"]).await;
    assert_eq!(delivery.unwrap().answer["decision"], "launched");
    let start = app.gateway.starts().pop().unwrap();
    for (field, value) in [
        ("partition", "long"),
        ("cpus", "12"),
        ("memory", "24576M"),
        ("gres", "gpu:2"),
        ("duration", "1440"),
        ("exclusive", "true"),
        ("profile", "large"),
        ("runnerLabels", "large,slurm,slurm-cpus=12"),
    ] {
        assert_eq!(start[field], value, "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_and_redeliveries_launch_once() {
    let app = App::start().await;
    app.gateway.hold(true);
    let body = queued(fresh(77)).to_string();
    let mut deliveries = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (client, url) = (app.client.clone(), app.url.clone());
        let signature = gha_slurm_simulator::github::sign(crate::support::WEBHOOK_SECRET, body.as_bytes());
        let body = body.clone();
        deliveries.spawn(async move {
            let request = client
                .post(format!("{url}/api/github/webhooks"))
                .header("x-github-event", "workflow_job")
                .header("x-github-delivery", "1")
                .header("x-hub-signature-256", signature);
            json(request.body(body).send().await.unwrap()).await
        });
    }
    let answers = deliveries.join_all().await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    let launched = answers.iter().filter(|(_, body)| body["decision"] == "launched").count();
    assert_eq!((launched, app.gateway.starts().len()), (1, 1), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_started_or_ended_first_is_not_launched() {
    let app = App::start().await;
    for (job, action) in [(fresh(1), "in_progress"), (fresh(2), "completed")] {
        let mut event = queued(job);
        event["action"] = json!(action);
        assert_eq!(json(app.deliver("workflow_job", event.to_string()).await).await.1["decision"], "recorded");
        let (status, answer) = json(app.deliver("workflow_job", queued(job).to_string()).await).await;
        assert_eq!((status, answer["decision"].as_str()), (200, Some("ignored")), "{answer}");
    }
    assert!(app.gateway.starts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_jobs_launch_gets_410_and_no_credential() {
    let app = App::start().await;
    let (job, start) = app.held_launch().await;
    app.github.cancel_job(job).await;
    let before = app.github.requests().len();
    let (status, body) = app.gateway.redeem(&start).await;
    assert_eq!(status, 410, "{body}");
    assert!(body["token"].is_null() && body["error"].as_str().unwrap().contains("cancelled"), "{body}");
    assert_eq!(app.github.requests().len(), before, "GitHub was not asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_redemptions_one_gets_the_credential() {
    let app = App::start().await;
    let (_, start) = app.held_launch().await;
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (gateway, start) = (app.gateway.clone(), start.clone());
        attempts.spawn(async move { gateway.redeem(&start).await });
    }
    let answers = attempts.join_all().await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|(status, _)| [200, 409, 503].contains(status)), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_github_are_asked_for_once() {
    let app = App::start().await;
    for _ in 0..3 {
        let (_, start) = app.held_launch().await;
        let (status, body) = app.gateway.redeem(&start).await;
        assert_eq!(status, 200, "{body}");
        assert!(body["encoded_jit_config"].is_string());
    }
    // The tokens of the installation, one to see runs and one to register runners; a look at each run, and a credential.
    assert_eq!(app.github.requests().len(), 2 + 3 + 3, "{:?}", app.github.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bearer_form_is_accepted() {
    let app = App::start().await;
    let (_, start) = app.held_launch().await;
    let bearer = format!("Bearer {}", start["launcherToken"].as_str().unwrap());
    let response = app.redeem(Some(&bearer)).await;
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(json(response).await.0, 200);
}
