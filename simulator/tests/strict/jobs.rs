//! What GitHub tells of jobs.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::routing::post;
use axum::{Json, Router};
use gha_slurm_simulator::github::{JobStatus, WebhookFault};
use serde_json::{Value, json};

use super::client::{Client, ONE};

/// Keeps the body of every webhook.
pub(crate) async fn listen(client: &Client) -> Arc<Mutex<Vec<Value>>> {
    let told = Arc::<Mutex<Vec<Value>>>::default();
    let kept = Arc::clone(&told);
    let keep = async move |body: Bytes| {
        kept.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        Json(json!({}))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    client.github.set_webhook_url(&format!("http://{}/", listener.local_addr().unwrap()));
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(keep))).await });
    told
}

#[tokio::test]
async fn a_deployment_waits_for_its_approval_and_is_queued_twice() {
    let client = Client::new().await;
    let token = client.token(Value::Null).await;
    let told = listen(&client).await;
    let (_, made) = client.jit(ONE, &token, "idle").await;
    client.connect(&made["encoded_jit_config"]).await;
    let (job, _) = client.github.queue_gated_job(ONE, &["x"]).await;
    client.github.notify(job, "waiting").await;
    assert_eq!(client.github.job(job).unwrap().status, JobStatus::Waiting, "no runner gets it");
    let path = format!("/repos/{ONE}/actions/jobs/{job}");
    assert_eq!(client.call("GET", &path, &token, Value::Null).await.1["status"], "waiting");
    client.github.approve_job(job).await;
    assert_eq!(client.github.job(job).unwrap().status, JobStatus::InProgress);
    let told = told.lock().unwrap().clone();
    let of = |index: usize| (told[index]["action"].clone(), told[index]["workflow_job"]["status"].clone());
    assert_eq!(of(0), (json!("queued"), json!("waiting")));
    assert_eq!(of(1), (json!("waiting"), json!("waiting")));
    assert_eq!(of(2), (json!("queued"), json!("queued")));
    assert_eq!(told[0]["deployment"]["environment"], "production");
    assert!(told[..3].iter().all(|event| event["workflow_job"]["id"] == job));
}

#[tokio::test]
async fn a_job_that_is_cancelled_leaves_its_idle_runner_and_names_none() {
    let client = Client::new().await;
    let token = client.token(Value::Null).await;
    let told = listen(&client).await;
    let (job, _) = client.github.queue_job(ONE, &["y"]).await;
    let (_, made) = client.jit(ONE, &token, "idle").await;
    client.connect(&made["encoded_jit_config"]).await;
    client.github.cancel_job(job).await;
    client.github.disturb_webhook(WebhookFault::RunnerEmpty);
    client.github.notify(job, "completed").await;
    assert_eq!(client.github.runners(), ["idle"]);
    let told = told.lock().unwrap().clone();
    let of = |event: &Value| (event["action"].clone(), event["workflow_job"]["runner_name"].clone());
    assert_eq!(of(&told[1]), (json!("completed"), Value::Null));
    assert_eq!(told[1]["workflow_job"]["conclusion"], "cancelled");
    assert_eq!(of(&told[2]), (json!("completed"), json!("")));
    assert_eq!(told[2]["workflow_job"]["runner_id"], 0);
}

#[tokio::test]
async fn a_webhook_can_leave_the_runner_out() {
    let client = Client::new().await;
    let token = client.token(Value::Null).await;
    let told = listen(&client).await;
    let (_, made) = client.jit(ONE, &token, "busy").await;
    client.connect(&made["encoded_jit_config"]).await;
    let (job, _) = client.github.queue_job(ONE, &["x"]).await;
    for _ in 0..100 {
        if told.lock().unwrap().len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    client.github.disturb_webhook(WebhookFault::RunnerNull);
    client.github.cancel_job(job).await;
    client.github.notify(job, "completed").await;
    let told = told.lock().unwrap().clone();
    let names: Vec<_> = told.iter().map(|event| event["workflow_job"]["runner_name"].clone()).collect();
    assert_eq!(names, [Value::Null, json!("busy"), Value::Null, json!("busy")]);
}
