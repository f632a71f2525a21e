//! A variable or a manifest that is wrong: named, with the way to put it right.

use std::process::Command;

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::GitHub;
use jwt_simple::prelude::RS256KeyPair;

use crate::support::{App, MANIFEST, REPOSITORY, WEBHOOK_SECRET, built, json, program, queued};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_variable_is_500_with_its_name_at_the_first_webhook() {
    for (name, value) in [
        ("github_webhook_secret", ""),
        ("gateway_url", ""),
        ("gateway_url", "not a URL"),
        ("gateway_secret", ""),
        ("public_url", ""),
        ("profiles", "[[profile]]\nname = 'p'"),
    ] {
        let app = App::start_with(&[(name, value)]).await;
        let (status, body) = json(app.deliver("workflow_job", queued(1).to_string()).await).await;
        let error = body["error"].as_str().unwrap();
        assert_eq!(status, 500, "{name}: {error}");
        assert!(error.contains(name) && error.contains("SPIN_VARIABLE_"), "{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_variable_is_500_with_its_name_at_the_first_redemption() {
    for (name, value) in [("github_app_id", ""), ("github_private_key", ""), ("github_private_key", "hunter2")] {
        let app = App::start_with(&[(name, value)]).await;
        let (_, start) = app.held_launch().await;
        let (status, body) = app.gateway.redeem(&start).await;
        let error = body["error"].as_str().unwrap();
        assert_eq!(status, 500, "{name}: {error}");
        assert!(error.contains(name) && !error.contains("hunter2"), "{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_as_github_hands_it_out_works() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.pem");
    let made =
        Command::new("openssl").args(["genrsa", "-traditional", "-out"]).arg(&file).arg("2048").output().unwrap();
    assert!(made.status.success());
    let traditional = std::fs::read_to_string(&file).unwrap();
    assert!(traditional.contains("BEGIN RSA PRIVATE KEY"));
    let converted = Command::new("openssl").args(["pkcs8", "-topk8", "-nocrypt", "-in"]).arg(&file).output().unwrap();
    let pkcs8 = String::from_utf8(converted.stdout).unwrap();
    assert!(pkcs8.contains("BEGIN PRIVATE KEY"));
    // Variables in one-line files have their line breaks written out.
    for pem in [traditional.clone(), pkcs8, traditional.replace('\n', "\\n")] {
        let events = Events::default();
        let key = RS256KeyPair::from_pem(&traditional).unwrap();
        let github = GitHub::start_with_key(key, &[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
        let app = App::start_beside(github, events, "", &[("github_private_key", &pem)]).await;
        let (_, start) = app.held_launch().await;
        let (status, body) = app.gateway.redeem(&start).await;
        assert_eq!(status, 200, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_app_is_503_with_the_variables_to_check() {
    let other = RS256KeyPair::generate(2048).unwrap().to_pem().unwrap();
    let app = App::start_with(&[("github_private_key", &other)]).await;
    let (_, start) = app.held_launch().await;
    let (status, body) = app.gateway.redeem(&start).await;
    assert_eq!(status, 503, "{body}");
    assert!(body["error"].as_str().unwrap().contains("github_private_key"), "{body}");
}

#[test]
fn a_manifest_with_something_unsupported_is_refused_by_name() {
    built();
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("spin.toml");
    let text = std::fs::read_to_string(MANIFEST).unwrap();
    for (from, to, named) in [
        ("[component.webhook]\n", "[component.webhook]\nfiles = [\"a\"]\n", "files"),
        ("[[trigger.http]]", "[[trigger.redis]]", "redis"),
        ("component = \"webhook\"", "component = \"other\"", "other"),
        ("route = \"/gha/runner\"", "route = \"gha\"", "gha"),
        ("spin_manifest_version = 2", "spin_manifest_version = 1", "spin_manifest_version"),
        ("[component.webhook]\nsource", "[component.webhook]\nsauce", "sauce"),
    ] {
        let changed = text.replacen(from, to, 1).replace("target/", concat!(env!("CARGO_MANIFEST_DIR"), "/target/"));
        assert!(changed != text, "{from}");
        std::fs::write(&manifest, changed).unwrap();
        let output = program().args(["up", "--state-dir", "", "--from"]).arg(&manifest).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(named), "{error}");
    }
}
