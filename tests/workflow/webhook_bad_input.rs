//! Whatever reaches the webhook's address gets the right status, launches nothing, and harms nothing.

use gha_slurm_simulator::github::sign;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{App, REPOSITORY, WEBHOOK_SECRET, fresh, json, queued};

#[tokio::test(flavor = "multi_thread")]
async fn each_missing_header_is_named() {
    let app = App::start().await;
    let all = ["x-github-event", "x-hub-signature-256", "x-github-delivery"];
    for missing in all {
        let mut request = app.client.post(format!("{}/api/github/webhooks", app.url)).body("{}");
        for name in all.into_iter().filter(|name| *name != missing) {
            request = request.header(name, "x");
        }
        let (status, body) = json(request.send().await.unwrap()).await;
        assert_eq!((status, body), (400, json!({"error": format!("Required headers missing: {missing}")})));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_signature_gets_401_before_anything_is_parsed() {
    let app = App::start().await;
    let body = b"not even JSON".to_vec();
    let right = sign(WEBHOOK_SECRET, &body);
    let digest = right.trim_start_matches("sha256=");
    for wrong in [
        "sha256=",
        digest,
        &format!("sha1={digest}"),
        &format!("sha256={}", "0".repeat(64)),
        &format!("sha256={}", "x".repeat(64)),
        &right[..70],
        &sign("another secret", &body),
    ] {
        assert_eq!(json(app.deliver_signed("workflow_job", body.clone(), wrong).await).await.0, 401, "{wrong}");
    }
    assert_eq!(json(app.deliver_signed("workflow_job", body, &right).await).await.0, 400, "rightly signed garbage");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pretty_printed_body_is_accepted_as_signed() {
    let app = App::start().await;
    app.gateway.hold(true);
    let pretty = serde_json::to_string_pretty(&queued(fresh(1))).unwrap();
    assert_eq!(json(app.deliver("workflow_job", pretty).await).await.1["decision"], "launched");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_past_two_to_the_53_stays_exact() {
    let app = App::start().await;
    app.gateway.hold(true);
    let job = u64::MAX - fresh(0);
    let (_, answer) = json(app.deliver("workflow_job", queued(job).to_string()).await).await;
    assert_eq!(answer["job"], json!(job));
    assert_eq!(app.gateway.starts()[0]["runnerName"], format!("gha-slurm-{job}-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_wrong_gets_400_with_the_field_or_the_offset() {
    let app = App::start().await;
    let with = |pointer: &str, value: Value| {
        let mut body = queued(fresh(1));
        *body.pointer_mut(pointer).unwrap() = value;
        body.to_string()
    };
    for (body, named) in [
        (String::new(), "JSON"),
        ("{".to_owned(), "line 1 column 1"),
        ("[]".to_owned(), "workflow_job"),
        ("payload=%7B%7D".to_owned(), "application/json"),
        ("[".repeat(100_000), "JSON"),
        (with("/workflow_job/id", json!("1")), "workflow_job.id"),
        (with("/workflow_job/labels", json!({})), "workflow_job.labels"),
        (with("/repository/full_name", json!("a/../b")), "repository.full_name"),
        (with("/repository/html_url", json!("https://evil.example/")), "repository.html_url"),
    ] {
        let (status, answer) = json(app.deliver("workflow_job", body.clone()).await).await;
        let shown = body.get(..60).unwrap_or(&body);
        assert_eq!(status, 400, "{shown}: {answer}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(named) || (named == "workflow_job" && error.contains("invalid")), "{shown}: {error}");
    }
    assert!(app.gateway.starts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_githubs_cap_gets_413() {
    let app = App::start().await;
    for size in [26_000_000, 26 * 1024 * 1024] {
        let response = app.deliver("workflow_job", vec![b' '; size]).await;
        assert_eq!(json(response).await.0, 413);
    }
    assert_eq!(json(app.deliver("ping", "{}").await).await.0, 200, "it serves on");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_paths() {
    let app = App::start().await;
    for path in ["/api/github/webhooks", "/gha/runner"] {
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
            let response = app.request(method.clone(), path).await;
            assert_eq!(response.headers()["allow"], "POST");
            assert_eq!(json(response).await.0, 405, "{method} {path}");
        }
    }
    for path in ["/api", "/api/github/webhooks/x", "/gha", "/%2e%2e/etc/passwd"] {
        assert_eq!(app.request(Method::POST, path).await.status(), 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_no_profile_are_told_why() {
    let app = App::start().await;
    let long = "l".repeat(200);
    for labels in [
        &["ubuntu-latest"][..],
        &["not-self-hosted-at-all"],
        &["self-hosted", "slurm", "gpu"],
        &["self-hosted", "\"; rm -rf / #"],
        &["self-hosted", "$(id)"],
        &["self-hosted", "a\nb"],
        &["self-hosted", &long],
        &["self-hosted", "größe"],
        &["slurm-cpus=9"],
        &[],
    ] {
        let mut body = queued(fresh(1));
        body["workflow_job"]["labels"] = json!(labels);
        let (status, answer) = json(app.deliver("workflow_job", body.to_string()).await).await;
        assert_eq!((status, answer["decision"].as_str()), (200, Some("ignored")), "{labels:?}: {answer}");
        let reason = answer["reason"].as_str().unwrap();
        assert!(reason.contains("profile") || reason.contains("the label"), "{answer}");
    }
    assert!(app.gateway.starts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_events_and_actions_are_ignored_with_a_reason() {
    let app = App::start().await;
    for event in ["ping", "push", "an_event_of_tomorrow"] {
        let (status, answer) = json(app.deliver(event, "{\"zen\": \"Design for failure.\"}").await).await;
        assert_eq!((status, answer["decision"].as_str()), (200, Some("ignored")), "{event}");
    }
    // A job that waits for an approval is written down, and not launched.
    for (action, decision) in [("waiting", "recorded"), ("an_action_of_tomorrow", "ignored")] {
        let mut body = queued(fresh(1));
        body["action"] = json!(action);
        assert_eq!(json(app.deliver("workflow_job", body.to_string()).await).await.1["decision"], decision);
    }
    assert!(REPOSITORY.contains('/') && app.gateway.starts().is_empty());
}
