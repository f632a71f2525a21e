//! The App's key is replaced by another one while both are set.

// clippy.toml lets tests panic; what they share is part of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use gha_slurm_core::github::client::{GitHub, GitHubError};
use gha_slurm_core::github::credentials::Credentials;
use gha_slurm_core::settings::Settings;
use gha_slurm_core::testing::{Memory, answer};
use gha_slurm_scene::app_key;
use jwt_simple::prelude::{NoCustomClaims, RS256KeyPair, RSAPublicKeyLike, VerificationOptions};
use serde_json::json;

/// A GitHub that knows this key of the App and no other.
fn github_that_knows(platform: &Memory, key: &RS256KeyPair) {
    let known = key.public_key();
    platform.serve(move |platform, request| {
        let (_, jwt) = request.headers.iter().find(|(name, _)| *name == "authorization").unwrap();
        let now = jwt_simple::prelude::Duration::from_secs(platform.seconds.get());
        let options = VerificationOptions { artificial_time: Some(now), ..VerificationOptions::default() };
        match known.verify_token::<NoCustomClaims>(jwt.trim_start_matches("Bearer "), Some(options)) {
            Ok(_) => answer(200, &json!([])),
            Err(_) => answer(401, &json!({"message": "A JSON web token could not be decoded"})),
        }
    });
}

fn ask(platform: &Memory) -> Result<(), GitHubError> {
    let github = GitHub::new(platform, Settings(platform).github().unwrap(), Duration::from_secs(20));
    Credentials::new(platform, &github).as_app(|jwt| github.deliveries(jwt, None)).map(drop)
}

#[test]
fn of_two_keys_the_one_signs_that_github_takes() {
    let old = RS256KeyPair::from_pem(app_key()).unwrap();
    let new = RS256KeyPair::generate(2048).unwrap();
    let platform = Memory::configured();
    platform.set_variable("github_private_key", Some(app_key()));
    github_that_knows(&platform, &old);
    ask(&platform).unwrap();
    // The next key stands first before GitHub knows it.
    let both = format!("{}\n{}", new.to_pem().unwrap(), app_key());
    platform.set_variable("github_private_key", Some(&both));
    ask(&platform).unwrap();
    platform.seconds.set(platform.seconds.get() + 3600);
    ask(&platform).unwrap();
    let before = platform.sent.borrow().len();
    ask(&platform).unwrap();
    assert_eq!(platform.sent.borrow().len() - before, 1, "it goes on with the one that was taken");
    // The old one is deleted at GitHub.
    github_that_knows(&platform, &new);
    ask(&platform).unwrap();
    // A key that neither is.
    github_that_knows(&platform, &RS256KeyPair::generate(2048).unwrap());
    assert!(matches!(ask(&platform), Err(GitHubError::Unauthorized(_))));
}
