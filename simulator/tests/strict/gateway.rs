//! The fake gateway's job script takes the credential that the app gives.

use std::time::Duration;

use axum::routing::post;
use axum::{Json, Router};
use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::gateway::Gateway;
use gha_slurm_simulator::github::{JobStatus, WebhookFault};
use serde_json::{Value, json};

use super::client::{Client, ONE};

#[tokio::test]
async fn a_job_runs_by_a_jit_config_or_by_a_registration_token() {
    let client = Client::new().await;
    let token = client.token(Value::Null).await;
    let path = format!("/repos/{ONE}/actions/runners/registration-token");
    let (_, registration) = client.call("POST", &path, &token, Value::Null).await;
    let jit = json!({"encoded_jit_config": client.github.make_jit_config(ONE, "a", &["x"])});
    let gateway = Gateway::start("secret", &client.github.url(), Duration::from_secs(20), Events::default()).await;
    let gateway = gateway.unwrap();
    for (launch, credential) in [("1-1", jit), ("2-1", registration)] {
        client.github.disturb_webhook(WebhookFault::Lost);
        let (job, _) = client.github.queue_job(ONE, &["x"]).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = listener.local_addr().unwrap();
        let answer = Router::new().route("/gha/runner", post(async move || Json(credential)));
        tokio::spawn(async move { axum::serve(listener, answer).await });
        let start = json!({
            "gitHubURL": format!("https://github.com/{ONE}"), "launcherToken": "t", "runnerLabels": "x",
            "tokenURL": format!("http://{app}/gha/runner"), "launch": launch, "runnerName": "a",
        });
        let request = client.http.post(format!("{}/runner/start", gateway.url())).header("auth-token", "secret");
        assert_eq!(request.json(&start).send().await.unwrap().status(), 200);
        let done = || client.github.job(job).unwrap().status == JobStatus::Completed("success".to_owned());
        for _ in 0..100 {
            if done() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(done(), "{launch}");
    }
}
