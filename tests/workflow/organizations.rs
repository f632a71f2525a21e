//! Runners of organizations, registered by an App that may do nothing to repositories.

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::{GitHub, JobStatus, WebhookFault};
use serde_json::{Value, json as value};

use crate::support::{App, LABELS, REPOSITORY, WEBHOOK_SECRET, json};

const SECOND: &str = "octo-org/second";
const FOREIGN: &str = "other-org/simulation";
const LEAST: &[(&str, &str)] =
    &[("organization_self_hosted_runners", "write"), ("actions", "read"), ("metadata", "read")];
const PROFILES: &str = "
[[profile]]
name = 'hpc'
labels = ['self-hosted', 'slurm']
level = 'organization'
runner_group = 'hpc'
";

/// Two repositories of one organization and one of another, whose App has the least that it needs.
async fn organizations() -> App {
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY, SECOND, FOREIGN], WEBHOOK_SECRET, events.clone()).await.unwrap();
    github.set_permissions(LEAST);
    App::start_beside(github, events, "", &[("profiles", PROFILES)]).await
}

async fn redeem(app: &App, start: &Value) -> (u16, Value) {
    json(app.redeem(start["launcherToken"].as_str()).await).await
}

async fn launch(app: &App, repository: &str) -> (u64, Value) {
    let (job, delivery) = app.github.queue_job(repository, LABELS).await;
    assert_eq!(delivery.unwrap().answer["decision"], "launched");
    (job, app.gateway.starts().pop().unwrap())
}

fn done(app: &App, job: u64) -> bool {
    app.github.job(job).unwrap().status == JobStatus::Completed("success".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_may_do_the_least_runs_the_jobs_of_two_organizations_each_in_its_own_group() {
    let app = organizations().await;
    // The same name, and not the same id.
    app.github.add_runner_group("other-org", "first", &[]);
    let groups = [("octo-org", REPOSITORY), ("other-org", FOREIGN)]
        .map(|(organization, repository)| app.github.add_runner_group(organization, "hpc", &[repository]));
    assert_ne!(groups[0], groups[1]);
    for repository in [REPOSITORY, FOREIGN] {
        let (job, delivery) = app.github.queue_job(repository, LABELS).await;
        assert_eq!(delivery.unwrap().answer["decision"], "launched");
        app.within_seconds(15, "the job is done", || done(&app, job)).await;
        assert_eq!(app.github.job(job).unwrap().runner.unwrap().1, format!("gha-slurm-{job}-1"));
    }
    let starts = app.gateway.starts();
    assert!(starts.iter().all(|start| start["level"] == "organization"), "{starts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_the_repository_may_not_use_is_told_to_the_job_script() {
    let app = organizations().await;
    app.gateway.hold(true);
    let (_, start) = launch(&app, REPOSITORY).await;
    let (status, body) = redeem(&app, &start).await;
    assert_eq!((status, &body["reason"]), (403, &value!("no_runner_group")), "{body}");
    let group = app.github.add_runner_group("octo-org", "hpc", &[SECOND]);
    let (status, body) = redeem(&app, &start).await;
    assert_eq!((status, &body["reason"]), (403, &value!("runner_group_closed")), "{body}");
    let error = body["error"].as_str().unwrap();
    assert!(error.contains("'hpc' of the organization octo-org is not open to octo-org/simulation"), "{error}");
    app.github.open_runner_group("octo-org", group, true);
    let (status, body) = redeem(&app, &start).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_was_replaced_is_found_without_a_wait() {
    let app = organizations().await;
    app.gateway.hold(true);
    let group = app.github.add_runner_group("octo-org", "hpc", &[REPOSITORY]);
    let (_, first) = launch(&app, REPOSITORY).await;
    assert_eq!(redeem(&app, &first).await.0, 200);
    app.github.remove_runner_group("octo-org", group);
    app.github.add_runner_group("octo-org", "first", &[]);
    app.github.add_runner_group("octo-org", "hpc", &[REPOSITORY]);
    let (_, second) = launch(&app, REPOSITORY).await;
    let (status, body) = redeem(&app, &second).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_personal_account_has_no_runners_of_its_own() {
    let app = organizations().await;
    app.gateway.hold(true);
    app.github.set_personal(FOREIGN);
    let (_, start) = launch(&app, FOREIGN).await;
    let (status, body) = redeem(&app, &start).await;
    assert_eq!(body["reason"], "organization_permission", "{status} {body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_another_repository_robbed_gets_a_new_launch() {
    let app = organizations().await;
    app.github.add_runner_group("octo-org", "hpc", &[REPOSITORY, SECOND]);
    app.gateway.hold(true);
    // It waits longer, and the app was never told of it.
    app.github.disturb_webhook(WebhookFault::Lost);
    let (robber, _) = app.github.queue_job(SECOND, LABELS).await;
    let (robbed, _) = launch(&app, REPOSITORY).await;
    app.gateway.let_run(&format!("{robbed}-1"));
    app.within_seconds(15, "the robber is done", || done(&app, robber)).await;
    assert_eq!(app.github.job(robber).unwrap().runner.unwrap().1, format!("gha-slurm-{robbed}-1"));
    let again = || app.gateway.starts().iter().any(|start| start["launch"] == format!("{robbed}-2"));
    app.within_seconds(15, "another launch", again).await;
    app.gateway.let_run(&format!("{robbed}-2"));
    app.within_seconds(15, "the robbed job is done", || done(&app, robbed)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_of_such_an_app_may_do_anything_to_a_repository() {
    let app = organizations().await;
    app.github.add_runner_group("octo-org", "hpc", &[REPOSITORY]);
    let (job, delivery) = app.github.queue_job(REPOSITORY, LABELS).await;
    assert_eq!(delivery.unwrap().answer["decision"], "launched");
    app.within_seconds(15, "the job is done", || done(&app, job)).await;
    let requests = app.github.requests();
    let writes = requests.iter().filter(|request| !request.starts_with("GET "));
    let about_repositories = writes.filter(|request| request.contains("/repos/") || request.contains("/repositories/"));
    assert_eq!(about_repositories.collect::<Vec<_>>(), Vec::<&String>::new());
}
