//! `gha-slurm doctor`: one thing wrong at a time, and what it says. The expected output is in `tests/golden/doctor`;
//! `EXPECTORATE=overwrite` writes it anew.

use std::path::Path;

use gha_slurm_core::github::requirements::EVENTS;
use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::{Endpoint, Fault, GitHub, WebhookFault};
use jwt_simple::prelude::RS256KeyPair;
use serde_json::Value;
use tempfile::TempDir;

use crate::fetching::{SECRET, clusters};
use crate::support::{ADMIN_TOKEN, App, GATEWAY_SECRET, LABELS, REPOSITORY, WEBHOOK_SECRET, program};

/// An application in order, with a store on disk.
struct Patient {
    app: App,
    folder: TempDir,
}

impl Patient {
    async fn healthy() -> Self {
        Self::with(&[]).await
    }

    async fn with(changes: &[(&str, &str)]) -> Self {
        let events = Events::default();
        let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let app = App::start_beside(github, events, folder.path().to_str().unwrap(), changes).await;
        Self { app, folder }
    }

    fn examine(&self, changes: &[(&str, &str)], flags: &[&str]) -> (i32, String) {
        let mut command = self.app.command("doctor", self.folder.path(), changes);
        let output = command.args(flags).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        for secret in [WEBHOOK_SECRET, ADMIN_TOKEN, GATEWAY_SECRET, "BEGIN PRIVATE", "eyJ"] {
            assert!(!text.contains(secret), "it shows a secret ({secret}): {text}");
        }
        (output.status.code().unwrap(), text)
    }

    /// What it says under these changes is what the file says.
    fn says(&self, name: &str, changes: &[(&str, &str)], status: i32) {
        let (code, text) = self.examine(changes, &[]);
        let text = text
            .replace(&self.app.url, "http://APP")
            .replace(&self.app.github.url(), "http://GITHUB")
            .replace(&self.app.gateway.url(), "http://GATEWAY")
            .replace(self.folder.path().to_str().unwrap(), "FOLDER");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/doctor").join(format!("{name}.txt"));
        expectorate::assert_contents(&file, &text);
        assert_eq!(code, status, "{name}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_and_profiles() {
    let patient = Patient::healthy().await;
    patient.says("healthy", &[], 0);
    let profile = |name: &str, labels: &str| format!("[[profile]]\nname = '{name}'\nlabels = {labels}\n");
    let unreachable = profile("all", "['self-hosted', 'slurm']") + profile("few", "['slurm']").as_str();
    let overlap = profile("cpu", "['self-hosted', 'x64']") + profile("gpu", "['self-hosted', 'gpu']").as_str();
    for (name, changes) in [
        ("public-url-missing", &[("public_url", "")][..]),
        ("gateway-url-missing", &[("gateway_url", "")]),
        ("poll-without-a-token", &[("webhooks", "poll"), ("admin_token", "")]),
        ("webhooks-unknown", &[("webhooks", "pol"), ("poll_seconds", "0")]),
        ("clusters-file-without-at", &[("clusters", "clusters.toml")]),
        ("gateway-url-malformed", &[("gateway_url", "gateway")]),
        ("gateway-secret-missing", &[("gateway_secret", "")]),
        ("github-api-url-with-a-path", &[("github_api_url", "https://ghe.example/api/v3")]),
        ("admin-token-short", &[("admin_token", "short")]),
        ("profiles-malformed", &[("profiles", "[[profile]]\nname = 'p'")]),
        ("profile-unreachable", &[("profiles", &unreachable)]),
        ("app-unconfigured", &[("github_app_id", ""), ("github_private_key", ""), ("github_webhook_secret", "")]),
        ("key-malformed", &[("github_private_key", "hunter2")]),
    ] {
        patient.says(name, changes, 1);
    }
    patient.says("profiles-overlap", &[("profiles", &overlap)], 0);
    patient.says("admin-token-missing", &[("admin_token", "")], 0);
    let tick_alone = [("admin_token", ""), ("tick_token", "a-tick-token-of-32-characters-xx")];
    patient.says("tick-token-alone", &tick_alone, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_at_github() {
    let patient = Patient::healthy().await;
    let github = &patient.app.github;
    let other = RS256KeyPair::generate(2048).unwrap().to_pem().unwrap();
    patient.says("key-of-another-app", &[("github_private_key", &other)], 1);
    patient.says("github-away", &[("github_api_url", "http://127.0.0.1:9")], 1);
    github.fail(Endpoint::App, Fault::Garbage);
    patient.says("github-garbage", &[], 1);
    github.set_permission("administration", Some("read"));
    github.set_permission("actions", None);
    patient.says("permissions-missing", &[], 1);
    github.set_permission("administration", Some("write"));
    github.set_permission("actions", Some("write"));
    let level = |more: &str| format!("[[profile]]\nname = 'cpu'\nlabels = ['self-hosted', 'slurm']\n{more}\n");
    let organization = level("level = 'organization'\nrunner_group = 'hpc'\nrepositories = ['octo-org/*']");
    patient.says("organization-permission-missing", &[("profiles", &organization)], 1);
    github.set_permission("organization_self_hosted_runners", Some("write"));
    patient.says("administration-not-needed", &[("profiles", &organization)], 0);
    patient.says("organization-permission-not-needed", &[], 0);
    github.set_permission("administration", None);
    patient.says("administration-missing", &[], 1);
    let pools = ["", "runner_group = 'hpc'", "runner_group = 'hpc'\nrepositories = ['octo-org/*', 'other/one']"];
    for (number, more) in pools.into_iter().enumerate() {
        let profiles = level(&format!("level = 'organization'\n{more}"));
        patient.says(&format!("organization-pool-{number}"), &[("profiles", &profiles)], 0);
    }
    github.set_permission("administration", Some("write"));
    github.set_permission("organization_self_hosted_runners", None);
    let others: Vec<&str> = EVENTS.into_iter().filter(|event| *event != "workflow_job").collect();
    github.set_events(&others);
    patient.says("event-missing", &[], 1);
    github.set_events(&EVENTS);
    github.set_clock(120);
    patient.says("clock-behind", &[], 1);
    github.set_clock(-400);
    patient.says("clock-ahead", &[], 1);
    github.set_clock(0);
    github.uninstall(REPOSITORY);
    patient.says("not-installed", &[], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_and_its_deliveries() {
    let patient = Patient::healthy().await;
    let (github, url) = (&patient.app.github, patient.app.url.clone());
    patient.app.gateway.hold(true);
    github.set_webhook_url("https://elsewhere.example/hook");
    patient.says("webhook-elsewhere", &[], 1);
    let hook = format!("{url}/api/github/webhooks");
    github.set_webhook_url(&hook);
    github.disturb_webhook(WebhookFault::Unreachable);
    github.queue_job(REPOSITORY, LABELS).await;
    patient.says("deliveries-unreachable", &[], 1);
    github.queue_job(REPOSITORY, LABELS).await;
    patient.says("deliveries-failed-before", &[], 0);
    github.set_webhook_url(&format!("{url}/nowhere"));
    github.queue_job(REPOSITORY, LABELS).await;
    github.set_webhook_url(&hook);
    patient.says("deliveries-not-found", &[], 1);
    let other = App::start_with(&[("github_webhook_secret", "another webhook secret")]).await;
    github.set_webhook_url(&format!("{}/api/github/webhooks", other.url));
    github.queue_job(REPOSITORY, LABELS).await;
    github.set_webhook_url(&hook);
    patient.says("deliveries-unauthorized", &[], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_are_read() {
    let patient = Patient::healthy().await;
    let github = &patient.app.github;
    let poll = [("webhooks", "poll")];
    patient.says("deliveries-never-read", &poll, 1);
    github.set_webhook_url("");
    patient.says("webhook-records-nothing", &poll, 1);

    let patient = Patient::with(&[("webhooks", "poll"), ("poll_seconds", "1")]).await;
    let github = &patient.app.github;
    github.set_webhook_url("https://gha-slurm.invalid/");
    patient.app.gateway.hold(true);
    github.queue_job(REPOSITORY, LABELS).await;
    patient.app.within_seconds(20, "it is launched", || patient.app.gateway.starts().len() == 1).await;
    let (code, text) = patient.examine(&poll, &[]);
    assert!(code == 0 && text.contains("✓ webhook    leads nowhere on purpose (webhooks = poll)\n"), "{text}");
    assert!(text.contains("✓ deliveries read from GitHub's list; the newest was made"), "{text}");
    assert!(text.contains("is an application that reads webhooks\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_fetches() {
    let clusters = clusters();
    let changes = [("gateway_url", ""), ("gateway_secret", ""), ("clusters", clusters.as_str())];
    let patient = Patient::with(&changes).await;
    patient.says("cluster-never-asked", &changes, 1);
    let url = format!("{}/clusters/alps/exchange", patient.app.url);
    let request = patient.app.client.post(url).bearer_auth(SECRET).header("content-type", "application/json");
    assert_eq!(request.body(r#"{"gateway": "login1", "room": 9}"#).send().await.unwrap().status(), 200);
    patient.says("cluster-asks", &changes, 0);
    let elsewhere = "[[profile]]\nname = 'gpu'\nlabels = ['self-hosted', 'gpu']\ncluster = 'daint'\n";
    let changes = [&changes[..], &[("profiles", elsewhere)]].concat();
    patient.says("cluster-unknown", &changes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_the_public_url_and_the_store() {
    let patient = Patient::healthy().await;
    let app = &patient.app;
    patient.says("gateway-away", &[("gateway_url", "http://127.0.0.1:9")], 1);
    patient.says("gateway-secret-wrong", &[("gateway_secret", "another")], 1);
    patient.says("gateway-is-something-else", &[("gateway_url", &app.github.url())], 1);
    patient.says("public-url-away", &[("public_url", "http://127.0.0.1:9")], 1);
    patient.says("public-url-is-something-else", &[("public_url", &app.github.url())], 1);
    patient.says("public-url-with-another-secret", &[("github_webhook_secret", "another")], 1);
    assert!(app.gateway.starts().is_empty(), "it started something");

    let file = patient.folder.path().join("sqlite_key_value.db");
    let report: Value = serde_json::from_str(&patient.examine(&[], &["--json"]).1).unwrap();
    assert_eq!(report["ok"], true, "{report}");
    assert!(report["checks"].as_array().unwrap().iter().all(|check| check["outcome"] == "ok"), "{report}");
    assert!(file.exists());
    let kept = rusqlite::Connection::open(&file).unwrap();
    let count = |kept: &rusqlite::Connection| {
        let ours = "SELECT count(*) FROM spin_key_value WHERE key LIKE '%doctor%'";
        kept.query_row(ours, [], |row| row.get::<_, u64>(0)).unwrap()
    };
    assert_eq!(count(&kept), 0, "it leaves nothing behind");

    let folder = tempfile::tempdir().unwrap();
    let examine = || {
        let mut command = app.command("doctor", folder.path(), &[]);
        command.args(["--json", "--runtime-config-file"]).arg(folder.path().join("config.toml"));
        let report: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        report["checks"].as_array().unwrap().iter().find(|check| check["check"] == "store").unwrap().clone()
    };
    let config = |redis: &str| {
        let text = format!("[key_value_store.default]\ntype = \"redis\"\nurl = \"{redis}\"\n");
        std::fs::write(folder.path().join("config.toml"), text).unwrap();
    };
    config("redis://:hunter2@127.0.0.1:9");
    let found = examine();
    assert!(found["outcome"] == "wrong" && !found.to_string().contains("hunter2"), "{found}");

    let mut patient = patient;
    patient.folder = tempfile::tempdir().unwrap();
    patient.says("store-not-there", &[], 0);
    let file = patient.folder.path().join("sqlite_key_value.db");
    assert!(!file.exists(), "it makes none");
    gha_slurm::host::private_files::make(&file).unwrap();
    std::fs::write(&file, "no database, but long enough to be taken for one ".repeat(100)).unwrap();
    patient.says("store-garbage", &[], 1);
}

#[test]
fn without_a_manifest_it_says_which_flag_names_it() {
    let output = program().args(["doctor", "--from", "/no/such/spin.toml"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && text.contains("--from"), "{text}");
}
