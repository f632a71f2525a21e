//! GitHub fails: the answer says whether to try again, and the launch token stays redeemable.

use std::time::Duration;

use gha_slurm_simulator::github::{Endpoint, Fault};
use serde_json::json;

use crate::support::{App, REPOSITORY};

async fn redeemed_after(faults: &[(Endpoint, Fault)], expected: u16) {
    let app = App::start().await;
    let (_, start) = app.held_launch().await;
    for (endpoint, fault) in faults {
        app.github.fail(*endpoint, fault.clone());
    }
    let response = app.redeem(start["launcherToken"].as_str()).await;
    let retry_after = response.headers().contains_key("retry-after");
    assert_eq!(response.status(), expected, "{faults:?}");
    assert_eq!(retry_after, expected == 503, "{faults:?}");
    let limit = |fault: &Fault| {
        matches!(fault, Fault::Status(429) | Fault::PrimaryRateLimit { .. } | Fault::SecondaryRateLimit { .. })
    };
    if faults.iter().any(|(_, fault)| limit(fault)) {
        // Nobody asks again before the limit is over.
        let before = app.github.requests().len();
        assert_eq!((app.gateway.redeem(&start).await.0, app.github.requests().len()), (503, before), "{faults:?}");
    } else {
        assert_eq!(app.gateway.redeem(&start).await.0, if expected == 200 { 409 } else { 200 }, "{faults:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_github_cannot_answer_it_is_503_and_after_that_200() {
    for endpoint in [Endpoint::AccessTokens, Endpoint::JitConfig] {
        for fault in [Fault::Status(500), Fault::Status(502), Fault::Garbage] {
            redeemed_after(&[(endpoint, fault)], 503).await;
        }
    }
    redeemed_after(&[(Endpoint::AccessTokens, Fault::Status(401))], 503).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_github_limits_the_rate_it_is_503_without_a_call() {
    for endpoint in [Endpoint::AccessTokens, Endpoint::JitConfig] {
        for fault in
            [Fault::Status(429), Fault::PrimaryRateLimit { reset_in: 50 }, Fault::SecondaryRateLimit { retry_after: 7 }]
        {
            redeemed_after(&[(endpoint, fault)], 503).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_github_refuses_is_403() {
    redeemed_after(&[(Endpoint::AccessTokens, Fault::Status(403))], 403).await;
    redeemed_after(&[(Endpoint::AccessTokens, Fault::Status(422))], 403).await;
    redeemed_after(&[(Endpoint::JitConfig, Fault::Status(403))], 403).await;
    redeemed_after(&[(Endpoint::AccessTokens, Fault::Status(404)), (Endpoint::Installation, Fault::Status(404))], 403)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_id_that_is_not_ours_is_looked_up() {
    redeemed_after(&[(Endpoint::AccessTokens, Fault::Status(404))], 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_that_github_names_is_passed_on() {
    // From half a minute on it is spread by up to a fifth, so that not all come back at once.
    for (fault, low, high) in
        [(Fault::SecondaryRateLimit { retry_after: 7 }, 7, 7), (Fault::PrimaryRateLimit { reset_in: 50 }, 40, 60)]
    {
        let app = App::start().await;
        let (_, start) = app.held_launch().await;
        app.github.fail(Endpoint::AccessTokens, fault);
        let response = app.redeem(start["launcherToken"].as_str()).await;
        let seconds: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((low..=high).contains(&seconds), "{seconds}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_github_that_says_nothing_is_given_up() {
    redeemed_after(&[(Endpoint::AccessTokens, Fault::Stall(Duration::from_secs(60)))], 503).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_without_installation_suspended_or_without_permission_gets_403() {
    for change in [
        (|app: &App| app.github.uninstall(REPOSITORY)) as fn(&App),
        |app| app.github.suspend(),
        |app| app.github.revoke_administration(),
    ] {
        let app = App::start().await;
        let (_, start) = app.held_launch().await;
        change(&app);
        let (status, body) = app.gateway.redeem(&start).await;
        assert_eq!(status, 403, "{body}");
        assert!(body["error"].as_str().unwrap().contains("App"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uninstalled_app_hands_out_no_token_that_it_kept() {
    let app = App::start().await;
    let ((_, first), (_, second)) = (app.held_launch().await, app.held_launch().await);
    assert_eq!(app.gateway.redeem(&first).await.0, 200);
    app.github.uninstall(REPOSITORY);
    let repository = app.github.deliveries()[0].repository_id;
    let gone = json!({"action": "deleted", "repositories": [{"id": repository}]});
    assert_eq!(app.deliver("installation", gone.to_string()).await.status(), 200);
    let (status, body) = app.gateway.redeem(&second).await;
    assert_eq!(status, 403, "{body}");
}
