//! Both flows in memory: what they send, what they remember, and what they say when the world fails in the middle.

use std::rc::Rc;

use gha_slurm_core::ports::{HttpMethod, HttpRequest, HttpResponse, SendError};
use gha_slurm_core::testing::{Memory, answer, own_run};
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::request::Request;
use gha_slurm_edge::testing::{DELIVERY, authorized, delivery, delivery_of};
use gha_slurm_runner::redeem::redeem;
use gha_slurm_scene::app_key;
use gha_slurm_webhook::receive::receive;
use jwt_simple::prelude::RS256KeyPair;
use serde_json::{Value, json};

pub(crate) type Reply = Result<HttpResponse, SendError>;

/// A gateway that accepts and a GitHub that grants.
pub(crate) fn friendly(request: &HttpRequest) -> Reply {
    let expires_at = "2027-01-15T09:00:00Z"; // An hour after the clock of `Memory`.
    match request.url.path() {
        "/runner/start" => answer(200, &json!({"status": "OK!", "job_id": 17})),
        "/runner/cancel" => answer(404, &json!({"message": "unknown"})),
        path if path.ends_with("/access_tokens") => answer(201, &json!({"token": "ghs_x", "expires_at": expires_at})),
        path if path.ends_with("/generate-jitconfig") => {
            answer(201, &json!({"runner": {"id": 5}, "encoded_jit_config": "eyJ"}))
        }
        path if path.ends_with("/actions/runners/5") => answer(204, &Value::Null),
        path if path.ends_with("/registration-token") => answer(201, &json!({"token": "AX", "expires_at": expires_at})),
        path => match own_run(path) {
            Some(run) => answer(200, &run),
            None => panic!("nobody asks for {path}"),
        },
    }
}

pub(crate) fn platform() -> Memory {
    let platform = Memory::configured();
    platform.set_variable("github_private_key", Some(app_key()));
    platform.serve(|_, request| friendly(request));
    platform
}

pub(crate) fn event(action: &str, job: u64) -> Value {
    json!({
        "action": action,
        "workflow_job": {"id": job, "run_id": job, "labels": ["self-hosted", "Slurm"], "conclusion": "cancelled"},
        "repository": {"id": 7, "full_name": "octo/repo", "html_url": "https://github.com/octo/repo"},
        "installation": {"id": 9},
    })
}

pub(crate) fn deliver(platform: &Memory, event: &Value) -> Answer {
    receive(platform, &delivery(event))
}

pub(crate) fn exchange(platform: &Memory, token: &str) -> Answer {
    redeem(platform, &authorized(token))
}

pub(crate) fn sent_to(platform: &Memory, end: &str) -> Vec<HttpRequest> {
    platform.sent.borrow().iter().filter(|request| request.url.path().ends_with(end)).cloned().collect()
}

/// Queues job 42; its launch token.
pub(crate) fn launch(platform: &Memory) -> String {
    redeemable(platform, 42)
}

/// Queues a job; its launch token.
pub(crate) fn redeemable(platform: &Memory, job: u64) -> String {
    redeemable_of(platform, &event("queued", job))
}

/// The launch token of the job that an event queues.
pub(crate) fn redeemable_of(platform: &Memory, queued: &Value) -> String {
    assert_eq!(deliver(platform, queued).body["decision"], "launched");
    body(&sent_to(platform, "/runner/start").pop().unwrap())["launcherToken"].as_str().unwrap().to_owned()
}

pub(crate) fn body(request: &HttpRequest) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

#[test]
fn a_launch_carries_what_the_gateway_needs_and_its_secret_stands_in_a_header_alone() {
    let platform = platform();
    launch(&platform);
    let [request] = &sent_to(&platform, "/runner/start")[..] else { panic!() };
    assert!(request.headers.contains(&("auth-token", "gateway-secret".to_owned())));
    let body = body(request);
    assert_eq!(body["gitHubURL"], "https://github.com/octo/repo");
    assert_eq!(body["runnerLabels"], "self-hosted,slurm");
    assert_eq!(body["tokenURL"], "https://app.example/gha/runner");
    assert_eq!(body["runnerName"], "gha-slurm-42-1");
    assert!(!body.to_string().contains("gateway-secret"));
}

#[test]
fn a_redemption_narrows_the_installation_token_and_hands_out_one_credential() {
    let platform = platform();
    let token = launch(&platform);
    let first = exchange(&platform, &token);
    assert_eq!((first.status, &first.body), (200, &json!({"encoded_jit_config": "eyJ"})));
    assert!(!first.log_line("redeem").contains("eyJ"), "a credential is not logged");
    let scopes: Vec<Value> = sent_to(&platform, "/app/installations/9/access_tokens").iter().map(body).collect();
    let scope = |name: &str, level: &str| json!({"repository_ids": [7], "permissions": {name: level}});
    assert_eq!(scopes, [scope("actions", "read"), scope("administration", "write")]);
    assert_eq!(exchange(&platform, &token).status, 409);
}

#[test]
fn a_redemption_during_another_waits_its_turn() {
    let platform = platform();
    let token = launch(&platform);
    let meanwhile = Rc::new(std::cell::Cell::new(0));
    let (replay, seen) = (token.clone(), Rc::clone(&meanwhile));
    platform.serve(move |platform, request| {
        if seen.get() == 0 {
            seen.set(exchange(platform, &replay).status);
        }
        friendly(request)
    });
    assert_eq!((exchange(&platform, &token).status, meanwhile.get()), (200, 503));
}

#[test]
fn a_job_cancelled_while_github_is_asked_gets_no_credential() {
    let platform = platform();
    let token = launch(&platform);
    platform.serve(|platform, request| {
        deliver(platform, &event("completed", 42));
        friendly(request)
    });
    let refused = exchange(&platform, &token);
    assert_eq!((refused.status, &refused.body["token"]), (410, &Value::Null));
}

#[test]
fn a_runner_that_was_made_for_a_job_cancelled_meanwhile_is_removed_at_once() {
    let platform = platform();
    let token = launch(&platform);
    platform.serve(|platform, request| match request.url.path() {
        path if path.ends_with("/generate-jitconfig") => {
            deliver(platform, &event("completed", 42));
            answer(201, &json!({"runner": {"id": 5}, "encoded_jit_config": "eyJ"}))
        }
        path if path.ends_with("/actions/runners/5") => answer(204, &Value::Null),
        _ => friendly(request),
    });
    assert_eq!(exchange(&platform, &token).status, 410);
    let [removal] = &sent_to(&platform, "/actions/runners/5")[..] else { panic!() };
    assert_eq!(removal.method, HttpMethod::Delete);
}

#[test]
fn a_redelivery_while_the_gateway_is_asked_launches_nothing() {
    let platform = platform();
    let meanwhile = Rc::new(std::cell::RefCell::new(Value::Null));
    let seen = Rc::clone(&meanwhile);
    platform.serve(move |platform, request| {
        if seen.borrow().is_null() {
            *seen.borrow_mut() = json!("asking");
            let again = deliver(platform, &event("queued", 42));
            *seen.borrow_mut() = again.body["decision"].clone();
        }
        friendly(request)
    });
    assert_eq!(deliver(&platform, &event("queued", 42)).body["decision"], "launched");
    assert_eq!(*meanwhile.borrow(), "duplicate");
    assert_eq!(sent_to(&platform, "/runner/start").len(), 1);
}

#[test]
fn a_job_robbed_while_the_robbers_own_launch_is_submitted_gets_that_one() {
    let platform = platform();
    let first = launch(&platform);
    assert_eq!(exchange(&platform, &first).status, 200);
    platform.serve(|platform, request| {
        if request.url.path() == "/runner/start" && body(request)["runnerName"] == "gha-slurm-43-1" {
            let mut started = event("in_progress", 43);
            started["workflow_job"]["runner_name"] = json!("gha-slurm-42-1");
            deliver(platform, &started);
        }
        friendly(request)
    });
    let second = redeemable(&platform, 43);
    assert_eq!(sent_to(&platform, "/runner/start").len(), 2, "a third launch would be one too many");
    assert_eq!(exchange(&platform, &second).status, 200, "42 still waits");
}

#[test]
fn a_queued_webhook_costs_four_transactions_and_eight_reads() {
    let platform = platform();
    launch(&platform); // The first one makes the signing key.
    let (before, all) = (platform.transactions.get(), platform.operations.get());
    assert_eq!(deliver(&platform, &event("queued", 43)).body["decision"], "launched");
    // A slot of the journal, the request with its slot's entry, the claim to submit, the launch.
    assert_eq!(platform.transactions.get() - before, 4);
    // Five facts of the job, the key, whether launches are stopped (two in one step) or overdue.
    assert_eq!(platform.operations.get() - all, 4 + 8);
    let before = platform.transactions.get();
    assert_eq!(deliver(&platform, &event("queued", 43)).body["decision"], "duplicate");
    assert_eq!(platform.transactions.get() - before, 0, "a redelivery writes nothing");
}

#[test]
fn a_redemption_with_kept_tokens_costs_three_transactions_and_one_call_once_its_run_is_known() {
    let platform = platform();
    let token = launch(&platform);
    assert_eq!(exchange(&platform, &token).status, 200);
    // Another job of the same run.
    let mut queued = event("queued", 43);
    queued["workflow_job"]["run_id"] = json!(42);
    let other = redeemable_of(&platform, &queued);
    let (before, calls) = (platform.transactions.get(), platform.sent.borrow().len());
    assert_eq!(exchange(&platform, &other).status, 200);
    // The turn, the right to hand it out, and that it was.
    assert_eq!(platform.transactions.get() - before, 3);
    assert_eq!(platform.sent.borrow().len() - calls, 1, "a credential is one launch's alone");
}

#[test]
fn each_launch_has_a_registration_token_of_its_own_and_only_where_the_operator_allows_it() {
    let platform = platform();
    platform.set_variable("registration_tokens", Some("allow"));
    for job in [42, 43] {
        let token = redeemable(&platform, job);
        assert_eq!(exchange(&platform, &token).body["token"], "AX");
    }
    assert_eq!(sent_to(&platform, "/registration-token").len(), 2);
    let token = redeemable(&platform, 44);
    let asks = Request { body: br#"{"credential": "jit"}"#.to_vec(), ..authorized(&token) };
    assert_eq!(redeem(&platform, &asks).body, json!({"encoded_jit_config": "eyJ"}));
    platform.set_variable("registration_tokens", None);
    let token = redeemable(&platform, 45);
    assert_eq!(exchange(&platform, &token).body, json!({"encoded_jit_config": "eyJ"}));
}

#[test]
fn what_github_failed_is_redeemable_again() {
    let platform = platform();
    let token = launch(&platform);
    platform.serve(|_, _| answer(502, &json!({"message": "Bad Gateway"})));
    assert_eq!(exchange(&platform, &token).status, 503);
    platform.serve(|_, request| friendly(request));
    assert_eq!(exchange(&platform, &token).status, 200);
}

#[test]
fn a_repository_without_the_app_gets_no_kept_token() {
    let platform = platform();
    let (first, second) = (launch(&platform), redeemable(&platform, 43));
    assert_eq!(exchange(&platform, &first).status, 200);
    let gone = json!({"action": "removed", "repositories_removed": [{"id": 7}]});
    let delivery = delivery_of("installation_repositories", DELIVERY, &gone);
    assert_eq!(receive(&platform, &delivery).body["decision"], "recorded");
    platform.serve(|_, _| answer(404, &json!({"message": "Not Found"})));
    assert_eq!(exchange(&platform, &second).status, 403);
}

#[test]
fn a_mended_private_key_counts_at_once() {
    let platform = platform();
    let token = launch(&platform);
    let authorizations = |platform: &Memory| -> Vec<String> {
        let asked = sent_to(platform, "/access_tokens");
        asked
            .iter()
            .flat_map(|request| &request.headers)
            .filter(|(name, _)| *name == "authorization")
            .map(|(_, value)| value.clone())
            .collect()
    };
    let wrong = RS256KeyPair::generate(2048).unwrap().to_pem().unwrap();
    platform.set_variable("github_private_key", Some(&wrong));
    platform.serve(|_, _| answer(401, &json!({"message": "A JSON web token could not be decoded"})));
    assert_eq!(exchange(&platform, &token).status, 503);
    let refused = authorizations(&platform);
    platform.set_variable("github_private_key", Some(app_key()));
    platform.serve(|_, request| friendly(request));
    assert_eq!(exchange(&platform, &token).status, 200);
    let mended = authorizations(&platform);
    assert!(
        mended.len() > refused.len() && !refused.contains(mended.last().unwrap()),
        "the old key's JWT is sent again"
    );
}

#[test]
fn access_tokens_are_kept_with_a_margin_before_their_end() {
    let platform = platform();
    let token = launch(&platform);
    assert_eq!(exchange(&platform, &token).status, 200);
    for (job, seconds_before_the_end, expected) in [(43, 301, 2), (44, 299, 4)] {
        platform.seconds.set(1_800_003_600 - seconds_before_the_end);
        let token = redeemable(&platform, job);
        assert_eq!(exchange(&platform, &token).status, 200);
        let made = sent_to(&platform, "/access_tokens").len();
        assert_eq!(made, expected, "{seconds_before_the_end} s before the end");
    }
}

#[test]
fn a_launch_that_the_gateway_lost_is_deferred_and_a_redelivery_keeps_its_name() {
    let platform = platform();
    platform.serve(|_, _| Err(SendError::Broken("the connection was reset".to_owned())));
    let deferred = deliver(&platform, &event("queued", 42));
    assert_eq!((deferred.status, &deferred.body["decision"]), (202, &json!("deferred")));
    platform.serve(|_, request| friendly(request));
    assert_eq!(deliver(&platform, &event("queued", 42)).body["decision"], "launched");
    assert_eq!(deliver(&platform, &event("queued", 42)).body["decision"], "duplicate");
    let names: Vec<Value> =
        sent_to(&platform, "/runner/start").iter().map(|request| body(request)["runnerName"].clone()).collect();
    assert_eq!(names, ["gha-slurm-42-1", "gha-slurm-42-1"], "the gateway can tell that it is the same launch");
}
