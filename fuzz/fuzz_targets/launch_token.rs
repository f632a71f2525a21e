//! Launch tokens: text that is no token, and claims under a right signature. What is honoured says that it is ours, for
//! this endpoint, and still valid.

#![no_main]

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ed25519_compact::{KeyPair, Seed};
use gha_slurm_core::launch_token::{Launch, LaunchTokens};
use gha_slurm_core::ledger::keys;
use gha_slurm_core::ports::{Clock, Store};
use gha_slurm_core::testing::Memory;
use gha_slurm_protocol::identity::ClusterName;
use gha_slurm_protocol::secret::Secret;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const AUDIENCE: &str = "https://app.example/gha/runner";

fuzz_target!(|bytes: &[u8]| {
    let platform = Memory::new();
    let tokens = LaunchTokens::new(&platform, AUDIENCE);
    let launch: Launch = serde_json::from_value(json!({
        "repository_id": 1, "repository": "octo/repo", "installation": 2, "labels": ["self-hosted", "slurm"],
        "run_attempt": 1, "profile": "default",
    }))
    .unwrap();
    let ours = tokens
        .issue((&ClusterName::default(), &Secret::new("gateway-secret")), "42-1".parse().unwrap(), launch)
        .unwrap();
    assert!(tokens.verify(ours.expose()).is_ok());

    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(tokens.verify(text).is_err() || text == ours.expose());
    }
    // The second key of the day, which is known here.
    let pair = KeyPair::from_seed(Seed::new([7; 32]));
    let day = platform.unix_seconds() / (24 * 60 * 60);
    platform.set(&keys::signing_key(day, 2), &serde_json::to_vec(&*pair.pk).unwrap()).unwrap();
    let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": format!("{day}-2")}).to_string();
    let signed = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(bytes));
    let signature = pair.sk.sign(signed.as_bytes(), None);
    let token = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(*signature));
    if tokens.verify(&token).is_ok() {
        let claims: Value = serde_json::from_slice(bytes).unwrap();
        assert_eq!(claims["iss"], "gha-slurm");
        assert!(
            claims["aud"] == AUDIENCE || claims["aud"].as_array().is_some_and(|all| all.contains(&json!(AUDIENCE)))
        );
        assert!(claims["exp"].as_f64().unwrap() >= f64::from(1_800_000_000 - 121), "{claims}");
    }
});
