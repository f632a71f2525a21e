//! Runners of repositories and organizations.

use gha_slurm_simulator::github::WebhookFault;
use jwt_simple::reexports::ct_codecs::{Base64, Decoder};
use serde_json::{Value, json};

use super::client::{Client, ONE, TWO};

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

/// A file of a JIT configuration.
fn file(encoded: &Value, name: &str) -> Value {
    let decoded = |text: &str| Base64::decode_to_vec(text, None).unwrap();
    let files: Value = serde_json::from_slice(&decoded(encoded.as_str().unwrap())).unwrap();
    serde_json::from_slice(&decoded(files[name].as_str().unwrap())).unwrap()
}

#[tokio::test]
async fn a_jit_config_holds_the_runners_files_as_github_writes_them() {
    let client = Client::new().await;
    let token = client.token(Value::Null).await;
    let (_, made) = client.jit(ONE, &token, "gha-slurm-1-1").await;
    let (config, id) = (&made["encoded_jit_config"], made["runner"]["id"].to_string());
    let settings = file(config, ".runner");
    assert_eq!((&settings["AgentId"], &settings["AgentName"]), (&json!(id), &json!("gha-slurm-1-1")));
    assert_eq!(
        (&settings["GitHubUrl"], &settings["Ephemeral"]),
        (&json!("https://github.com/octo/one"), &json!("True"))
    );
    assert_eq!(file(config, ".credentials")["Scheme"], "OAuth");
    assert!(file(config, ".credentials_rsaparams")["modulus"].is_string());
    let other = json!(client.github.make_jit_config(TWO, "stolen", &["x"]));
    assert_eq!(file(&other, ".runner")["GitHubUrl"], "https://github.com/octo/two");
    assert_eq!(client.connect(&other).await, 200);
}

#[tokio::test]
async fn a_jit_config_needs_a_name_of_its_own_a_group_and_labels() {
    let client = Client::new().await;
    let token = client.token(Value::Null).await;
    let path = format!("/repos/{ONE}/actions/runners/generate-jitconfig");
    let many = |count: usize| (0..count).map(|label| label.to_string()).collect::<Vec<_>>();
    for (body, expected) in [
        (json!({"name": "a", "labels": ["x"]}), 422),
        (json!({"runner_group_id": 1, "labels": ["x"]}), 422),
        (json!({"name": "a", "runner_group_id": 1}), 422),
        (json!({"name": "a", "runner_group_id": "1", "labels": ["x"]}), 422),
        (json!({"name": "a", "runner_group_id": 1, "labels": [""]}), 422),
        (json!({"name": "a", "runner_group_id": 1, "labels": many(101)}), 422),
        (json!({"name": "a".repeat(65), "runner_group_id": 1, "labels": ["x"]}), 422),
        (json!({"name": "a", "runner_group_id": 1, "labels": many(100)}), 201),
    ] {
        assert_eq!(client.call("POST", &path, &token, body.clone()).await.0, expected, "{body}");
    }
    let (status, refused) = client.jit(ONE, &token, "a").await;
    let words = "Already exists - A runner with the name a already exists.";
    assert_eq!((status, refused["message"].as_str()), (409, Some(words)));
    assert_eq!(client.jit(TWO, &token, "a").await.0, 201, "names are a repository's own");
    client.github.set_jit(false);
    assert_eq!(client.jit(ONE, &token, "b").await.0, 404, "an old Enterprise Server");
    assert_eq!(client.register(ONE, &token).await, 201);
    client.github.set_jit(true);
    assert_eq!(client.jit(ONE, &token, "b").await.0, 201);
}

#[tokio::test]
async fn runners_are_listed_by_name_and_page() {
    let client = Client::new().await;
    let token = client.token(Value::Null).await;
    let path = format!("/repos/{ONE}/actions/runners");
    for name in ["a", "b", "c"] {
        assert_eq!(client.jit(ONE, &token, name).await.0, 201);
    }
    let list = async |query: &str| client.call("GET", &format!("{path}{query}"), &token, Value::Null).await.1;
    let (_, c) = client.jit(TWO, &token, "c").await;
    let found = list("?name=c").await;
    assert_eq!((&found["total_count"], &found["runners"][0]["name"]), (&json!(1), &json!("c")));
    let page = list("?per_page=2&page=2").await;
    let names: Vec<_> = page["runners"].as_array().unwrap().iter().map(|runner| &runner["name"]).collect();
    assert_eq!((&page["total_count"], names), (&json!(3), vec![&json!("c")]));
    assert_eq!(list("?name=z").await["total_count"], 0);
    let id = &found["runners"][0]["id"];
    assert_ne!(*id, c["runner"]["id"]);
    let (_, shown) = client.call("GET", &format!("{path}/{id}"), &token, Value::Null).await;
    assert_eq!((&shown["status"], &shown["busy"]), (&json!("offline"), &json!(false)));
}

#[tokio::test]
async fn an_organization_has_runners_for_all_its_repositories() {
    let client = Client::new().await;
    let path = "/orgs/octo/actions/runners/generate-jitconfig";
    let body = json!({"name": "a", "runner_group_id": 1, "labels": ["x"]});
    let token = client.token(Value::Null).await;
    assert_eq!(client.call("POST", path, &token, body.clone()).await.0, 403, "the App may not");
    client.github.set_permission("organization_self_hosted_runners", Some("write"));
    let token = client.token(json!({"permissions": {"organization_self_hosted_runners": "write"}})).await;
    assert_eq!(
        client.call("POST", "/orgs/nobody/actions/runners/registration-token", &token, Value::Null).await.0,
        404
    );
    assert_eq!(client.register(ONE, &token).await, 403, "not the repository's");
    let (status, made) = client.call("POST", path, &token, body).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(file(&made["encoded_jit_config"], ".runner")["GitHubUrl"], "https://github.com/octo");
    assert_eq!(client.connect(&made["encoded_jit_config"]).await, 200);
    client.github.disturb_webhook(WebhookFault::Lost);
    let (job, _) = client.github.queue_job(TWO, &["x"]).await;
    assert_eq!(client.github.job(job).unwrap().runner.unwrap().1, "a");
}
