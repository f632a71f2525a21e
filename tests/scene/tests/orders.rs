//! The operator's orders while a launch token is being exchanged.

// clippy.toml lets tests panic; what they share is part of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use gha_slurm_core::cluster::Definitions;
use gha_slurm_core::launch_keys::revoke_all;
use gha_slurm_core::ledger::{Scope, Stops};
use gha_slurm_core::testing::Memory;
use gha_slurm_protocol::identity::RepositoryName;
use gha_slurm_scene::Scene;
use serde_json::json;

/// The status of a redemption during which something happens, and the calls to GitHub that removed a runner.
fn redeemed_while(what: fn(&Memory)) -> (u16, usize) {
    let scene = Scene::new();
    scene.github("/generate-jitconfig", 201, json!({"encoded_jit_config": "JITCONFIG", "runner": {"id": 5}}));
    scene.github("/actions/runners/5", 204, json!(null));
    scene.meanwhile("/generate-jitconfig", what);
    scene.queue(1);
    let status = scene.redeem_jit("1-1").status;
    let sent = scene.platform.sent.borrow();
    (status, sent.iter().filter(|request| request.url.path().ends_with("/actions/runners/5")).count())
}

#[test]
fn no_credential_is_handed_out_after_a_stop_or_a_revocation_that_came_in_between() {
    assert_eq!(redeemed_while(|_| ()), (200, 0));
    assert_eq!(redeemed_while(|platform| Stops(platform).stop(&Scope::All).unwrap()), (410, 1));
    let stop_one = |platform: &Memory| {
        let repository = RepositoryName::try_from("octo/repo".to_owned()).unwrap();
        Stops(platform).stop(&Scope::Repository(repository)).unwrap();
    };
    assert_eq!(redeemed_while(stop_one), (410, 1));
    assert_eq!(redeemed_while(|platform| revoke_all(platform, &Definitions::parse("", 1).unwrap()).unwrap()), (401, 1));
}

#[test]
fn what_was_queued_during_a_stop_is_launched_after_it() {
    let scene = Scene::new();
    Stops(&scene.platform).stop(&Scope::All).unwrap();
    assert_eq!(scene.queue(1).status, 202);
    Stops(&scene.platform).resume(&Scope::All).unwrap();
    assert_eq!(scene.queue(1).status, 200);
    assert_eq!(scene.redeem("1-1").status, 200);
}
