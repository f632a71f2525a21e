//! GitHub as it is: what it refuses, in its own words, and what the app makes of that.

use std::cell::Cell;
use std::rc::Rc;

use gha_slurm_core::counters;
use gha_slurm_core::identity::{InstallationId, RepositoryId};
use gha_slurm_core::launch_token::{Launch, LaunchTokens};
use gha_slurm_core::ledger::Ledger;
use gha_slurm_core::ports::{HttpMethod, HttpRequest, HttpResponse};
use gha_slurm_core::testing::{Memory, answer};
use gha_slurm_edge::answer::Answer;
use gha_slurm_protocol::identity::ClusterName;
use gha_slurm_protocol::secret::Secret;
use serde_json::{Value, json};

use crate::together::{Reply, body, deliver, event, exchange, friendly, launch, platform, redeemable, sent_to};

const PERMISSION: &str = "Resource not accessible by integration";

fn said(status: u16, message: &str) -> Reply {
    answer(status, &json!({"message": message}))
}

/// GitHub answers a call whose path ends so by `reply`, and grants all others.
fn answers(platform: &Memory, end: &'static str, reply: impl Fn(&Memory, &HttpRequest) -> Reply + 'static) {
    platform.serve(move |platform, request| match request.url.path().ends_with(end) {
        true => reply(platform, request),
        false => friendly(request),
    });
}

fn told(answer: &Answer) -> &str {
    answer.body["error"].as_str().unwrap_or_default()
}

fn retry_after(answer: &Answer) -> Option<u64> {
    let (_, value) = answer.headers.iter().find(|(name, _)| *name == "retry-after")?;
    value.parse().ok()
}

#[test]
fn no_refusal_of_a_jit_configuration_gives_a_registration_token() {
    for (status, message, expected, reason) in [
        (403, "Repository level self-hosted runners are disabled on this repository.", 403, "runners_disabled"),
        (403, "`acme` has an IP allow list enabled, and 192.0.2.9 is not permitted.", 403, "ip_allow_list"),
        (422, "Validation Failed: Labels is invalid", 403, "labels"),
        (409, "Already exists - A runner with the name x already exists.", 403, "name_taken"),
        (403, "Something new", 403, "other"),
    ] {
        let platform = platform();
        let token = launch(&platform);
        platform.serve(move |_, request| match request.url.path() {
            path if path.ends_with("/generate-jitconfig") => said(status, message),
            path if path.ends_with("/actions/runners") => answer(200, &json!({"runners": []})),
            _ => friendly(request),
        });
        let refused = exchange(&platform, &token);
        assert_eq!((refused.status, &refused.body["reason"]), (expected, &json!(reason)), "{message}");
        assert!(told(&refused).contains(message.trim_end_matches('.')), "{}", told(&refused));
        assert!(sent_to(&platform, "/registration-token").is_empty(), "{message}");
    }
}

#[test]
fn a_runner_that_a_dead_attempt_left_under_the_launchs_name_is_replaced() {
    let platform = platform();
    let token = launch(&platform);
    let removed = Rc::new(Cell::new(false));
    let seen = Rc::clone(&removed);
    platform.serve(move |_, request| match request.url.path() {
        path if path.ends_with("/generate-jitconfig") && !seen.get() => said(409, "Already exists - A runner …"),
        path if path.ends_with("/actions/runners") => {
            assert_eq!(request.url.query(), Some("per_page=100&name=gha-slurm-42-1"));
            let stale = json!({"id": 4, "name": "gha-slurm-42-1", "status": "offline", "busy": false});
            answer(200, &json!({"total_count": 1, "runners": [stale]}))
        }
        path if path.ends_with("/actions/runners/4") => {
            assert_eq!(request.method, HttpMethod::Delete);
            seen.set(true);
            answer(204, &Value::Null)
        }
        _ => friendly(request),
    });
    assert_eq!(exchange(&platform, &token).body, json!({"encoded_jit_config": "eyJ"}));
    assert!(removed.get());
}

#[test]
fn a_name_that_somebody_uses_is_left_alone_and_the_next_one_is_the_launchs_too() {
    for (status, busy) in [("online", false), ("offline", true)] {
        let platform = platform();
        let token = launch(&platform);
        platform.serve(move |_, request| match request.url.path() {
            path if path.ends_with("/generate-jitconfig") && body(request)["name"] == "gha-slurm-42-1" => {
                said(409, "Already exists - A runner …")
            }
            path if path.ends_with("/actions/runners") => {
                let other = json!({"id": 4, "name": "gha-slurm-42-1", "status": status, "busy": busy});
                answer(200, &json!({"total_count": 1, "runners": [other]}))
            }
            _ => friendly(request),
        });
        assert_eq!(exchange(&platform, &token).status, 200);
        let names: Vec<Value> =
            sent_to(&platform, "/generate-jitconfig").iter().map(|request| body(request)["name"].clone()).collect();
        assert_eq!(names, ["gha-slurm-42-1", "gha-slurm-42-1-b"]);
        let mut started = event("in_progress", 42);
        started["workflow_job"]["runner_name"] = json!("gha-slurm-42-1-b");
        assert_eq!(deliver(&platform, &started).status, 200);
        let launch = "42-1".parse().unwrap();
        assert_eq!(Ledger(&platform).launch(launch).took().unwrap().map(|job| job.0), Some(42));
    }
}

#[test]
fn the_runner_of_a_credential_that_was_handed_out_is_never_removed() {
    let platform = platform();
    let token = launch(&platform);
    // Whoever handed it out died before that was written.
    assert!(Ledger(&platform).launch("42-1".parse().unwrap()).commit_redemption().unwrap());
    assert_eq!(exchange(&platform, &token).status, 409);
    assert!(sent_to(&platform, "/generate-jitconfig").is_empty());
}

#[test]
fn a_server_that_knows_no_jit_configuration_is_told_from_an_app_that_is_not_installed() {
    let platform = platform();
    let token = launch(&platform);
    platform.serve(|_, request| match request.url.path() {
        path if path.ends_with("/generate-jitconfig") => said(404, "Not Found"),
        "/repositories/7" => answer(200, &json!({"id": 7})),
        _ => friendly(request),
    });
    let refused = exchange(&platform, &token);
    assert_eq!((refused.status, &refused.body["reason"]), (503, &json!("no_jit")));
    assert!(told(&refused).contains("registration_tokens"), "{}", told(&refused));
    assert!(sent_to(&platform, "/registration-token").is_empty());
    platform.set_variable("registration_tokens", Some("allow"));
    assert_eq!(exchange(&platform, &token).body["token"], "AX");
}

#[test]
fn a_token_with_the_claims_of_another_repository_gets_its_own_launchs() {
    let platform = platform();
    launch(&platform);
    // Signed by a real key of the store.
    let forged = LaunchTokens::new(&platform, "https://app.example/gha/runner")
        .issue(
            (&ClusterName::default(), &Secret::new("gateway-secret")),
            "42-1".parse().unwrap(),
            Launch {
                repository_id: RepositoryId(666),
                repository: "victim/secret".to_owned().try_into().unwrap(),
                installation: Some(InstallationId(13)),
                labels: ["deploy"].iter().collect(),
                run_attempt: 1,
                profile: "default".to_owned(),
            },
        )
        .unwrap();
    assert_eq!(exchange(&platform, forged.expose()).status, 200);
    let made = sent_to(&platform, "/access_tokens");
    assert_eq!(made.len(), 2, "to see the run, and to register a runner");
    for made in made {
        assert_eq!(made.url.path(), "/app/installations/9/access_tokens");
        assert_eq!(body(&made)["repository_ids"], json!([7]));
    }
    let [runner] = &sent_to(&platform, "/generate-jitconfig")[..] else { panic!() };
    assert_eq!(runner.url.path(), "/repositories/7/actions/runners/generate-jitconfig");
    assert_eq!(body(runner)["labels"], json!(["self-hosted", "slurm"]));
}

#[test]
fn a_token_that_comes_again_is_an_alarm_that_costs_a_write_a_minute() {
    let platform = platform();
    let token = launch(&platform);
    assert_eq!(exchange(&platform, &token).status, 200);
    let facts = Ledger(&platform).launch("42-1".parse().unwrap());
    assert_eq!(facts.replayed(), Ok(None));
    let again = exchange(&platform, &token);
    assert_eq!(again.status, 409);
    assert!(told(&again).contains("stolen"), "{}", told(&again));
    assert_eq!(again.level(), gha_slurm_edge::answer::Level::Warn);
    let first = platform.seconds.get();
    assert_eq!(facts.replayed(), Ok(Some(first)));
    let writes = platform.transactions.get();
    for _ in 0..50 {
        assert_eq!(exchange(&platform, &token).status, 409);
    }
    // One in 64 of the refusals is counted.
    assert!(platform.transactions.get() - writes <= 2);
    platform.seconds.set(first + 60);
    assert_eq!(exchange(&platform, &token).status, 409);
    assert_eq!(facts.replayed(), Ok(Some(first)), "the first time stays");
    let counted = counters::all(&platform).unwrap();
    let suspicions = counted.iter().find(|(counter, _)| counter.series().0 == "gha_slurm_suspicions_total").unwrap();
    assert_eq!(suspicions.1, 1);
}

#[test]
fn a_page_of_another_server_launches_nothing() {
    for page in ["https://evil.example/octo/repo", "http://github.com/octo/repo", "https://github.com:444/octo/repo"] {
        let platform = platform();
        let mut queued = event("queued", 42);
        queued["repository"]["html_url"] = json!(page);
        let refused = deliver(&platform, &queued);
        assert_eq!(refused.status, 400, "{page}");
        assert!(told(&refused).contains("html_url") && told(&refused).contains("github_api_url"), "{}", told(&refused));
        assert!(platform.sent.borrow().is_empty());
    }
}

#[test]
fn a_token_that_github_does_not_know_yet_costs_the_launch_nothing() {
    for (status, message) in [(403, PERMISSION), (404, "Not Found"), (401, "Bad credentials")] {
        let platform = platform();
        let token = launch(&platform);
        let made = platform.seconds.get();
        platform.serve(move |platform, request| match request.url.path() {
            path if path.starts_with("/repositories/") && platform.seconds.get() < made + 2 => said(status, message),
            _ => friendly(request),
        });
        assert_eq!(exchange(&platform, &token).status, 200, "{status}");
        assert_eq!(sent_to(&platform, "/access_tokens").len(), 2, "one to see the run, one to register a runner");
    }
}

#[test]
fn a_refusal_is_final_once_a_token_that_is_old_enough_gets_it() {
    let platform = platform();
    let token = launch(&platform);
    answers(&platform, "/generate-jitconfig", |_, _| said(403, PERMISSION));
    let early = exchange(&platform, &token);
    assert_eq!((early.status, retry_after(&early)), (503, Some(10)));
    assert!(told(&early).contains(PERMISSION), "{}", told(&early));
    platform.seconds.set(platform.seconds.get() + 10);
    let late = exchange(&platform, &token);
    assert_eq!((late.status, &late.body["reason"]), (403, &json!("permission")));
    assert_eq!(sent_to(&platform, "/access_tokens").len(), 2, "one to see the run, one to register a runner");
    // Much later a fresh token is tried once, and that decides.
    platform.seconds.set(platform.seconds.get() + 600);
    assert_eq!(exchange(&platform, &token).status, 403);
    assert_eq!(sent_to(&platform, "/access_tokens").len(), 3);
}

#[test]
fn a_repository_that_moved_to_another_installation_is_found_there() {
    let platform = platform();
    let token = launch(&platform);
    platform.serve(|_, request| match request.url.path() {
        "/app/installations/9/access_tokens" => said(
            422,
            "There is at least one repository that does not exist or is not accessible to the parent installation.",
        ),
        "/repositories/7/installation" => answer(200, &json!({"id": 10})),
        _ => friendly(request),
    });
    assert_eq!(exchange(&platform, &token).status, 200);
    assert_eq!(sent_to(&platform, "/app/installations/10/access_tokens").len(), 2);
}

/// Queues a job of another repository and installation; its launch token.
fn elsewhere(platform: &Memory, job: u64) -> String {
    let mut queued = event("queued", job);
    queued["repository"] = json!({"id": 8, "full_name": "acme/x", "html_url": "https://github.com/acme/x"});
    queued["installation"] = json!({"id": 10});
    assert_eq!(deliver(platform, &queued).body["decision"], "launched");
    body(&sent_to(platform, "/runner/start").pop().unwrap())["launcherToken"].as_str().unwrap().to_owned()
}

#[test]
fn a_secondary_limit_of_one_installation_lasts_a_minute_and_the_others_go_on() {
    let platform = platform();
    let (limited, free) = (launch(&platform), elsewhere(&platform, 50));
    let until = platform.seconds.get() + 60;
    platform.serve(move |platform, request| match request.url.path() {
        path if path.starts_with("/repositories/7/") && platform.seconds.get() < until => {
            let reset = (platform.seconds.get() + 2700).to_string();
            let headers = [("x-ratelimit-remaining", "4811"), ("x-ratelimit-reset", &reset)];
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
            let body = json!({"message": "You have exceeded a secondary rate limit."}).to_string().into_bytes();
            Ok(HttpResponse { status: 403, headers, body })
        }
        _ => friendly(request),
    });
    let refused = exchange(&platform, &limited);
    assert_eq!(refused.status, 503);
    // A fifth more at most, so that not all come back at once.
    assert!(retry_after(&refused).is_some_and(|wait| (60..=72).contains(&wait)), "{:?}", refused.headers);
    assert!(told(&refused).contains("limits the rate"), "{}", told(&refused));
    let asked = sent_to(&platform, "/generate-jitconfig").len();
    platform.seconds.set(until - 1);
    assert_eq!(exchange(&platform, &limited).status, 503);
    assert_eq!(sent_to(&platform, "/generate-jitconfig").len(), asked, "nobody asks during a limit");
    assert_eq!(exchange(&platform, &free).status, 200);
    platform.seconds.set(until);
    assert_eq!(exchange(&platform, &limited).status, 200);
}

#[test]
fn a_wrong_clock_is_told_with_both_clocks_difference() {
    let platform = platform();
    let token = launch(&platform);
    answers(&platform, "/access_tokens", |_, _| {
        let headers = vec![("date".to_owned(), "Fri, 15 Jan 2027 07:50:00 GMT".to_owned())];
        let body = json!({"message": "'Expiration time' claim ('exp') is too far in the future"});
        Ok(HttpResponse { status: 401, headers, body: body.to_string().into_bytes() })
    });
    let refused = exchange(&platform, &token);
    assert_eq!((refused.status, &refused.body["reason"]), (503, &json!("clock")));
    assert!(told(&refused).contains("600 s ahead of GitHub's"), "{}", told(&refused));
}

#[test]
fn a_suspended_installation_and_one_that_is_gone_are_told_apart() {
    for (status, message, reason) in
        [(403, "This installation has been suspended", "suspended"), (404, "Not Found", "not_installed")]
    {
        let platform = platform();
        let token = launch(&platform);
        platform.serve(move |_, request| match request.url.path() {
            path if path.ends_with("/access_tokens") || path.ends_with("/installation") => said(status, message),
            _ => friendly(request),
        });
        let refused = exchange(&platform, &token);
        assert_eq!((refused.status, &refused.body["reason"]), (403, &json!(reason)), "{}", refused.body);
    }
}

#[test]
fn labels_that_no_runner_can_have_are_named() {
    let platform = platform();
    for (labels, reason) in [
        (json!(["self-hosted, slurm"]), "the label \"self-hosted, slurm\" cannot be a runner's"),
        (json!(["self-hosted", "größe"]), "the label \"größe\""),
        (json!([]), "the job has no labels"),
    ] {
        let mut queued = event("queued", 42);
        queued["workflow_job"]["labels"] = labels;
        let ignored = deliver(&platform, &queued);
        assert_eq!((ignored.status, &ignored.body["decision"]), (200, &json!("ignored")));
        assert!(ignored.body["reason"].as_str().unwrap().contains(reason), "{}", ignored.body);
    }
    assert_eq!(redeemable(&platform, 43).split('.').count(), 3);
}
