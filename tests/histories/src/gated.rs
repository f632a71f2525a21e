//! Deployments that wait for an approval, one after the other, and in another order than GitHub sent them.

use gha_slurm_core::ledger::Ledger;
use gha_slurm_core::testing::{Memory, answer};
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::testing::{authorized, delivery_named};
use gha_slurm_tick::run::tick;
use gha_slurm_webhook::receive::receive;
use serde_json::{Value, json};

use crate::together::{body, event, exchange, friendly, platform, sent_to};

fn tell(platform: &Memory, delivery: &str, action: &str, status: &str) -> Answer {
    let mut event = event(action, 42);
    event["workflow_job"]["status"] = json!(status);
    receive(platform, &delivery_named(delivery, &event))
}

fn decision(answer: &Answer) -> &str {
    answer.body["decision"].as_str().unwrap_or_default()
}

fn launches(platform: &Memory) -> Vec<Value> {
    sent_to(platform, "/runner/start").iter().map(|request| body(request)["launch"].clone()).collect()
}

fn run(platform: &Memory) -> Value {
    tick(platform, &authorized("Bearer an-admin-token-of-32-characters!")).body
}

/// GitHub says so of the job.
fn status(platform: &Memory, status: &'static str) {
    platform.serve(move |_, request| match request.url.path() {
        "/repositories/7/actions/jobs/42" => answer(200, &json!({"id": 42, "status": status})),
        "/app/hook/deliveries" => answer(200, &json!([])),
        _ => friendly(request),
    });
}

#[test]
fn a_gated_deployment_is_launched_once_it_is_approved() {
    let platform = platform();
    assert_eq!(decision(&tell(&platform, "a", "queued", "waiting")), "recorded");
    assert_eq!(decision(&tell(&platform, "b", "waiting", "waiting")), "duplicate");
    assert_eq!(decision(&tell(&platform, "a", "queued", "waiting")), "duplicate");
    assert!(launches(&platform).is_empty());
    // Two days later: GitHub's limit counts from the approval.
    platform.seconds.set(platform.seconds.get() + 2 * 24 * 3600);
    assert_eq!(decision(&tell(&platform, "c", "queued", "queued")), "launched");
    assert_eq!(decision(&tell(&platform, "c", "queued", "queued")), "duplicate");
    assert_eq!(launches(&platform), ["42-1"]);
    let token = body(&sent_to(&platform, "/runner/start")[0])["launcherToken"].as_str().unwrap().to_owned();
    assert_eq!(exchange(&platform, &token).status, 200);
}

#[test]
fn waiting_withdraws_a_launch_and_the_next_queued_is_news() {
    let platform = platform();
    assert_eq!(decision(&tell(&platform, "a", "queued", "queued")), "launched");
    let token = body(&sent_to(&platform, "/runner/start")[0])["launcherToken"].as_str().unwrap().to_owned();
    assert_eq!(decision(&tell(&platform, "b", "waiting", "waiting")), "recorded");
    assert_eq!(sent_to(&platform, "/runner/cancel").len(), 1);
    assert_eq!(exchange(&platform, &token).status, 410);
    assert_eq!(decision(&tell(&platform, "a", "queued", "queued")), "duplicate", "it is the old one again");
    assert_eq!(decision(&tell(&platform, "c", "queued", "queued")), "launched");
    assert_eq!(launches(&platform), ["42-1", "42-2"]);
}

#[test]
fn a_held_job_takes_no_place_of_its_profile_and_stands_in_line_anew() {
    let platform = platform();
    let profile = "[[profile]]\nname = 'one'\nlabels = ['self-hosted', 'slurm']\nmax_running = 1";
    platform.set_variable("profiles", Some(profile));
    let other = |job: u64| receive(&platform, &delivery_named(&format!("d{job}"), &event("queued", job)));
    assert_eq!(decision(&other(1)), "launched");
    assert_eq!(decision(&tell(&platform, "a", "queued", "queued")), "deferred");
    assert_eq!(decision(&tell(&platform, "b", "waiting", "waiting")), "recorded");
    assert_eq!(decision(&other(2)), "deferred");
    assert_eq!(decision(&tell(&platform, "c", "queued", "queued")), "deferred", "the profile is full");
    receive(&platform, &delivery_named("e", &event("completed", 1)));
    assert_eq!(launches(&platform), ["1-1", "2-1"]);
    receive(&platform, &delivery_named("f", &event("completed", 2)));
    assert_eq!(launches(&platform), ["1-1", "2-1", "42-2"]);
}

#[test]
fn a_waiting_that_comes_too_late_is_put_right_by_asking_github() {
    let platform = platform();
    status(&platform, "queued");
    assert_eq!(decision(&tell(&platform, "c", "queued", "queued")), "launched");
    assert_eq!(decision(&tell(&platform, "b", "waiting", "waiting")), "recorded");
    run(&platform);
    assert_eq!(launches(&platform), ["42-1"], "GitHub is not asked at once");
    platform.seconds.set(platform.seconds.get() + 60);
    run(&platform);
    assert_eq!(launches(&platform), ["42-1", "42-2"]);
}

#[test]
fn a_job_that_is_held_for_days_costs_few_questions() {
    let platform = platform();
    status(&platform, "waiting");
    tell(&platform, "a", "queued", "waiting");
    for _ in 0..2 * 24 * 60 {
        platform.seconds.set(platform.seconds.get() + 60);
        run(&platform);
    }
    let asked = sent_to(&platform, "/actions/jobs/42").len();
    assert!((20..=80).contains(&asked), "{asked}");
    assert!(launches(&platform).is_empty());
    assert!(
        Ledger(&platform)
            .job("42-1".parse::<gha_slurm_protocol::identity::LaunchId>().unwrap().job)
            .view()
            .unwrap()
            .is_held()
    );
}
