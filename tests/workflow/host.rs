//! The host itself, seen from outside: what Spin's users rely on besides the application.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::gateway::Fault;
use gha_slurm_simulator::github::{GitHub, sign};
use reqwest::Method;

use crate::support::{App, LABELS, MANIFEST, REPOSITORY, WEBHOOK_SECRET, built, json, program, queued};

#[tokio::test(flavor = "multi_thread")]
async fn it_says_that_it_is_healthy_without_a_component() {
    let app = App::start().await;
    let response = app.request(Method::GET, "/.well-known/spin/health").await;
    assert_eq!((response.status().as_u16(), response.text().await.unwrap().as_str()), (200, "OK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_host_answers_what_it_had_begun_and_ends_well() {
    let mut app = App::start().await;
    app.gateway.fail(Fault::Stall(Duration::from_secs(1)));
    let github = app.github.clone();
    let delivery = tokio::spawn(async move { github.queue_job(REPOSITORY, LABELS).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    app.terminate();
    let (_, delivery) = delivery.await.unwrap();
    assert_eq!(delivery.unwrap().answer["decision"], "deferred");
    assert_eq!(app.exit_code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_does_not_stop_what_he_began() {
    let app = App::start().await;
    app.gateway.hold(true);
    app.gateway.fail(Fault::Stall(Duration::from_millis(700)));
    let body = queued(7).to_string();
    let gone = app
        .client
        .post(format!("{}/api/github/webhooks", app.url))
        .header("x-github-event", "workflow_job")
        .header("x-github-delivery", "1")
        .header("x-hub-signature-256", sign(WEBHOOK_SECRET, body.as_bytes()))
        .timeout(Duration::from_millis(300))
        .body(body.clone());
    assert!(gone.send().await.unwrap_err().is_timeout());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let answer = json(app.deliver("workflow_job", body).await).await.1;
    // The gateway's failure was waited for and written down, so the next attempt is free at once.
    assert_eq!(answer["decision"], "launched", "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_launched_before_a_restart_is_redeemed_after_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
    let before = App::start_beside(github.clone(), events.clone(), state, &[]).await;
    let (job, start) = before.held_launch().await;
    let token = start["launcherToken"].as_str().unwrap().to_owned();
    let url = before.url.clone();
    drop(before);
    // The token's audience is the address of the first.
    let after = App::start_beside(github, events, state, &[("public_url", &url)]).await;
    assert_eq!(json(after.deliver("workflow_job", queued(job).to_string()).await).await.1["decision"], "duplicate");
    assert_eq!(json(after.redeem(Some(&token)).await).await.0, 200);
    assert_eq!(json(after.redeem(Some(&token)).await).await.0, 409);
}

#[test]
fn its_log_is_one_json_object_a_line_when_asked_for() {
    built();
    let mut host = program()
        .args(["up", "--from", MANIFEST, "--state-dir", "", "--listen", "127.0.0.1:0", "--log-format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(host.stdout.take().unwrap()).read_line(&mut line).unwrap();
    host.kill().unwrap();
    host.wait().unwrap();
    let mut log = String::new();
    host.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.lines().count() > 3, "{log}");
    for line in log.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(entry["level"].is_string() && entry["timestamp"].is_string(), "{line}");
    }
}

#[test]
fn wrong_usage_says_what_is_right() {
    for (arguments, status, said) in [
        (&["up", "--listen", "here"][..], 2, "--listen"),
        (&["up", "--from", "/no/such/spin.toml"], 2, "--from"),
        (&["up", "--variable", "novalue"], 2, "NAME=VALUE"),
        (&["sideways"], 2, "--help"),
        (&["--version"], 0, env!("CARGO_PKG_VERSION")),
        (&["up", "--help"], 0, "--state-dir"),
    ] {
        let output = program().args(arguments).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
}
