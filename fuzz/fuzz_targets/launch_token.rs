//! Launch tokens: text that is no token, and claims under a right signature. What is honoured says that it is ours, for
//! this endpoint, and still valid.

#![no_main]

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use gha_slurm_core::launch_token::{Launch, LaunchTokens};
use gha_slurm_core::ledger::keys;
use gha_slurm_core::ports::Store;
use gha_slurm_core::testing::Memory;
use hmac::{Hmac, Mac};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use sha2::Sha256;

const AUDIENCE: &str = "https://app.example/gha/runner";

fuzz_target!(|bytes: &[u8]| {
    let platform = Memory::new();
    let tokens = LaunchTokens::new(&platform, AUDIENCE);
    let launch: Launch = serde_json::from_value(json!({
        "repository_id": 1, "repository": "octo/repo", "installation": 2, "labels": ["self-hosted", "slurm"],
        "run_attempt": 1, "profile": "default",
    }))
    .unwrap();
    let ours = tokens.issue("42-1".parse().unwrap(), launch).unwrap();
    assert!(tokens.verify(ours.expose()).is_ok());

    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(tokens.verify(text).is_err() || text == ours.expose());
    }
    let kid = platform.get(&keys::signing_key_current()).unwrap().unwrap();
    let kid = String::from_utf8(kid).unwrap();
    let key = platform.get(&keys::signing_key(&kid)).unwrap().unwrap();
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": kid}).to_string();
    let signed = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(bytes));
    let mac = Hmac::<Sha256>::new_from_slice(&key).unwrap().chain_update(&signed).finalize().into_bytes();
    let token = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(mac));
    if tokens.verify(&token).is_ok() {
        let claims: Value = serde_json::from_slice(bytes).unwrap();
        assert_eq!(claims["iss"], "gha-slurm");
        assert!(
            claims["aud"] == AUDIENCE || claims["aud"].as_array().is_some_and(|all| all.contains(&json!(AUDIENCE)))
        );
        assert!(claims["exp"].as_f64().unwrap() >= f64::from(1_800_000_000 - 121), "{claims}");
    }
});
