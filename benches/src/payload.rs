//! A `workflow_job` payload of the size that GitHub sends: most of it is the repository's URLs, which nobody reads.

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

pub(crate) const REPOSITORY: &str = "octo-org/simulation";

/// The URLs that a repository has in a payload, by their names.
const LINKS: &[&str] = &[
    "archive",
    "assignees",
    "blobs",
    "branches",
    "collaborators",
    "comments",
    "commits",
    "compare",
    "contents",
    "contributors",
    "deployments",
    "downloads",
    "events",
    "forks",
    "git_commits",
    "git_refs",
    "git_tags",
    "hooks",
    "issue_comment",
    "issue_events",
    "issues",
    "keys",
    "labels",
    "languages",
    "merges",
    "milestones",
    "notifications",
    "pulls",
    "releases",
    "stargazers",
    "statuses",
    "subscribers",
    "subscription",
    "tags",
    "teams",
    "trees",
];

/// The repository's ID at the simulated GitHub, which calls name it by.
pub(crate) static REPOSITORY_ID: OnceLock<u64> = OnceLock::new();

fn links(base: &str) -> Map<String, Value> {
    LINKS.iter().map(|name| (format!("{name}_url"), json!(format!("{base}/{name}{{/placeholder}}")))).collect()
}

fn account(login: &str) -> Value {
    let mut account = links(&format!("https://api.github.com/users/{login}"));
    account.retain(|name, _| name < &"f".to_owned());
    account.insert("login".to_owned(), json!(login));
    account.insert("id".to_owned(), json!(9_007_199_254_740_991_u64));
    Value::Object(account)
}

/// A delivery about this job.
pub(crate) fn payload(action: &str, job: u64, labels: &[&str]) -> String {
    let page = format!("https://github.com/{REPOSITORY}");
    let api = format!("https://api.github.com/repos/{REPOSITORY}");
    let mut repository = links(&api);
    repository.insert("id".to_owned(), json!(REPOSITORY_ID.get().unwrap_or(&1)));
    repository.insert("full_name".to_owned(), json!(REPOSITORY));
    repository.insert("html_url".to_owned(), json!(page));
    repository.insert("owner".to_owned(), account("octo-org"));
    json!({
        "action": action,
        "workflow_job": {
            "id": job, "run_id": job / 10, "run_attempt": 1, "workflow_name": "Build and test", "head_branch": "main",
            "run_url": format!("{api}/actions/runs/{}", job / 10), "node_id": "CR_kwDOAAAAAc8AAAAA",
            "head_sha": "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "url": format!("{api}/actions/jobs/{job}"),
            "html_url": format!("{page}/actions/runs/{}/job/{job}", job / 10), "status": action, "conclusion": null,
            "created_at": null, "started_at": "2026-01-01T00:00:00Z", "completed_at": null, "name": "test (3.14, x86_64)",
            "steps": [], "check_run_url": format!("{api}/check-runs/{job}"), "labels": labels, "runner_id": null,
            "runner_name": null, "runner_group_id": null, "runner_group_name": null,
        },
        "repository": repository,
        "organization": account("octo-org"),
        "sender": account("octocat"),
        "installation": {"id": 7_654_321, "node_id": "MDIzOkludGVncmF0aW9uSW5zdGFsbGF0aW9uNzY1NDMyMQ=="},
    })
    .to_string()
}
