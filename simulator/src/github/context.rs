//! What a run knows of itself: the `github` context as variables, and the event that started it, in GitHub's shapes.
//!
//! Source: GitHub Docs, "Variables reference" and "Events that trigger workflows", "Webhook events and payloads".

use serde_json::{Value, json};

use super::state::account::{Person, account_id};
use super::state::commit::SHA;
use super::state::run::{Head, Kind, Run};
use super::state::{PAGES, State};
use crate::clock::rfc3339;

/// `GITHUB_…` of a job.
pub(crate) fn variables(state: &State, job: u64) -> Vec<(&'static str, String)> {
    let (run, attempt) = (state.run_of(job), state.jobs[&job].attempt);
    let repository = state.repositories.get(run.repository_id).unwrap();
    let reference = run.reference();
    let short = reference.trim_start_matches("refs/heads/").trim_start_matches("refs/pull/").to_owned();
    let (head, base) = match run.kind() {
        Kind::PullRequest | Kind::PullRequestTarget => (run.branch.clone(), run.base.clone()),
        _ => (String::new(), String::new()),
    };
    vec![
        ("GITHUB_REPOSITORY", repository.name.clone()),
        ("GITHUB_REPOSITORY_ID", repository.id.to_string()),
        ("GITHUB_REPOSITORY_OWNER", repository.owner().to_owned()),
        ("GITHUB_REPOSITORY_OWNER_ID", account_id(repository.owner()).to_string()),
        ("GITHUB_EVENT_NAME", run.event.clone()),
        ("GITHUB_ACTOR", run.actor.login.clone()),
        ("GITHUB_ACTOR_ID", run.actor.id.to_string()),
        ("GITHUB_TRIGGERING_ACTOR", run.triggering_actor(attempt).login.clone()),
        ("GITHUB_REF_NAME", short),
        ("GITHUB_REF_TYPE", "branch".to_owned()),
        ("GITHUB_HEAD_REF", head),
        ("GITHUB_BASE_REF", base),
        ("GITHUB_SHA", run.checked_out()),
        ("GITHUB_WORKFLOW", "CI".to_owned()),
        ("GITHUB_WORKFLOW_REF", format!("{}/{}@{reference}", repository.name, run.file())),
        ("GITHUB_REF", reference),
        ("GITHUB_RUN_ID", state.jobs[&job].run.to_string()),
        ("GITHUB_RUN_NUMBER", run.number.to_string()),
        ("GITHUB_RUN_ATTEMPT", attempt.to_string()),
        ("GITHUB_SERVER_URL", PAGES.to_owned()),
        ("GITHUB_API_URL", "https://api.github.com".to_owned()),
        ("GITHUB_JOB", "build".to_owned()),
    ]
}

/// The head repository as GitHub shows it; `null` when it is gone.
pub(crate) fn head_repository(state: &State, run: &Run, head: Head) -> Value {
    let id = match head {
        Head::Own => run.repository_id,
        Head::Fork(id) => id,
        Head::Deleted => return Value::Null,
    };
    state.repositories.get(id).map_or(Value::Null, |repository| repository.resource())
}

/// The event's JSON. A run that is started again keeps it.
pub(crate) fn event(state: &State, job: u64) -> Value {
    let run = state.run_of(job);
    let repository = state.repositories.get(run.repository_id).unwrap();
    let mut event = json!({"repository": repository.resource(), "sender": run.actor.resource()});
    if let Some(organization) = repository.organization() {
        event["organization"] = organization;
    }
    let own = match run.kind() {
        Kind::PullRequest | Kind::PullRequestTarget => json!({
            "action": "synchronize", "number": run.number, "pull_request": pull_request(state, run),
        }),
        Kind::WorkflowRun => json!({
            "action": "completed", "workflow": {"name": "CI", "path": ".github/workflows/ci.yml"},
            "workflow_run": triggering_run(state, run),
        }),
        Kind::OnDefaultBranch if run.event == "schedule" => {
            json!({"schedule": "0 4 * * *", "workflow": run.file()})
        }
        Kind::OnDefaultBranch => json!({
            "action": "created", "issue": {"number": run.number, "user": run.actor.resource()},
            "comment": {"id": run.number, "body": "/test", "user": run.actor.resource()},
        }),
        Kind::OnBranch if run.event == "workflow_dispatch" => {
            json!({"inputs": null, "ref": run.reference(), "workflow": run.file()})
        }
        Kind::OnBranch => json!({
            "ref": run.reference(), "before": "0".repeat(40), "after": run.head_sha, "forced": false,
            "pusher": {"name": run.actor.login, "email": "octocat@example.org"},
        }),
    };
    for (name, value) in own.as_object().into_iter().flatten() {
        event[name] = value.clone();
    }
    event
}

fn pull_request(state: &State, run: &Run) -> Value {
    let base = state.repositories.get(run.repository_id).unwrap();
    let head = head_repository(state, run, run.head);
    // An account that was deleted with its fork is "ghost", or null here.
    let user = head["owner"].clone();
    let label = format!("{}:{}", user["login"].as_str().unwrap_or("unknown repository"), run.branch);
    json!({
        "number": run.number, "state": "open", "user": run.actor.resource(),
        "head": {"label": label, "ref": run.branch, "sha": run.head_sha, "user": user, "repo": head},
        "base": {
            "label": format!("{}:{}", base.owner(), run.base), "ref": run.base, "sha": SHA, "repo": base.resource(),
            "user": Person::owner(base.owner()).resource(),
        },
    })
}

/// The run that this one is because of.
fn triggering_run(state: &State, run: &Run) -> Value {
    let repository = state.repositories.get(run.repository_id).unwrap();
    let event = if run.head == Head::Own { "push" } else { "pull_request" };
    json!({
        "id": run.number, "name": "CI", "event": event, "status": "completed", "conclusion": "success",
        "created_at": rfc3339(run.created_at),
        "run_attempt": 1, "path": ".github/workflows/ci.yml", "head_branch": run.branch, "head_sha": run.head_sha,
        "actor": run.actor.resource(), "triggering_actor": run.actor.resource(), "pull_requests": [],
        "repository": repository.resource(), "head_repository": head_repository(state, run, run.head),
    })
}
