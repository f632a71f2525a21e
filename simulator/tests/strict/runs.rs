//! Runs of workflows: whose they are, where their code is from, and what a job sees of that.

use gha_slurm_simulator::github::{Endpoint, Fault, JobSpec, Person, WebhookFault, run_of};
use serde_json::{Value, json};

use super::client::{Client, ONE, TWO};
use super::jobs::listen;

const FORK: &str = "mallory/one";

fn job(event: &str) -> JobSpec {
    JobSpec { event: event.to_owned(), ..JobSpec::new(ONE, &["x"]) }
}

fn of_fork(event: &str) -> JobSpec {
    JobSpec { fork: Some(FORK.to_owned()), actor: Person::owner("mallory"), ..job(event) }
}

impl Client {
    /// Queues a job that no runner takes.
    async fn queued(&self, spec: JobSpec) -> u64 {
        self.github.queue(JobSpec { labels: vec!["nobody".to_owned()], ..spec }).await.0
    }

    async fn run(&self, job: u64) -> Value {
        let token = self.token(json!({"permissions": {"actions": "read"}})).await;
        let path = format!("/repos/{ONE}/actions/runs/{}", run_of(job));
        let (status, run) = self.call("GET", &path, &token, Value::Null).await;
        assert_eq!(status, 200, "{run}");
        run
    }

    /// What a job sees: the context's lines, and the event.
    async fn seen(&self, spec: JobSpec) -> (String, Value) {
        let config =
            self.github.make_jit_config(&spec.repository, &format!("r{}", self.github.runners().len()), &["x"]);
        assert!(self.github.start_runner(&config));
        let (job, _) = self.github.queue(spec).await;
        let (runner, _) = self.github.job(job).unwrap().runner.unwrap();
        let get = async |what: &str| {
            let url = format!("{}/_runner/{runner}/{what}", self.github.url());
            self.http.get(url).send().await.unwrap()
        };
        (get("context").await.text().await.unwrap(), get("event").await.json().await.unwrap())
    }
}

#[tokio::test]
async fn a_run_is_shown_to_who_may_read_actions_of_its_repository() {
    let client = Client::new().await;
    client.github.disturb_webhook(WebhookFault::Lost);
    let spec = JobSpec { branch: "topic".to_owned(), actor: Person::new("Ada-Lovelace", 583_231), ..job("push") };
    let id = client.queued(spec).await;
    let (run, repository) = (client.run(id).await, client.github.repository_id(ONE).unwrap());
    assert_eq!((&run["id"], &run["event"], &run["run_attempt"]), (&json!(run_of(id)), &json!("push"), &json!(1)));
    assert_eq!((&run["status"], &run["conclusion"]), (&json!("queued"), &Value::Null));
    assert_eq!((&run["head_branch"], &run["path"]), (&json!("topic"), &json!(".github/workflows/ci.yml")));
    for (person, id) in [("actor", 583_231), ("triggering_actor", 583_231)] {
        assert_eq!((&run[person]["login"], &run[person]["id"]), (&json!("Ada-Lovelace"), &json!(id)));
    }
    for place in ["repository", "head_repository"] {
        let shown = &run[place];
        assert_eq!((&shown["id"], &shown["full_name"]), (&json!(repository), &json!(ONE)));
        assert_eq!((&shown["private"], &shown["fork"]), (&json!(true), &json!(false)));
        assert!(shown.get("visibility").is_none(), "GitHub does not tell it here");
    }
    let token = client.token(Value::Null).await;
    let rest = format!("/actions/runs/{}", run_of(id));
    let get = async |path: String, token: &str| client.call("GET", &path, token, Value::Null).await.0;
    assert_eq!(get(format!("/repositories/{repository}{rest}"), &token).await, 200);
    assert_eq!(get(format!("/repos/{TWO}{rest}"), &token).await, 404, "another repository's");
    assert_eq!(get(format!("/repos/{ONE}/actions/runs/1"), &token).await, 404);
    assert_eq!(get(format!("/repos/{ONE}{rest}/attempts/1"), &token).await, 200);
    for attempt in [0, 2] {
        assert_eq!(get(format!("/repos/{ONE}{rest}/attempts/{attempt}"), &token).await, 404);
    }
    let administers = client.token(json!({"permissions": {"administration": "write"}})).await;
    assert_eq!(get(format!("/repos/{ONE}{rest}"), &administers).await, 403);
    client.github.fail(Endpoint::Run, Fault::Status(502));
    assert_eq!(get(format!("/repos/{ONE}{rest}"), &token).await, 502);
    client.github.cancel_job(id).await;
    let run = client.run(id).await;
    assert_eq!((&run["status"], &run["conclusion"]), (&json!("completed"), &json!("cancelled")));
}

#[tokio::test]
async fn a_run_again_keeps_its_actor_and_names_who_did_it() {
    let client = Client::new().await;
    let told = listen(&client).await;
    let first = client.queued(JobSpec { actor: Person::new("ada", 7), ..job("push") }).await;
    client.github.cancel_job(first).await;
    let (again, _) = client.github.rerun_job(first, Person::new("mallory", 66)).await;
    let run = client.run(first).await;
    assert_eq!((&run["run_attempt"], &run["status"]), (&json!(2), &json!("queued")));
    assert_eq!((&run["actor"]["id"], &run["triggering_actor"]["id"]), (&json!(7), &json!(66)));
    let token = client.token(Value::Null).await;
    let path = format!("/repos/{ONE}/actions/runs/{}", run_of(first));
    let (_, earlier) = client.call("GET", &format!("{path}/attempts/1"), &token, Value::Null).await;
    assert_eq!((&earlier["triggering_actor"]["id"], &earlier["conclusion"]), (&json!(7), &json!("cancelled")));
    let (_, jobs) = client.call("GET", &format!("{path}/jobs"), &token, Value::Null).await;
    assert_eq!((&jobs["total_count"], &jobs["jobs"][0]["id"]), (&json!(1), &json!(again)), "of the last attempt");
    let told = told.lock().unwrap().clone();
    let of = |event: &Value| (event["sender"]["id"].clone(), event["workflow_job"]["run_attempt"].clone());
    assert_eq!(of(&told[0]), (json!(7), json!(1)));
    assert_eq!(of(told.last().unwrap()), (json!(66), json!(2)));
    assert_eq!(told.last().unwrap()["workflow_job"]["run_id"], run_of(first));
}

#[tokio::test]
async fn jobs_share_a_run() {
    let client = Client::new().await;
    let first = client.queued(of_fork("pull_request")).await;
    let second = client.queued(JobSpec { run: Some(run_of(first)), ..job("push") }).await;
    assert_eq!(client.github.job(second).unwrap().run, run_of(first));
    client.github.cancel_job(first).await;
    let run = client.run(first).await;
    assert_eq!((&run["event"], &run["status"]), (&json!("pull_request"), &json!("in_progress")));
}

#[tokio::test]
async fn a_webhook_tells_visibility_and_sender_unless_it_is_an_old_one() {
    let client = Client::new().await;
    let told = listen(&client).await;
    client.github.queue_job(ONE, &["x"]).await;
    for visibility in ["internal", "public"] {
        client.github.set_visibility(ONE, visibility);
        client.github.queue_job(ONE, &["x"]).await;
    }
    client.github.disturb_webhook(WebhookFault::Bare);
    client.github.queue(JobSpec { sender: Some(Person::new("dependabot[bot]", 49)), ..job("push") }).await;
    client.github.queue(JobSpec { sender: Some(Person::new("dependabot[bot]", 49)), ..job("push") }).await;
    let told = told.lock().unwrap().clone();
    for (event, private, visibility) in [(0, true, "private"), (1, true, "internal"), (2, false, "public")] {
        let repository = &told[event]["repository"];
        assert_eq!((&repository["private"], &repository["visibility"]), (&json!(private), &json!(visibility)));
        assert_eq!(repository["owner"]["id"], told[event]["organization"]["id"]);
        assert_eq!(told[event]["sender"], json!({"login": "octocat", "id": 2, "type": "User"}));
    }
    assert!(told[3].get("sender").is_none() && told[3]["repository"].get("visibility").is_none());
    assert_eq!(told[4]["sender"]["type"], "Bot");
    client.github.add_repository("other/one");
    client.github.queue_job("other/one", &["x"]).await;
}

#[tokio::test]
async fn a_fork_is_told_by_its_id_and_a_deleted_one_by_null() {
    let client = Client::new().await;
    client.github.set_visibility(ONE, "public");
    for event in ["pull_request", "pull_request_target", "pull_request_review"] {
        let (context, told) = client.seen(of_fork(event)).await;
        let fork = client.github.repository_id(FORK).unwrap();
        let pull = &told["pull_request"];
        assert_eq!((&pull["head"]["repo"]["id"], &pull["head"]["repo"]["fork"]), (&json!(fork), &json!(true)));
        assert_eq!((&pull["head"]["repo"]["full_name"], &pull["head"]["ref"]), (&json!(FORK), &json!("main")));
        assert_eq!((&pull["base"]["repo"]["full_name"], &pull["base"]["ref"]), (&json!(ONE), &json!("main")));
        assert_eq!(
            (&told["repository"]["visibility"], &told["sender"]["login"]),
            (&json!("public"), &json!("mallory"))
        );
        let target = event == "pull_request_target";
        let reference = if target { "refs/heads/main" } else { "refs/pull/" };
        let starts = |start: &str| context.lines().any(|line| line.starts_with(start));
        assert!(starts(&format!("GITHUB_REF={reference}")), "{context}");
        assert!(starts("GITHUB_HEAD_REF=main") && starts("GITHUB_BASE_REF=main"), "{context}");
        assert!(starts("GITHUB_REPOSITORY=octo/one") && starts("GITHUB_ACTOR=mallory"), "{context}");
        let id = client.queued(of_fork(event)).await;
        let run = client.run(id).await;
        assert_eq!((&run["head_repository"]["id"], &run["head_repository"]["fork"]), (&json!(fork), &json!(true)));
        assert_eq!((&run["head_branch"], &run["pull_requests"]), (&json!("main"), &json!([])));
        let id = client.queued(JobSpec { fork_deleted: true, ..of_fork(event) }).await;
        assert_eq!(client.run(id).await["head_repository"], Value::Null);
        let (_, told) = client.seen(JobSpec { fork_deleted: true, ..of_fork(event) }).await;
        assert_eq!(told["pull_request"]["head"]["repo"], Value::Null);
    }
    assert_eq!(
        client.call("GET", &format!("/repos/{FORK}"), &client.token(Value::Null).await, Value::Null).await.0,
        404
    );
    let (_, told) = client.seen(job("pull_request")).await;
    assert_eq!(told["pull_request"]["head"]["repo"]["id"], client.github.repository_id(ONE).unwrap());
}

#[tokio::test]
async fn a_job_checks_out_what_its_event_says() {
    let client = Client::new().await;
    let checked_out =
        |context: &str| context.lines().find_map(|line| line.strip_prefix("GITHUB_SHA=")).map(str::to_owned).unwrap();
    let (context, told) = client.seen(job("push")).await;
    let base = told["after"].clone();
    assert_eq!(base, checked_out(&context));
    let (context, told) = client.seen(of_fork("pull_request")).await;
    let head = told["pull_request"]["head"]["sha"].clone();
    assert_eq!(told["pull_request"]["base"]["sha"], base);
    assert!(head != base && head != checked_out(&context) && base != checked_out(&context), "a merge");
    let (context, told) = client.seen(of_fork("pull_request_target")).await;
    assert_eq!((&told["pull_request"]["head"]["sha"], json!(checked_out(&context))), (&head, base.clone()));
    let (context, told) = client.seen(of_fork("workflow_run")).await;
    assert_eq!((&told["workflow_run"]["head_sha"], json!(checked_out(&context))), (&head, base));
}

#[tokio::test]
async fn a_run_because_of_a_forks_run_tells_of_the_fork_in_its_event_only() {
    let client = Client::new().await;
    let (context, told) = client.seen(of_fork("workflow_run")).await;
    let fork = client.github.repository_id(FORK).unwrap();
    assert_eq!(told["workflow_run"]["head_repository"]["id"], fork);
    assert_eq!(told["workflow_run"]["event"], "pull_request");
    assert!(context.lines().any(|line| line == "GITHUB_REF=refs/heads/main"), "{context}");
    let id = client.queued(JobSpec { branch: "evil".to_owned(), ..of_fork("workflow_run") }).await;
    let run = client.run(id).await;
    assert_eq!((&run["head_repository"]["full_name"], &run["head_branch"]), (&json!(ONE), &json!("main")));
}

#[tokio::test]
async fn other_events_have_their_shapes() {
    let client = Client::new().await;
    let (context, told) = client.seen(JobSpec { branch: "topic".to_owned(), ..job("push") }).await;
    assert_eq!(told["ref"], "refs/heads/topic");
    assert!(context.contains("GITHUB_REF_NAME=topic\n") && context.contains("GITHUB_HEAD_REF=\n"), "{context}");
    let (_, told) = client.seen(job("schedule")).await;
    assert!(told["schedule"].is_string(), "{told}");
    let (_, told) = client.seen(job("workflow_dispatch")).await;
    assert_eq!((&told["ref"], &told["workflow"]), (&json!("refs/heads/main"), &json!(".github/workflows/ci.yml")));
    let (context, told) = client.seen(JobSpec { branch: "topic".to_owned(), ..job("issue_comment") }).await;
    assert!(told["comment"]["body"].is_string() && told.get("pull_request").is_none(), "{told}");
    assert!(context.contains("GITHUB_REF_NAME=main\n"), "the default branch: {context}");
    let workflow = ".github/workflows/ci.yml@main".to_owned();
    let referenced = vec!["octo/lib/.github/workflows/x.yml@v1".to_owned()];
    let spec = JobSpec { workflow: workflow.clone(), referenced, ..job("push") };
    let (context, _) = client.seen(spec.clone()).await;
    assert!(context.contains("GITHUB_WORKFLOW_REF=octo/one/.github/workflows/ci.yml@refs/heads/main\n"), "{context}");
    let id = client.queued(spec).await;
    let run = client.run(id).await;
    assert_eq!(run["path"], workflow);
    assert_eq!(run["referenced_workflows"][0]["path"], "octo/lib/.github/workflows/x.yml@v1");
    client.github.set_personal(ONE);
    let (_, told) = client.seen(job("push")).await;
    assert!(told.get("organization").is_none() && told["repository"]["owner"]["type"] == "User", "{told}");
}
