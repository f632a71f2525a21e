//! The log as a machine reads it, and what the shell is told of the program.

use std::io::Write;
use std::process::{Command, Stdio};

use gha_slurm_simulator::gateway::Fault;
use gha_slurm_simulator::github::JobStatus;
use reqwest::Method;
use serde_json::Value;

use crate::support::{App, LABELS, REPOSITORY, json, program, queued};

#[tokio::test(flavor = "multi_thread")]
async fn each_decision_is_one_line_with_its_delivery_job_and_launch_at_a_level_that_means_something() {
    let profiles = "[[profile]]\nname = 'one'\nlabels = ['self-hosted', 'slurm']\nmax_running = 1";
    let mut app = App::start_with(&[("profiles", profiles)]).await;
    let (job, delivery) = app.github.queue_job(REPOSITORY, LABELS).await;
    let done = || app.github.job(job).unwrap().status == JobStatus::Completed("success".to_owned());
    app.within_seconds(15, "the job is done", done).await;
    app.gateway.fail(Fault::Status(503));
    let (away, _) = app.github.queue_job(REPOSITORY, LABELS).await;
    let (capped, _) = app.github.queue_job(REPOSITORY, LABELS).await;
    let (status, _) =
        json(app.deliver_signed("workflow_job", queued(1).to_string().into_bytes(), "sha256=0").await).await;
    assert_eq!(status, 401);
    assert_eq!(app.redeem(Some("garbage")).await.status(), 401);
    assert_eq!(app.request(Method::PUT, "/gha/runner").await.status(), 405);

    // Not on a terminal: one JSON object a line without being asked.
    let log = app.end();
    let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    let lines: Vec<Value> = log.lines().map(parse).collect();
    let find = |event: &str, what: &dyn Fn(&Value) -> bool| {
        let found: Vec<&Value> = lines.iter().filter(|line| line["event"] == event && what(line)).collect();
        assert_eq!(found.len(), 1, "{event}: {found:?} in {log}");
        found[0].clone()
    };
    let launched = find("webhook", &|line| line["job"] == job && line["decision"] == "launched");
    assert_eq!(launched["delivery"], delivery.unwrap().guid);
    assert_eq!((&launched["level"], &launched["component"]), (&"INFO".into(), &"webhook".into()));
    assert_eq!(launched["launch"], format!("{job}-1"));
    let redeemed = find("redeem", &|line| line["status"] == 200);
    assert_eq!((&redeemed["launch"], &redeemed["job"]), (&launched["launch"], &job.to_string().into()));
    let deferred = find("webhook", &|line| line["job"] == away && line["decision"] == "deferred");
    assert_eq!(deferred["level"], "WARN");
    let waits = find("webhook", &|line| line["job"] == capped && line["decision"] == "deferred");
    assert_eq!(waits["level"], "INFO", "a full profile is no error: {waits}");
    for (event, status, level) in [("webhook", 401, "WARN"), ("redeem", 401, "WARN"), ("redeem", 405, "INFO")] {
        assert_eq!(find(event, &|line| line["status"] == status)["level"], level, "{event} {status}");
    }
}

#[test]
fn shells_and_man_are_told_every_command() {
    let run = |arguments: &[&str]| {
        let output = program().args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    for (shell, checked_by) in [("bash", Some("bash")), ("zsh", None), ("fish", None)] {
        let (status, script) = run(&["completions", shell]);
        assert_eq!(status, 0);
        for word in ["doctor", "demo", "--state-dir", "state-dir", "completions"] {
            assert!(script.contains(word.trim_start_matches('-')), "{shell}: {word}");
        }
        if let Some(program) = checked_by {
            let mut child = Command::new(program).arg("-n").stdin(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success(), "{shell} does not take it");
        }
    }
    let (status, page) = run(&["man"]);
    assert_eq!(status, 0);
    assert!(page.contains(".TH gha-slurm 1") && page.contains(".TH gha-slurm-doctor 1"), "{page}");
    assert!(page.contains("Exit status") && !page.contains("gha\\-slurm\\-gateway 1"));
    assert_eq!(run(&["completions", "no-such-shell"]).0, 2);
}
