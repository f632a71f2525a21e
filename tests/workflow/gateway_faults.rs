//! The gateway fails: GitHub gets a 2xx in time, the answer says `deferred`, and a redelivery launches.

use std::time::{Duration, Instant};

use gha_slurm_simulator::gateway::Fault;

use crate::support::{App, LABELS, REPOSITORY};

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_submission_is_deferred_and_a_redelivery_launches() {
    let app = App::start().await;
    app.gateway.hold(true);
    for fault in [Fault::Status(500), Fault::Status(401), Fault::Status(422), Fault::Garbage] {
        app.gateway.fail(fault.clone());
        let before = app.gateway.starts().len();
        let (_, delivery) = app.github.queue_job(REPOSITORY, LABELS).await;
        let delivery = delivery.unwrap();
        assert_eq!((delivery.status, delivery.answer["decision"].as_str()), (202, Some("deferred")), "{fault:?}");
        assert!(delivery.answer["reason"].as_str().unwrap().contains("gateway"), "{delivery:?}");
        let again = app.github.redeliver(&delivery).await;
        assert_eq!(again.answer["decision"], "launched", "{again:?}");
        assert_eq!(app.github.redeliver(&delivery).await.answer["decision"], "duplicate");
        assert_eq!(app.gateway.starts().len(), before + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_gateway_does_not_hang_the_webhook() {
    let app = App::start().await;
    app.gateway.fail(Fault::Stall(Duration::from_secs(60)));
    let begun = Instant::now();
    let (_, delivery) = app.github.queue_job(REPOSITORY, LABELS).await;
    assert_eq!(delivery.unwrap().answer["decision"], "deferred");
    // GitHub itself would give up after 10 s, and the delivery would show it; this is the design's own bound.
    assert!(begun.elapsed() < Duration::from_secs(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_not_there_is_deferred() {
    let app = App::start_with(&[("gateway_url", "http://127.0.0.1:9")]).await;
    let (_, delivery) = app.github.queue_job(REPOSITORY, LABELS).await;
    assert_eq!(delivery.unwrap().status, 202);
}
