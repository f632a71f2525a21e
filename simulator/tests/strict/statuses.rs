//! Statuses of commits: who may give them, what they may say, and of which commits.

use gha_slurm_simulator::event::Event;
use gha_slurm_simulator::github::{Endpoint, Fault, JobSpec, Person, WebhookFault, run_of};
use serde_json::{Value, json};

use super::client::{Client, ONE, TWO};
use super::jobs::listen;

const WRITES: [(&str, &str); 3] = [("statuses", "write"), ("actions", "read"), ("metadata", "read")];

impl Client {
    /// A client whose App may give statuses, a token that may do nothing else, and a job's commit.
    async fn that_gives_statuses() -> (Self, String, String) {
        let client = Self::new().await;
        client.github.set_permissions(&WRITES);
        let token = client.token(json!({"permissions": {"statuses": "write"}})).await;
        let sha = client.commit_of(JobSpec::new(ONE, &["x"])).await;
        (client, token, sha)
    }

    async fn commit_of(&self, spec: JobSpec) -> String {
        self.github.disturb_webhook(WebhookFault::Lost);
        let (job, _) = self.github.queue(spec).await;
        self.github.head_sha(job).unwrap()
    }

    async fn give(&self, token: &str, sha: &str, status: Value) -> (u16, Value) {
        self.call("POST", &format!("/repos/{ONE}/statuses/{sha}"), token, status).await
    }
}

fn of_fork() -> JobSpec {
    let (fork, actor) = (Some("mallory/one".to_owned()), Person::owner("mallory"));
    JobSpec { event: "pull_request".to_owned(), fork, actor, ..JobSpec::new(ONE, &["x"]) }
}

#[tokio::test]
async fn a_status_is_given_and_shown() {
    let (client, token, sha) = Client::that_gives_statuses().await;
    let mut happening = client.events.subscribe();
    let whole = json!({
        "state": "pending", "context": "slurm", "description": "ä".repeat(140), "target_url": "https://app.example/x",
    });
    let (status, made) = client.give(&token, &sha, whole.clone()).await;
    assert_eq!(status, 201, "{made}");
    for field in ["state", "context", "description", "target_url"] {
        assert_eq!(made[field], whole[field]);
    }
    let (status, made) = client.give(&token, &sha, json!({"state": "success"})).await;
    assert_eq!((status, &made["context"], &made["description"]), (201, &json!("default"), &Value::Null));
    let id = client.github.repository_id(ONE).unwrap();
    let by_id = format!("/repositories/{id}/statuses/{sha}");
    assert_eq!(client.call("POST", &by_id, &token, json!({"state": "error"})).await.0, 201);

    let (_, shown) = client.call("GET", &format!("/repos/{ONE}/commits/{sha}/statuses"), &token, Value::Null).await;
    let states: Vec<_> = shown.as_array().unwrap().iter().map(|status| status["state"].clone()).collect();
    assert_eq!(states, ["error", "success", "pending"], "the newest first");
    let path = format!("/repos/{ONE}/commits/{sha}/statuses?per_page=2&page=2");
    assert_eq!(client.call("GET", &path, &token, Value::Null).await.1.as_array().unwrap().len(), 1);
    let given = client.github.commit_statuses();
    assert_eq!((given[0].context.as_str(), given[0].sha.as_str(), given[0].repository_id), ("slurm", sha.as_str(), id));
    let told = std::iter::from_fn(|| happening.try_recv().ok());
    let told: Vec<_> = told.filter(|event| matches!(event, Event::CommitStatus { .. })).collect();
    assert_eq!(told.len(), 3);
    assert!(
        matches!(&told[0], Event::CommitStatus { repository, state, context, .. }
            if repository == ONE && state == "pending" && context == "slurm"),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_status_takes_its_permission() {
    let (client, token, sha) = Client::that_gives_statuses().await;
    let words = "Resource not accessible by integration";
    let pending = json!({"state": "pending"});
    let refused = async |token: &str| {
        let (status, body) = client.give(token, &sha, pending.clone()).await;
        (status, body["message"].as_str().unwrap_or_default().to_owned())
    };
    for narrower in [json!({"actions": "read"}), json!({"statuses": "read"})] {
        let token = client.token(json!({ "permissions": narrower })).await;
        assert_eq!(refused(&token).await, (403, words.to_owned()), "{narrower}");
    }
    let reads = client.token(json!({"permissions": {"statuses": "read"}})).await;
    let actions = client.token(json!({"permissions": {"actions": "read"}})).await;
    let list = format!("/repos/{ONE}/commits/{sha}/statuses");
    assert_eq!(client.call("GET", &list, &reads, Value::Null).await.0, 200);
    assert_eq!(client.refused("GET", &list, &actions, Value::Null).await, (403, words.to_owned()));
    let two = client.token(json!({"repositories": ["two"], "permissions": {"statuses": "write"}})).await;
    assert_eq!(refused(&two).await.0, 404);
    assert_eq!(client.give("x", &sha, pending.clone()).await.0, 401);

    client.github.set_permission("statuses", None);
    let (status, refused) = client.installation_token(json!({"permissions": {"statuses": "write"}})).await;
    let words = "The permissions requested are not granted to this installation.";
    assert_eq!((status, refused["message"].as_str()), (422, Some(words)));
    client.github.set_permission("statuses", Some("write"));
    client.github.grant(Some(&[("actions", "read"), ("metadata", "read")]));
    let (status, _) = client.installation_token(json!({"permissions": {"statuses": "write"}})).await;
    assert_eq!(status, 422, "the App asks for it, and its owner did not agree yet");
    client.github.fail(Endpoint::CommitStatus, Fault::Status(502));
    assert_eq!(client.give(&token, &sha, pending).await.0, 502);
    assert_eq!(client.github.calls(Endpoint::CommitStatus).total, 5);
}

#[tokio::test]
async fn a_status_that_says_what_it_must_not_is_refused() {
    let (client, token, sha) = Client::that_gives_statuses().await;
    for (status, words) in [
        (json!({}), "\"state\" wasn't supplied."),
        (
            json!({"state": "queued"}),
            "\"queued\" is not a member of [\"error\", \"failure\", \"pending\", \"success\"].",
        ),
        (json!({"state": 1}), "1 is not a member of"),
        (json!({"state": "error", "context": 1}), "invalid type"),
    ] {
        let (code, refused) = client.give(&token, &sha, status.clone()).await;
        assert!(code == 422 && refused["message"].as_str().unwrap().contains(words), "{status}: {refused}");
    }
    let refused = async |sha: &str, status: Value| {
        let (code, refused) = client.give(&token, sha, status).await;
        assert_eq!((code, &refused["message"]), (422, &json!("Validation Failed")));
        (refused["errors"][0]["field"].clone(), refused["errors"][0]["message"].as_str().unwrap().to_owned())
    };
    let long = json!({"state": "error", "description": "a".repeat(141)});
    let words = "description is too long (maximum is 140 characters)".to_owned();
    assert_eq!(refused(&sha, long).await, (json!("description"), words));
    let link = json!({"state": "error", "target_url": "app.example"});
    assert_eq!(refused(&sha, link).await.0, "target_url");
    let short = refused(&sha[..39], json!({"state": "error"})).await;
    assert_eq!(short, (json!("sha"), "sha must be a 40 character SHA1".to_owned()));
    assert_eq!(client.give(&token, &"g".repeat(40), json!({"state": "error"})).await.0, 422);
    assert!(client.github.commit_statuses().is_empty());

    for number in 0..1000 {
        let context = if number % 2 == 0 { "slurm" } else { "SLURM" };
        assert_eq!(client.give(&token, &sha, json!({"state": "pending", "context": context})).await.0, 201);
    }
    let words = "This SHA and context has reached the maximum number of statuses.".to_owned();
    assert_eq!(refused(&sha, json!({"state": "error", "context": "slurm"})).await, (Value::Null, words));
    assert_eq!(client.give(&token, &sha, json!({"state": "error", "context": "other"})).await.0, 201);
}

#[tokio::test]
async fn a_status_is_of_a_commit_that_the_repository_has() {
    let (client, token, base) = Client::that_gives_statuses().await;
    let of_fork_head = client.commit_of(of_fork()).await;
    let of_branch = client.commit_of(JobSpec { branch: "topic".to_owned(), ..JobSpec::new(ONE, &["x"]) }).await;
    let sha = "0123456789abcdef0123456789abcdef01234567";
    let own = client.commit_of(JobSpec { sha: Some(sha.to_owned()), ..JobSpec::new(ONE, &["x"]) }).await;
    assert_eq!(own, sha);
    let gone = client.commit_of(JobSpec { fork_deleted: true, branch: "gone".to_owned(), ..of_fork() }).await;
    for sha in [&base, &of_fork_head, &of_branch, &own, &gone] {
        assert_eq!(client.give(&token, sha, json!({"state": "pending"})).await.0, 201, "{sha}");
    }
    let path = format!("/repos/{TWO}/statuses/{of_fork_head}");
    let words = format!("No commit found for SHA: {of_fork_head}");
    let refused = client.refused("POST", &path, &token, json!({"state": "pending"})).await;
    assert_eq!(refused, (422, words.clone()), "another repository's");
    let path = format!("/repos/{TWO}/commits/{of_fork_head}/statuses");
    assert_eq!(client.refused("GET", &path, &token, Value::Null).await, (422, words));
}

#[tokio::test]
async fn a_job_its_run_and_its_webhook_name_the_same_head() {
    let client = Client::new().await;
    let told = listen(&client).await;
    let base = client.commit_of(JobSpec::new(ONE, &["x"])).await;
    let token = client.token(Value::Null).await;
    let mut heads = Vec::new();
    for event in ["pull_request", "pull_request_target", "workflow_run", "push"] {
        let fork = (event != "push").then(|| "mallory/one".to_owned());
        let spec = JobSpec { event: event.to_owned(), branch: "topic".to_owned(), fork, ..of_fork() };
        let (job, _) = client.github.queue(spec).await;
        let head = client.github.head_sha(job).unwrap();
        for path in [format!("jobs/{job}"), format!("runs/{}", run_of(job))] {
            let (_, shown) = client.call("GET", &format!("/repos/{ONE}/actions/{path}"), &token, Value::Null).await;
            assert_eq!(shown["head_sha"], head, "{event} {path}");
        }
        assert_eq!(told.lock().unwrap().last().unwrap()["workflow_job"]["head_sha"], head, "{event}");
        heads.push(head);
    }
    assert_eq!(heads[0], heads[1], "the pull request's head");
    assert_eq!(heads[2], base, "the default branch's");
    assert!(heads[0] != base && heads[3] != base && heads[0] != heads[3], "a fork's branch is not the base's");
}
