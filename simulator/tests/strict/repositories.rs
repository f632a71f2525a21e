//! Repositories that move.

use gha_slurm_simulator::github::WebhookFault;
use serde_json::{Value, json};

use super::client::{Client, ONE, TWO};

#[tokio::test]
async fn a_name_that_was_left_leads_to_the_repositorys_id() {
    let client = Client::new().await;
    let token = client.token(Value::Null).await;
    let id = client.github.repository_id(ONE).unwrap();
    client.github.disturb_webhook(WebhookFault::Lost);
    let (job, _) = client.github.queue_job(ONE, &["x"]).await;
    client.github.rename_repository(ONE, "other/first");
    for (method, rest, expected) in [
        ("GET", String::new(), 301),
        ("GET", format!("/actions/jobs/{job}?x=1"), 301),
        ("POST", "/actions/runners/registration-token".to_owned(), 307),
        ("POST", "/actions/runners/generate-jitconfig".to_owned(), 307),
        ("DELETE", "/actions/runners/1".to_owned(), 307),
    ] {
        let response = client.send(method, &format!("/repos/{ONE}{rest}"), &token, Value::Null).await;
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        assert_eq!(response.status(), expected, "{method} {rest}");
        assert_eq!(location, format!("{}/repositories/{id}{rest}", client.github.url()));
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["url"], location);
    }
    let jwt = client.jwt(gha_slurm_simulator::github::APP_ID, -60, 500);
    let installation = client.send("GET", &format!("/repos/{ONE}/installation"), &jwt, Value::Null).await;
    assert_eq!(installation.status(), 301);
    assert_eq!(client.call("GET", &format!("/repos/{ONE}"), "wrong", Value::Null).await.0, 401);
    let narrow = client.token(json!({"repositories": ["two"]})).await;
    assert_eq!(
        client.call("GET", &format!("/repos/{ONE}"), &narrow, Value::Null).await.0,
        404,
        "not told to strangers"
    );
    assert_eq!(client.installation_token(json!({"repositories": ["one"]})).await.0, 422);

    client.github.add_repository(ONE);
    let fresh = client.token(Value::Null).await;
    let (status, shown) = client.call("GET", &format!("/repos/{ONE}"), &fresh, Value::Null).await;
    assert!(status == 200 && shown["id"] != id, "another repository took the name: {shown}");
}

#[tokio::test]
async fn what_is_served_by_name_is_served_by_id() {
    let client = Client::new().await;
    let token = client.token(Value::Null).await;
    let id = client.github.repository_id(ONE).unwrap();
    client.github.disturb_webhook(WebhookFault::Lost);
    let (job, _) = client.github.queue_job(ONE, &["x"]).await;
    client.github.rename_repository(ONE, "octo/first");
    let path = |rest: &str| format!("/repositories/{id}{rest}");
    let (_, shown) = client.call("GET", &path(""), &token, Value::Null).await;
    assert_eq!(shown["full_name"], "octo/first");
    assert_eq!(client.app("GET", &path("/installation")).await.0, 200);
    let get = async |rest: String| client.call("GET", &path(&rest), &token, Value::Null).await.0;
    assert_eq!(get(format!("/actions/jobs/{job}")).await, 200);
    assert_eq!(get(format!("/actions/runs/{}/jobs", gha_slurm_simulator::github::run_of(job))).await, 200);
    let post = async |rest: &str, body: Value| client.call("POST", &path(rest), &token, body).await;
    assert_eq!(post("/actions/runners/registration-token", Value::Null).await.0, 201);
    let body = json!({"name": "a", "runner_group_id": 1, "labels": ["y"]});
    let (status, made) = post("/actions/runners/generate-jitconfig", body).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(get("/actions/runners?name=a".to_owned()).await, 200);
    let runner = path(&format!("/actions/runners/{}", made["runner"]["id"]));
    assert_eq!(client.call("DELETE", &runner, &token, Value::Null).await.0, 204);
    let two = client.token(json!({"repositories": ["two"]})).await;
    assert_eq!(client.call("GET", &path(""), &two, Value::Null).await.0, 404);
    assert_eq!(client.call("GET", "/repositories/1", &token, Value::Null).await.0, 404);
    assert_eq!(client.register(TWO, &two).await, 201);
}
