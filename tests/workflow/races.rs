//! Many at once, on the shipped components.

use std::time::Duration;

use gha_slurm_simulator::github::sign;
use tokio::task::JoinSet;

use crate::support::{AT_ONCE, App, WEBHOOK_SECRET, fresh, json, queued, rounds};

#[tokio::test(flavor = "multi_thread")]
async fn of_64_redemptions_at_once_one_gets_the_credential() {
    let app = App::start().await;
    for round in 0..rounds() {
        let (_, start) = app.held_launch().await;
        let mut attempts = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (gateway, start) = (app.gateway.clone(), start.clone());
            attempts.spawn(async move { gateway.redeem(&start).await.0 });
        }
        let statuses = attempts.join_all().await;
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "round {round}: {statuses:?}");
        assert!(statuses.iter().all(|status| [200, 409, 503].contains(status)), "round {round}: {statuses:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_deliveries_at_once_one_launches() {
    let app = App::start().await;
    app.gateway.hold(true);
    for round in 0..rounds() {
        let body = queued(fresh(1000 + round)).to_string();
        let mut deliveries = JoinSet::new();
        for _ in 0..AT_ONCE {
            let signature = sign(WEBHOOK_SECRET, body.as_bytes());
            let request = app
                .client
                .post(format!("{}/api/github/webhooks", app.url))
                .header("x-github-event", "workflow_job")
                .header("x-github-delivery", "1")
                .header("x-hub-signature-256", signature)
                .timeout(Duration::from_secs(8))
                .body(body.clone());
            deliveries.spawn(async move { json(request.send().await.unwrap()).await });
        }
        let answers = deliveries.join_all().await;
        let launched = answers.iter().filter(|(_, body)| body["decision"] == "launched").count();
        assert_eq!(launched, 1, "round {round}: {answers:?}");
    }
    let mut launches: Vec<_> = app.gateway.starts().iter().map(|start| start["launch"].to_string()).collect();
    launches.sort();
    launches.dedup();
    let expected = usize::try_from(rounds()).unwrap();
    assert_eq!((launches.len(), app.gateway.starts().len()), (expected, expected));
}
