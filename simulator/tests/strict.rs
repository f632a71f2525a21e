//! The fake GitHub refuses what GitHub refuses: were it lenient, a client that is wrong would pass every test.

// clippy.toml lets tests panic; what they share is part of them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::{APP_ID, GitHub, INSTALLATION, WebhookFault};
use jwt_simple::prelude::*;
use serde_json::{Value, json};

const ONE: &str = "octo/one";
const TWO: &str = "octo/two";

struct Client {
    github: GitHub,
    key: RS256KeyPair,
    http: reqwest::Client,
}

impl Client {
    async fn new() -> Self {
        let key = RS256KeyPair::generate(2048).unwrap();
        let github = GitHub::start_with_key(key.clone(), &[ONE, TWO], "secret", Events::default()).await.unwrap();
        Self { github, key, http: reqwest::Client::new() }
    }

    /// An App JWT from `issued` to `expires`, in seconds from now.
    fn jwt(&self, app: &str, issued: i64, expires: i64) -> String {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let at = |offset| Some(Duration::from_secs(u64::try_from(now + offset).unwrap()));
        let mut claims = Claims::create(Duration::from_mins(1)).with_issuer(app);
        (claims.issued_at, claims.expires_at, claims.invalid_before) = (at(issued), at(expires), None);
        self.key.sign(claims).unwrap()
    }

    async fn call(&self, method: &str, path: &str, credential: &str, body: Value) -> (u16, Value) {
        let url = format!("{}{path}", self.github.url());
        let mut request = self.http.request(method.parse().unwrap(), url).bearer_auth(credential);
        request = request.header("user-agent", "test").header("x-github-api-version", "2022-11-28");
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    async fn app(&self, method: &str, path: &str) -> (u16, Value) {
        self.call(method, path, &self.jwt(APP_ID, -60, 500), Value::Null).await
    }

    async fn installation_token(&self, narrowing: Value) -> (u16, Value) {
        let path = format!("/app/installations/{INSTALLATION}/access_tokens");
        self.call("POST", &path, &self.jwt(APP_ID, -60, 500), narrowing).await
    }
}

#[tokio::test]
async fn an_app_jwt_must_be_the_apps_and_within_githubs_times() {
    let client = Client::new().await;
    let path = format!("/repos/{ONE}/installation");
    let other = RS256KeyPair::generate(2048).unwrap().sign(Claims::create(Duration::from_mins(5))).unwrap();
    for (jwt, expected) in [
        (client.jwt(APP_ID, -60, 600), 200),
        (client.jwt(APP_ID, -60, 660), 401),
        (client.jwt(APP_ID, -600, -1), 401),
        (client.jwt(APP_ID, 60, 500), 401),
        (client.jwt("1", -60, 500), 401),
        (other, 401),
        ("garbage".to_owned(), 401),
    ] {
        assert_eq!(client.call("GET", &path, &jwt, Value::Null).await.0, expected, "{jwt}");
    }
}

#[tokio::test]
async fn a_request_needs_a_user_agent_and_a_known_api_version() {
    let client = Client::new().await;
    let url = format!("{}/repos/{ONE}/installation", client.github.url());
    let jwt = client.jwt(APP_ID, -60, 500);
    let bare = client.http.get(&url).bearer_auth(&jwt).send().await.unwrap();
    assert_eq!(bare.status(), 403);
    let old = client.http.get(&url).bearer_auth(&jwt).header("user-agent", "t").header("x-github-api-version", "1");
    assert_eq!(old.send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_narrowed_token_reaches_no_further() {
    let client = Client::new().await;
    assert_eq!(client.installation_token(json!({"repositories": ["three"]})).await.0, 422);
    assert_eq!(client.installation_token(json!({"permissions": {"secrets": "write"}})).await.0, 422);
    let token = |answer: (u16, Value)| answer.1["token"].as_str().unwrap().to_owned();
    let one = json!({"repositories": ["one"], "permissions": {"administration": "write"}});
    let narrowed = token(client.installation_token(one).await);
    let reads = token(client.installation_token(json!({"permissions": {"actions": "read"}})).await);
    for (credential, repository, expected) in [(&narrowed, ONE, 201), (&narrowed, TWO, 404), (&reads, ONE, 403)] {
        let path = format!("/repos/{repository}/actions/runners/registration-token");
        assert_eq!(client.call("POST", &path, credential, Value::Null).await.0, expected, "{repository}");
    }
    client.github.suspend();
    assert_eq!(client.installation_token(Value::Null).await.0, 403);
}

#[tokio::test]
async fn a_jit_config_starts_one_runner_once() {
    let client = Client::new().await;
    let token = client.installation_token(Value::Null).await.1["token"].as_str().unwrap().to_owned();
    let path = format!("/repos/{ONE}/actions/runners/generate-jitconfig");
    let asked =
        |name: &str, group: u64, labels: &[&str]| json!({"name": name, "runner_group_id": group, "labels": labels});
    let generate = |body| client.call("POST", &path, &token, body);
    assert_eq!(generate(asked("a", 1, &[])).await.0, 422);
    assert_eq!(generate(asked("a", 2, &["x"])).await.0, 404);
    let (status, made) = generate(asked("a", 1, &["x"])).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(generate(asked("a", 1, &["x"])).await.0, 409, "the name is taken");
    let start = json!({"encoded_jit_config": made["encoded_jit_config"]});
    let url = format!("{}/_runner/start", client.github.url());
    for expected in [200, 404] {
        assert_eq!(client.http.post(&url).json(&start).send().await.unwrap().status(), expected);
    }
}

#[tokio::test]
async fn a_runner_is_removed_by_who_may_unless_it_runs_a_job() {
    let client = Client::new().await;
    let token = |answer: (u16, Value)| answer.1["token"].as_str().unwrap().to_owned();
    let all = token(client.installation_token(Value::Null).await);
    let reads = token(client.installation_token(json!({"permissions": {"actions": "read"}})).await);
    let path = format!("/repos/{ONE}/actions/runners/generate-jitconfig");
    let body = json!({"name": "a", "runner_group_id": 1, "labels": ["x"]});
    let (_, made) = client.call("POST", &path, &all, body).await;
    let of = |repository: &str| format!("/repos/{repository}/actions/runners/{}", made["runner"]["id"]);
    let remove = async |credential: &str, path: String| client.call("DELETE", &path, credential, Value::Null).await.0;
    assert_eq!(remove("wrong", of(ONE)).await, 401);
    assert_eq!(remove(&reads, of(ONE)).await, 403);
    assert_eq!(remove(&all, of(TWO)).await, 404);
    assert_eq!(remove(&all, format!("/repos/{ONE}/actions/runners/1")).await, 404);

    let start = json!({"encoded_jit_config": made["encoded_jit_config"]});
    client.http.post(format!("{}/_runner/start", client.github.url())).json(&start).send().await.unwrap();
    client.github.disturb_webhook(WebhookFault::Lost);
    let (job, _) = client.github.queue_job(ONE, &["x"]).await;
    assert_eq!(remove(&all, of(ONE)).await, 422, "it runs a job");
    client.github.cancel_job(job).await;
    assert_eq!(remove(&all, of(ONE)).await, 404, "it went with its job");

    let body = json!({"name": "b", "runner_group_id": 1, "labels": ["x"]});
    let (_, made) = client.call("POST", &path, &all, body).await;
    assert_eq!(client.github.runners(), ["b"]);
    let path = format!("/repos/{ONE}/actions/runners/{}", made["runner"]["id"]);
    assert_eq!(remove(&all, path).await, 204);
    assert!(client.github.runners().is_empty());
}

#[tokio::test]
async fn failed_deliveries_are_listed_page_by_page_and_repeated_under_their_guid() {
    let client = Client::new().await;
    let hook = Router::new().route("/", post(async || (StatusCode::ACCEPTED, "{}")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    client.github.set_webhook_url(&format!("http://{}/", listener.local_addr().unwrap()));
    tokio::spawn(async move { axum::serve(listener, hook).await });
    client.github.disturb_webhook(WebhookFault::Unreachable);
    let (_, failed) = client.github.queue_job(ONE, &["x"]).await;
    client.github.disturb_webhook(WebhookFault::Lost);
    assert!(client.github.queue_job(ONE, &["x"]).await.1.is_none());
    client.github.queue_job(ONE, &["x"]).await;

    assert_eq!(client.call("GET", "/app/hook/deliveries", "x", Value::Null).await.0, 401);
    let (_, page) = client.app("GET", "/app/hook/deliveries?per_page=1").await;
    assert_eq!((page.as_array().unwrap().len(), &page[0]["status"]), (1, &json!("OK")), "newest first: {page}");
    let older = format!("/app/hook/deliveries?cursor={}", page[0]["id"]);
    let (_, page) = client.app("GET", &older).await;
    assert_eq!((page.as_array().unwrap().len(), &page[0]["status_code"]), (1, &json!(0)), "{page}");
    assert_eq!(page[0]["guid"], failed.unwrap().guid);

    let again = format!("/app/hook/deliveries/{}/attempts", page[0]["id"]);
    assert_eq!(client.app("POST", &again).await.0, 202);
    assert_eq!(client.app("POST", "/app/hook/deliveries/1/attempts").await.0, 404);
    for _ in 0..100 {
        let last = client.github.deliveries().pop().unwrap();
        if last.redelivery {
            assert!(last.succeeded() && page[0]["guid"] == last.guid.as_str(), "{last:?}");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it was not repeated");
}
