//! What is counted, and that counters only grow.

use std::collections::BTreeMap;

use gha_slurm_core::ledger::RETENTION_SECONDS;
use gha_slurm_edge::testing::{authorized, get};
use gha_slurm_scene::{Gateway, Scene};
use gha_slurm_tick::run::tick;
use serde_json::json;

use super::text;
use crate::Look;

/// Each series with its value, by the format's simplest reader.
fn series(scene: &Scene) -> BTreeMap<String, u64> {
    let text = text(&scene.platform).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap())).unwrap())
        .collect()
}

fn counters(series: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let counts = |name: &str| ["_total", "_bucket", "_sum", "_count"].iter().any(|end| name.contains(end));
    series.iter().filter(|(name, _)| counts(name)).map(|(name, value)| (name.clone(), *value)).collect()
}

fn tick_now(scene: &Scene) {
    let mut request = authorized("Bearer an-admin-token-of-32-characters!");
    request.target = "/internal/tick".to_owned();
    assert_eq!(tick(&scene.platform, &request).status, 200);
}

#[test]
fn figures_per_repository_stages_and_outcomes_are_told() {
    let scene = Scene::new();
    scene.whole(1);
    scene.queue(2);
    scene.pass(90);
    scene.gateway(Gateway::Away);
    scene.queue(3);
    let series = series(&scene);
    for (name, value) in [
        ("gha_slurm_jobs_waiting{repository=\"octo/repo\"}", 2),
        ("gha_slurm_oldest_job_age_seconds{repository=\"octo/repo\"}", 90),
        ("gha_slurm_jobs{profile=\"cpu\",state=\"pending\"}", 1),
        ("gha_slurm_jobs{profile=\"cpu\",state=\"unsubmitted\"}", 1),
        ("gha_slurm_jobs_queued_total{profile=\"cpu\"}", 3),
        ("gha_slurm_jobs_started_total{profile=\"cpu\"}", 1),
        ("gha_slurm_jobs_finished_total{profile=\"cpu\",conclusion=\"success\"}", 1),
        ("gha_slurm_launches_total{profile=\"cpu\"}", 2),
        ("gha_slurm_submit_failures_total{profile=\"cpu\"}", 1),
        ("gha_slurm_redemptions_total{outcome=\"granted\"}", 1),
        ("gha_slurm_stage_seconds_bucket{stage=\"pending\",le=\"5\"}", 0),
        ("gha_slurm_stage_seconds_bucket{stage=\"pending\",le=\"15\"}", 1),
        ("gha_slurm_stage_seconds_bucket{stage=\"pending\",le=\"+Inf\"}", 1),
        ("gha_slurm_stage_seconds_sum{stage=\"run\"}", 60),
        ("gha_slurm_stage_seconds_count{stage=\"wait\"}", 1),
        ("gha_slurm_metrics_complete", 1),
    ] {
        assert_eq!(series.get(name), Some(&value), "{name} in {series:#?}");
    }
}

#[test]
fn how_far_githubs_list_of_deliveries_was_read_is_told() {
    let scene = Scene::new();
    assert!(!text(&scene.platform).unwrap().contains("gha_slurm_deliveries"), "nothing is known");
    scene.github("/app/hook/deliveries", 200, json!([]));
    tick_now(&scene);
    scene.pass(90);
    let series = series(&scene);
    assert_eq!(series.get("gha_slurm_deliveries_last_read_seconds"), Some(&90));
    assert_eq!(series.get("gha_slurm_deliveries_behind"), Some(&0));
}

#[test]
fn each_cluster_tells_whether_it_is_there_and_what_waits_for_it() {
    let scene = Scene::fetching(&["alps", "eiger"]);
    scene.exchange("alps", &json!({"gateway": "login1", "room": 0, "queue": {"pending": 7, "running": 2}}));
    scene.queue(1);
    scene.pass(90);
    let told = series(&scene);
    let of_clusters: Vec<(&str, u64)> = told
        .iter()
        .filter(|(name, _)| name.contains("cluster"))
        .map(|(name, value)| (name.trim_start_matches("gha_slurm_cluster_"), *value))
        .collect();
    assert_eq!(
        of_clusters,
        [
            ("last_heard_seconds{cluster=\"alps\"}", 90),
            ("queue{cluster=\"alps\",state=\"pending\"}", 7),
            ("queue{cluster=\"alps\",state=\"running\"}", 2),
            ("silent{cluster=\"alps\"}", 0),
            ("silent{cluster=\"eiger\"}", 1),
            ("waiting_launches{cluster=\"alps\"}", 1),
            ("waiting_launches{cluster=\"eiger\"}", 0),
        ]
    );
    assert_eq!(told["gha_slurm_jobs{profile=\"cpu\",state=\"offered\"}"], 1);
    scene.pass(30);
    assert!(!series(&scene).keys().any(|name| name.contains("cluster_queue")), "a silent one tells of no queue");
    scene.platform.set_variable("clusters", Some("[[cluster]]"));
    assert!(!series(&scene).keys().any(|name| name.contains("_cluster_")), "and the rest is told");
}

#[test]
fn counters_do_not_fall_when_old_jobs_are_deleted() {
    let scene = Scene::new();
    for job in 1..=40 {
        scene.whole(job);
        scene.pass(200);
    }
    let before = counters(&series(&scene));
    let mut last = before.clone();
    for _ in 0..10 {
        scene.pass(RETENTION_SECONDS / 8);
        tick_now(&scene);
        let now = counters(&series(&scene));
        for (name, value) in &last {
            assert!(now[name] >= *value, "{name} fell from {value} to {}", now[name]);
        }
        last = now;
    }
    assert!(!scene.platform.keys().iter().any(|key| key.contains("/job/")), "all were deleted");
    for (name, value) in before.iter().filter(|(name, _)| !name.contains("github_calls")) {
        assert_eq!(last[name], *value, "{name}");
    }
    let journal: Vec<String> = scene.platform.keys().into_iter().filter(|key| key.contains("/journal/")).collect();
    let old = scene.platform.seconds.get() - RETENTION_SECONDS - 2 * 3600;
    for key in journal {
        let bucket: u64 = key.split('/').nth(3).unwrap().parse().unwrap();
        assert!(bucket >= old / 3600, "{key} is older than the retention");
    }
}

#[test]
fn what_leaves_no_fact_is_sampled() {
    let scene = Scene::new();
    let transactions = scene.platform.transactions.get();
    let mut forged = get("/api/github/webhooks");
    forged.method = "POST".to_owned();
    for name in ["x-github-event", "x-github-delivery", "x-hub-signature-256"] {
        forged.headers.push((name.to_owned(), b"sha256=00".to_vec()));
    }
    for _ in 0..64 * 5 {
        assert_eq!(gha_slurm_webhook::receive::receive(&scene.platform, &forged).status, 401);
        scene.queue_with(1, json!({"labels": ["ubuntu-latest"]}));
    }
    // 640 events are 10 writes of 64 each, for here all numbers are drawn equally often.
    assert_eq!(scene.platform.transactions.get() - transactions, 10);
    let series = series(&scene);
    let count = |outcome: &str| series[&format!("gha_slurm_webhooks_ignored_total{{outcome=\"{outcome}\"}}")];
    assert_eq!((count("unauthorized") + count("ignored"), count("malformed")), (640, 0));
}

#[test]
fn a_failed_call_of_github_is_counted_at_once() {
    let scene = Scene::new();
    scene.queue(1);
    scene.github("/access_tokens", 502, json!({}));
    assert_eq!(scene.redeem("1-1").status, 503);
    let series = series(&scene);
    assert_eq!(series["gha_slurm_github_calls_total{result=\"unavailable\"}"], 1);
    assert_eq!(series["gha_slurm_redemptions_total{outcome=\"failed\"}"], 1);
}

#[test]
fn many_repositories_do_not_make_many_series_and_no_name_breaks_the_format() {
    let scene = Scene::new();
    for number in 0..150 {
        scene.queue_in(number + 1, &format!("octo/repo-{number}"));
    }
    let series = series(&scene);
    let waiting: Vec<_> = series.iter().filter(|(name, _)| name.starts_with("gha_slurm_jobs_waiting{")).collect();
    assert_eq!((waiting.len(), waiting.iter().map(|(_, value)| **value).sum::<u64>()), (101, 150));
    assert_eq!(gha_slurm_overview::tally::escape("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
}

#[test]
fn metrics_take_the_admin_token_unless_they_are_open() {
    let scene = Scene::new();
    let answer = scene.get("/metrics");
    assert_eq!((answer.status, answer.content().0), (200, super::CONTENT_TYPE));
    let without = || {
        let mut request = get("/metrics");
        request.headers.clear();
        crate::routes::answer(&scene.platform, &request).status
    };
    for (setting, status) in [("", 401), ("false", 401), ("true", 200), ("yes", 500)] {
        scene.platform.set_variable("open_metrics", Some(setting));
        assert_eq!(without(), status, "{setting:?}");
    }
}

/// Each name of a metric in a text.
fn named(text: &str) -> Vec<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c)).filter(|name| name.starts_with("gha_slurm_")).map(str::to_owned).collect()
}

/// A family's name of the name of one of its series.
fn family(name: &str) -> &str {
    let of_histogram = |end: &str| name.strip_suffix(end).filter(|base| *base == "gha_slurm_stage_seconds");
    ["_bucket", "_sum", "_count"].into_iter().find_map(of_histogram).unwrap_or(name)
}

#[test]
fn the_dashboard_and_the_docs_name_what_there_is() {
    let read = |path: &str| {
        std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
    };
    let families: Vec<&str> = super::families::FAMILIES.iter().map(|family| family.name).collect();
    let dashboard: serde_json::Value = serde_json::from_str(&read("deploy/grafana-dashboard.json")).unwrap();
    let mut expressions = String::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            expressions += target["expr"].as_str().unwrap();
            expressions.push('\n');
        }
    }
    for (place, text) in [("the dashboard", expressions), ("docs/operation.md", read("docs/operation.md"))] {
        let named = named(&text);
        for name in &named {
            assert!(families.contains(&family(name)), "{place} names {name}, which is no metric");
        }
        for known in &families {
            assert!(named.iter().any(|name| family(name) == *known), "{place} does not name {known}");
        }
    }
}

#[test]
fn every_metric_of_an_app_that_did_something_is_told() {
    let scene = Scene::new();
    scene.whole(1);
    scene.queue(2);
    scene.github("/app/hook/deliveries", 200, json!([]));
    tick_now(&scene);
    let text = text(&scene.platform).unwrap();
    for family in super::families::FAMILIES {
        // What never happened has no series yet.
        let told = text.contains(&format!("# TYPE {} ", family.name));
        let never = ["gha_slurm_relaunches_total", "gha_slurm_submit_failures_total"].contains(&family.name)
            || family.name.starts_with("gha_slurm_cluster_");
        assert!(told || never, "{} is not told", family.name);
    }
}
