//! A component that faces strangers is taken over: it reads the whole store, with the webhook's variables.

use std::path::Path;

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::GitHub;
use serde_json::Value;

use crate::support::{App, MANIFEST, REPOSITORY, WASM, WEBHOOK_SECRET, built_for_tests, json};

const STORE_KEY: &str = "a-store-key-that-has-32-characters";

/// The shipped manifest, with a component beside the others that has what the webhook has.
fn with_dumper(folder: &Path) -> std::path::PathBuf {
    let dumper = built_for_tests("dumper");
    let text = std::fs::read_to_string(MANIFEST).unwrap().replace("target/wasm32-wasip1/wasm", WASM);
    let (_, of_webhook) = text.split_once("[component.webhook.variables]").unwrap();
    let variables = of_webhook.split("\n\n").next().unwrap().to_owned();
    let added = format!(
        "\n[[trigger.http]]\nroute = \"/dump\"\ncomponent = \"dumper\"\n\n[component.dumper]\nsource = {:?}\n\
         key_value_stores = [\"default\"]\n\n[component.dumper.variables]{variables}\n",
        dumper.to_str().unwrap()
    );
    let path = folder.join("spin.toml");
    std::fs::write(&path, text + added.as_str()).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_with_the_webhooks_variables_finds_nothing_in_the_store_that_it_can_use_at_github() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
    let manifest = with_dumper(folder.path());
    let changes = [("store_key", STORE_KEY)];
    let app = App::start_from(&manifest, github, events, state.to_str().unwrap(), &changes).await;
    let (_, start) = app.held_launch().await;
    assert_eq!(app.gateway.redeem(&start).await.0, 200);
    app.tick().await;

    let (status, dump) = json(app.client.get(format!("{}/dump", app.url)).send().await.unwrap()).await;
    assert_eq!((status, &dump["problem"]), (200, &Value::Null), "{dump}");
    let values = dump["values"].as_object().unwrap();
    assert!(values.keys().any(|key| key.contains("/cache/")), "GitHub's tokens are kept: {:?}", values.keys());
    for (key, value) in values {
        let bytes: Vec<u8> = value
            .as_str()
            .unwrap()
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        let text = String::from_utf8_lossy(&bytes);
        for secret in ["ghs_", "eyJ", "PRIVATE KEY", "encoded_jit_config"] {
            assert!(!text.contains(secret), "{key} shows {secret}: {text}");
        }
        if key.contains("/cache/") {
            assert_eq!(bytes.first(), Some(&1), "{key} is sealed");
        }
    }
    let given: Vec<&String> = dump["variables"].as_object().unwrap().keys().collect();
    for kept_from_it in ["github_private_key", "store_key", "admin_token"] {
        assert!(!given.iter().any(|name| *name == kept_from_it), "{given:?}");
    }
}
