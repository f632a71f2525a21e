//! Organizations' runners: who may make them, and whose jobs they take.

use gha_slurm_simulator::github::{JobStatus, WebhookFault};
use serde_json::{Value, json};

use super::client::{Client, ONE, TWO};
use super::jobs::listen;
use super::program::{installed, run};

const LEAST: [(&str, &str); 3] =
    [("organization_self_hosted_runners", "write"), ("actions", "read"), ("metadata", "read")];
const REFUSED: &str = "Resource not accessible by integration";

/// An App that may do nothing but what an organization's runners take, and a token of it.
async fn least() -> (Client, String) {
    let client = Client::new().await;
    client.github.set_permissions(&LEAST);
    let token = client.token(Value::Null).await;
    (client, token)
}

impl Client {
    async fn jit_of(&self, organization: &str, token: &str, name: &str, group: u64) -> (u16, Value) {
        let path = format!("/orgs/{organization}/actions/runners/generate-jitconfig");
        self.call("POST", &path, token, json!({"name": name, "runner_group_id": group, "labels": ["x"]})).await
    }

    /// Brings an organization's runner online.
    async fn online(&self, token: &str, name: &str, group: u64) {
        let (status, made) = self.jit_of("octo", token, name, group).await;
        assert_eq!((status, made["runner"]["runner_group_id"].as_u64()), (201, Some(group)), "{made}");
        assert_eq!(self.connect(&made["encoded_jit_config"]).await, 200);
    }

    /// The runner that a new job gets at once; otherwise it is cancelled.
    async fn runner_for(&self, repository: &str) -> Option<String> {
        self.github.disturb_webhook(WebhookFault::Lost);
        let (job, _) = self.github.queue_job(repository, &["x"]).await;
        let runner = self.github.job(job).unwrap().runner.map(|(_, name)| name);
        if runner.is_none() {
            self.github.disturb_webhook(WebhookFault::Lost);
            self.github.cancel_job(job).await;
        }
        runner
    }

    async fn groups(&self, token: &str, query: &str) -> Vec<String> {
        let (_, found) =
            self.call("GET", &format!("/orgs/octo/actions/runner-groups{query}"), token, Value::Null).await;
        found["runner_groups"].as_array().unwrap().iter().map(|group| group["name"].to_string()).collect()
    }
}

#[tokio::test]
async fn a_least_privilege_app_makes_runners_of_the_organization_and_none_of_a_repository() {
    let (client, token) = least().await;
    let (status, refused) = client.jit(ONE, &token, "a").await;
    assert_eq!((status, refused["message"].as_str()), (403, Some(REFUSED)));
    assert_eq!(client.register(ONE, &token).await, 403);
    for path in [format!("/repos/{ONE}/actions/runners"), format!("/repos/{ONE}/actions/runners/1")] {
        assert_eq!(client.call("GET", &path, &token, Value::Null).await.0, 403, "{path}");
    }
    let (status, made) = client.jit_of("octo", &token, "a", 1).await;
    assert_eq!(status, 201, "{made}");
    let path = |rest: &str| format!("/orgs/octo/actions/runners{rest}");
    let call = async |method: &str, rest: &str| client.call(method, &path(rest), &token, Value::Null).await;
    assert_eq!(call("POST", "/registration-token").await.0, 201);
    assert_eq!(call("GET", "?name=a").await.1["total_count"], 1);
    let own = format!("/{}", made["runner"]["id"]);
    assert_eq!(call("GET", &own).await.1["name"], "a");
    assert_eq!((call("DELETE", &own).await.0, call("DELETE", &own).await.0), (204, 404));
    assert_eq!(client.jit_of("Octo", &token, "b", 1).await.0, 201, "in any case");
    assert_eq!(client.jit_of("nobody", &token, "b", 1).await.0, 404);
    client.github.set_personal(ONE);
    client.github.set_personal(TWO);
    assert_eq!(client.jit_of("octo", &token, "c", 1).await.0, 404, "a person is no organization");
}

#[tokio::test]
async fn what_the_owner_granted_decides_and_not_what_the_app_asks_for() {
    let client = Client::new().await;
    client.github.set_permission("organization_self_hosted_runners", Some("write"));
    client.github.grant(Some(&[("administration", "write"), ("actions", "read"), ("metadata", "read")]));
    let token = client.token(Value::Null).await;
    let (status, refused) = client.jit_of("octo", &token, "a", 1).await;
    assert_eq!((status, refused["message"].as_str()), (403, Some(REFUSED)));
    let asked = json!({"permissions": {"organization_self_hosted_runners": "write"}});
    assert_eq!(client.installation_token(asked.clone()).await.0, 422);
    let shown = client.app("GET", &format!("/repos/{ONE}/installation")).await.1["permissions"].clone();
    assert!(shown["organization_self_hosted_runners"].is_null() && shown["administration"] == "write", "{shown}");
    assert_eq!(client.app("GET", "/app").await.1["permissions"]["organization_self_hosted_runners"], "write");
    client.github.grant(None);
    let token = client.token(asked).await;
    assert_eq!(client.jit_of("octo", &token, "a", 1).await.0, 201);
}

#[tokio::test]
async fn groups_are_listed_as_a_repository_may_use_them() {
    let (client, token) = least().await;
    let group = client.github.add_runner_group("octo", "hpc", &[ONE]);
    client.github.add_repository("other/one");
    assert_eq!(client.github.add_runner_group("other", "hpc", &[]), group, "ids count within an organization");
    let (status, found) = client.call("GET", "/orgs/octo/actions/runner-groups", &token, Value::Null).await;
    assert_eq!((status, &found["total_count"]), (200, &json!(2)), "{found}");
    let [standard, own] = [&found["runner_groups"][0], &found["runner_groups"][1]];
    for (group, id, name, visibility, default) in
        [(standard, 1, "Default", "all", true), (own, group, "hpc", "selected", false)]
    {
        assert_eq!((&group["id"], &group["name"]), (&json!(id), &json!(name)));
        assert_eq!((&group["visibility"], &group["default"]), (&json!(visibility), &json!(default)));
        assert_eq!(group["allows_public_repositories"], false);
    }
    let default = "\"Default\"";
    assert_eq!(client.groups(&token, "?per_page=1&page=2").await, ["\"hpc\""]);
    assert_eq!(client.groups(&token, "?visible_to_repository=one").await, [default, "\"hpc\""]);
    assert_eq!(client.groups(&token, "?visible_to_repository=two").await, [default]);
    client.github.set_visibility(ONE, "public");
    assert!(client.groups(&token, "?visible_to_repository=one").await.is_empty());
    client.github.allow_public_repositories("octo", group, true);
    assert_eq!(client.groups(&token, "?visible_to_repository=one").await, ["\"hpc\""]);
    let path = "/orgs/octo/actions/runner-groups?visible_to_repository=octo/one";
    assert_eq!(client.call("GET", path, &token, Value::Null).await.0, 404, "by its name alone");
    client.github.rename_runner_group("octo", group, "gpu");
    let path = format!("/orgs/octo/actions/runner-groups/{group}");
    assert_eq!(client.call("GET", &path, &token, Value::Null).await.1["name"], "gpu");
    client.github.remove_runner_group("octo", group);
    assert_eq!(client.call("GET", &path, &token, Value::Null).await.0, 404);
    let actions = client.token(json!({"permissions": {"actions": "read"}})).await;
    let refused = client.refused("GET", "/orgs/octo/actions/runner-groups", &actions, Value::Null).await;
    assert_eq!(refused, (403, REFUSED.to_owned()));
    assert_eq!(client.call("GET", &format!("/repos/{ONE}/actions/runner-groups"), &token, Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_runner_takes_jobs_of_repositories_that_may_use_its_group() {
    let (client, token) = least().await;
    let group = client.github.add_runner_group("octo", "hpc", &[ONE]);
    assert_eq!(client.jit_of("octo", &token, "a", 77).await.0, 404, "no such group");
    client.online(&token, "a", group).await;
    assert_eq!(client.runner_for(TWO).await, None);
    assert_eq!(client.runner_for(ONE).await.as_deref(), Some("a"));
    client.github.open_runner_group("octo", group, true);
    client.online(&token, "b", group).await;
    assert_eq!(client.runner_for(TWO).await.as_deref(), Some("b"));
    client.github.set_visibility(TWO, "public");
    client.online(&token, "c", 1).await;
    assert_eq!(client.runner_for(TWO).await, None, "no group allows public repositories by itself");
    client.github.allow_public_repositories("octo", 1, true);
    assert_eq!(client.runner_for(TWO).await.as_deref(), Some("c"));
    client.online(&token, "left", group).await;
    client.github.remove_runner_group("octo", group);
    assert_eq!(client.runner_for(ONE).await, None, "its group is gone");
    client.online(&token, "d", 1).await;
    client.github.set_visibility(ONE, "internal");
    assert_eq!(client.runner_for(ONE).await.as_deref(), Some("d"));
}

#[tokio::test]
async fn a_webhook_and_the_api_name_the_runners_group() {
    let (client, token) = least().await;
    let told = listen(&client).await;
    let group = client.github.add_runner_group("octo", "hpc", &[ONE]);
    client.online(&token, "a", group).await;
    let (job, _) = client.github.queue_job(ONE, &["x"]).await;
    client.github.notify(job, "in_progress").await;
    let event = told.lock().unwrap().last().unwrap()["workflow_job"].clone();
    let shown = client.call("GET", &format!("/repos/{ONE}/actions/jobs/{job}"), &token, Value::Null).await.1;
    for told in [event, shown] {
        assert_eq!((&told["runner_group_id"], &told["runner_group_name"]), (&json!(group), &json!("hpc")), "{told}");
        assert_eq!(told["runner_name"], "a");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_registers_at_the_organization_with_a_group() {
    let ((client, token), folder) = (least().await, installed("organization"));
    client.github.add_runner_group("octo", "hpc", &[ONE]);
    let (_, made) = client.call("POST", "/orgs/octo/actions/runners/registration-token", &token, Value::Null).await;
    let registration = [("ACTIONS_RUNNER_INPUT_TOKEN", made["token"].as_str().unwrap()), ("STAND_IN_JOB_SECONDS", "0")];
    let url = "https://github.com/octo";
    let configure = |group| ["config.sh", "--url", url, "--name", "a", "--labels", "x", "--runnergroup", group];
    assert_eq!(run(&client, &folder, &configure("gpu"), &registration).await.0, Some(1));
    assert_eq!(run(&client, &folder, &configure("hpc"), &registration).await.0, Some(0));
    let settings = std::fs::read_to_string(folder.join(".runner")).unwrap();
    assert!(settings.contains(r#""gitHubUrl": "https://github.com/octo""#), "{settings}");
    assert_eq!(client.runner_for(TWO).await, None);
    let (job, _) = client.github.queue_job(ONE, &["x"]).await;
    assert_eq!(run(&client, &folder, &["run.sh"], &registration[1..]).await.0, Some(0));
    assert_eq!(client.github.job(job).unwrap().status, JobStatus::Completed("success".to_owned()));
    std::fs::remove_dir_all(&folder).unwrap();
}
