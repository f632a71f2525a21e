//! What somebody finds who dumps the whole store, with the variables that the webhook has.

// clippy.toml lets tests panic; what they share is part of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use gha_slurm_core::ledger::{Ledger, RegisteredApp};
use gha_slurm_core::ports::Variables;
use gha_slurm_core::sealing::{Purpose, Seal, is_sealed};
use gha_slurm_core::settings::Settings;
use gha_slurm_protocol::secret::Secret;
use gha_slurm_scene::{Scene, app_key};
use serde_json::json;

/// Those of `[component.webhook.variables]`.
const OF_WEBHOOK: [&str; 5] = ["github_webhook_secret", "gateway_url", "gateway_secret", "public_url", "profiles"];
/// Parts of what GitHub takes: its own tokens, JWTs, keys.
const USABLE: [&str; 5] = ["ghs_", "REGISTRATION", "eyJ", "PRIVATE KEY", "JITCONFIG"];

fn used(store_key: bool) -> Scene {
    let scene = Scene::new();
    if store_key {
        let app = RegisteredApp {
            app_id: 1,
            slug: "s".to_owned(),
            name: "n".to_owned(),
            html_url: "https://github.com/apps/s".to_owned(),
            at: 0,
        };
        scene.platform.set_variable("store_key", Some("a-store-key-that-has-32-characters"));
        let seal = Settings(&scene.platform).app_key_seal().unwrap();
        let (pem, hook) = (Secret::new(app_key()), Secret::new("w"));
        assert!(Ledger(&scene.platform).registration().keep(&app, &pem, &hook, seal.as_ref()).unwrap());
        scene.platform.set_variable("github_app_id", None);
        scene.platform.set_variable("github_private_key", None);
    }
    let jit = json!({"encoded_jit_config": "JITCONFIG", "runner": {"id": 5}});
    scene.github("/generate-jitconfig", 201, jit);
    scene.github("/registration-token", 201, json!({"token": "REGISTRATION", "expires_at": "2027-01-20T09:00:00Z"}));
    scene.whole(1);
    scene.queue(2);
    assert_eq!(scene.redeem_jit("2-1").status, 200);
    scene.queue(3);
    scene
}

#[test]
fn with_the_webhooks_variables_nothing_in_it_can_be_used_at_github() {
    for store_key in [false, true] {
        let scene = used(store_key);
        let values = scene.platform.values();
        let mut sealed = 0;
        for (key, value) in &values {
            let text = String::from_utf8_lossy(value);
            assert!(!USABLE.iter().any(|part| text.contains(part)), "{key}: {text}");
            if !is_sealed(value) {
                continue;
            }
            sealed += 1;
            let roots = OF_WEBHOOK.iter().filter_map(|name| scene.platform.variable(name).unwrap());
            for root in roots.chain(values.iter().map(|(_, value)| String::from_utf8_lossy(value).into_owned())) {
                for purpose in [Purpose::GitHubTokens, Purpose::AppKey] {
                    assert!(Seal::new(purpose, &Secret::new(root.clone())).open(key, value).is_err(), "{key}");
                }
            }
        }
        assert!(sealed >= 2, "tokens are kept, and sealed");
        // Those who need it read it.
        assert!(Settings(&scene.platform).app_key().is_ok());
    }
}

#[test]
fn what_an_earlier_build_kept_in_clear_is_not_used_and_is_replaced() {
    let scene = Scene::new();
    let old = br#"{"token":"ghs_of_an_earlier_build","expires_at":"2999-01-01T00:00:00Z"}"#;
    for kind in ["registration", "installation", "installation-actions"] {
        scene.platform.plant(&format!("gha-slurm/1/cache/{kind}/7"), old);
    }
    scene.queue(1);
    let _ = scene.redeem("1-1");
    let sent = scene.platform.sent.borrow();
    let shown = sent.iter().flat_map(|request| &request.headers).any(|(_, value)| value.contains("earlier_build"));
    assert!(!shown, "a value that anybody could have planted is not sent");
}
