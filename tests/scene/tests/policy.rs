//! What may run: at the webhook by the payload, at the redemption by what GitHub says of the run, and what follows from a job
//! that a node refused.

// clippy.toml lets tests panic; what they share is part of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use gha_slurm_core::counters::{self, Counter};
use gha_slurm_core::ledger::{Ledger, LostReason};
use gha_slurm_core::policy::Denial;
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::testing::authorized;
use gha_slurm_protocol::identity::JobId;
use gha_slurm_scene::{PROFILES, Scene};
use gha_slurm_tick::run::tick;
use serde_json::{Value, json};

fn run(changes: &[(&str, Value)]) -> Value {
    let mut run = json!({
        "event": "push", "head_branch": "main", "path": ".github/workflows/ci.yml", "run_attempt": 1,
        "actor": {"id": 2, "login": "octocat"}, "triggering_actor": {"id": 2, "login": "octocat"},
        "head_repository": {"id": 7}, "repository": {"id": 7, "private": true},
    });
    for (name, value) in changes {
        run[name] = value.clone();
    }
    run
}

/// A scene whose first profile has these keys as well.
fn scene(keys: &str) -> Scene {
    let scene = Scene::new();
    let profiles = PROFILES.replacen("name = 'cpu'", &format!("name = 'cpu'\n{keys}"), 1);
    scene.platform.set_variable("profiles", Some(&profiles));
    scene.github("/generate-jitconfig", 201, json!({"encoded_jit_config": "JITCONFIG", "runner": {"id": 5}}));
    scene
}

/// How often a path that ends so was asked for.
fn asked(scene: &Scene, end: &str) -> usize {
    scene.platform.sent.borrow().iter().filter(|request| request.url.path().ends_with(end)).count()
}

fn ticked(scene: &Scene) -> Value {
    tick(&scene.platform, &authorized("an-admin-token-of-32-characters!")).body
}

fn rule(answer: &Answer) -> &str {
    assert_eq!((answer.status, &answer.body["reason"]), (403, &json!("not_allowed")), "{}", answer.body);
    answer.body["rule"].as_str().unwrap()
}

#[test]
fn a_runs_that_the_rules_do_not_allow_get_no_runner_and_no_further_launch() {
    let fork = json!({"id": 666, "full_name": "mallory/repo"});
    for (keys, changes, broken) in [
        ("", [("head_repository", fork.clone())], "forks"),
        ("", [("head_repository", Value::Null)], "forks"),
        ("", [("repository", json!({"id": 7, "private": false}))], "public"),
        ("", [("repository", json!({"id": 7}))], "public"),
        ("public = true", [("head_repository", fork)], "forks"),
        ("events = ['push']", [("event", json!("pull_request_target"))], "events"),
        ("branches = ['main', 'release/*']", [("head_branch", json!("main2"))], "branches"),
        ("branches = ['main']", [("head_branch", Value::Null)], "branches"),
        (
            "workflows = ['.github/workflows/ci.yml']",
            [("path", json!(".github/workflows/other.yml@main"))],
            "workflows",
        ),
        ("actors = ['octo*']", [("triggering_actor", json!({"id": 3, "login": "mallory"}))], "actors"),
        ("actors = ['octo*']", [("actor", Value::Null)], "actors"),
    ] {
        let scene = scene(keys);
        scene.github("/actions/runs/1", 200, run(&changes));
        scene.queue(1);
        let denied = scene.redeem_jit("1-1");
        assert_eq!(rule(&denied), broken, "{changes:?}");
        assert_eq!(asked(&scene, "/generate-jitconfig"), 0);
        let questions = asked(&scene, "/actions/runs/1");
        assert_eq!(rule(&scene.redeem_jit("1-1")), broken, "once more");
        assert_eq!(asked(&scene, "/actions/runs/1"), questions, "GitHub is not asked again");
        assert_eq!(scene.queue(1).body["decision"], "ignored");
        scene.slurm("FAILED", None);
        for _ in 0..4 {
            scene.pass(400);
            ticked(&scene);
        }
        assert_eq!(asked(&scene, "/runner/start"), 1, "nothing is launched again");
        let audited = scene.platform.audited.borrow();
        let denials: Vec<&String> = audited.iter().filter(|line| line.contains("\"denial\"")).collect();
        assert!(denials.len() == 1 && denials[0].contains(&format!("\"rule\":\"{broken}\"")), "{denials:?}");
    }
}

#[test]
fn what_the_rules_allow_runs() {
    for (keys, changes) in [
        ("", vec![]),
        ("forks = 'allow'", vec![("head_repository", json!({"id": 666}))]),
        (
            "public = true\nforks = 'allow'",
            vec![("repository", json!({"id": 7, "private": false})), ("head_repository", Value::Null)],
        ),
        ("workflows = ['.github/workflows/*']", vec![("path", json!(".github/workflows/ci.yml@refs/heads/x"))]),
        ("events = ['pull_request*']", vec![("event", json!("pull_request"))]),
    ] {
        let scene = scene(keys);
        scene.github("/actions/runs/1", 200, run(&changes));
        scene.queue(1);
        assert_eq!(scene.redeem_jit("1-1").status, 200, "{keys} {changes:?}");
    }
}

#[test]
fn the_defaults_are_for_every_profile_that_sets_nothing_itself() {
    let scene = Scene::new();
    let profiles = format!(
        "[defaults]\nforks = 'allow'\nevents = ['push']\n{}",
        PROFILES.replacen("name = 'cpu'", "name = 'cpu'\nevents = ['schedule']", 1)
    );
    scene.platform.set_variable("profiles", Some(&profiles));
    scene.github("/generate-jitconfig", 201, json!({"encoded_jit_config": "JITCONFIG"}));
    for (job, event) in [(1, "push"), (2, "schedule")] {
        scene.github(
            &format!("/actions/runs/{job}"),
            200,
            run(&[("event", json!(event)), ("head_repository", Value::Null)]),
        );
        scene.queue(job);
    }
    assert_eq!(rule(&scene.redeem_jit("1-1")), "events");
    assert_eq!(scene.redeem_jit("2-1").status, 200);
}

#[test]
fn a_public_repositorys_job_is_not_ours_unless_the_profile_says_so() {
    for (fields, public) in [
        (json!({"private": false, "visibility": "public"}), true),
        (json!({"private": false}), true),
        (json!({"visibility": "public"}), true),
        (json!({"private": true, "visibility": "internal"}), false),
        (json!({"private": true}), false),
        // GitHub is asked at the redemption.
        (json!({}), false),
    ] {
        let event = || {
            let mut event = Scene::event("octo/repo", "queued", 1);
            let repository = event["repository"].as_object_mut().unwrap();
            repository.retain(|name, _| name != "private" && name != "visibility");
            repository.extend(fields.as_object().unwrap().clone());
            event
        };
        let closed = scene("");
        let answer = closed.receive(&event());
        assert_eq!(answer.body["decision"] == "ignored", public, "{fields}");
        if public {
            let reason = answer.body["reason"].as_str().unwrap();
            assert!(reason.contains("octo/repo is public") && reason.contains("public = true"), "{reason}");
        }
        assert_eq!(scene("public = true").receive(&event()).body["decision"], "launched", "{fields}");
    }
}

#[test]
fn without_githubs_answer_nothing_is_allowed_and_nothing_is_lost() {
    let scene = scene("");
    scene.queue(1);
    scene.github("/actions/runs/1", 502, json!({"message": "Bad Gateway"}));
    assert_eq!(scene.redeem_jit("1-1").status, 503);
    scene.github("/actions/runs/1", 403, json!({"message": "Resource not accessible by integration"}));
    scene.pass(120);
    let refused = scene.redeem_jit("1-1");
    assert_eq!((refused.status, &refused.body["reason"]), (403, &json!("permission")), "{}", refused.body);
    assert_eq!(asked(&scene, "/generate-jitconfig"), 0);
    scene.github("/actions/runs/1", 200, run(&[]));
    assert_eq!(scene.redeem_jit("1-1").status, 200, "nothing of that was final");
}

#[test]
fn a_run_that_github_does_not_show_is_denied() {
    let scene = scene("");
    scene.queue(1);
    scene.github("/actions/runs/1", 404, json!({"message": "Not Found"}));
    scene.github("/repositories/7", 200, json!({"id": 7}));
    assert_eq!(scene.redeem_jit("1-1").status, 503, "it may be too new");
    scene.pass(5 * 60);
    assert_eq!(rule(&scene.redeem_jit("1-1")), "run");
    assert_eq!(Ledger(&scene.platform).job(JobId(1)).view().unwrap().denied.unwrap().denial, Denial::NoRun);
}

#[test]
fn a_run_is_asked_for_once_and_each_attempt_is_judged_anew() {
    let scene = scene("actors = ['octocat']");
    scene.github("/actions/runs/40", 200, run(&[]));
    for job in [1, 2] {
        scene.queue_with(job, json!({"run_id": 40}));
        assert_eq!(scene.redeem_jit(&format!("{job}-1")).status, 200);
    }
    assert_eq!(asked(&scene, "/actions/runs/40"), 1);
    let again = |attempt: u64| {
        run(&[("run_attempt", json!(attempt)), ("triggering_actor", json!({"id": 3, "login": "mallory"}))])
    };
    scene.github("/actions/runs/40", 200, again(3));
    scene.github("/actions/runs/40/attempts/2", 200, again(2));
    scene.queue_with(3, json!({"run_id": 40, "run_attempt": 2}));
    assert_eq!(rule(&scene.redeem_jit("3-1")), "actors");
    // A payload that names no run: the job leads to it.
    scene.github("/actions/jobs/4", 200, json!({"id": 4, "status": "queued", "run_id": 40}));
    scene.github("/actions/runs/40", 200, run(&[]));
    scene.queue_with(4, json!({"run_id": null}));
    assert_eq!(scene.redeem_jit("4-1").status, 200);
}

#[test]
fn a_job_that_names_a_slurm_user_is_that_persons_alone() {
    let profile = "[[profile]]\nname = 'people'\nlabels = ['slurm']\n[profile.dynamic]\nslurm_users = ['*']";
    for (triggering, status) in [
        (json!({"id": 2, "login": "renamed-since"}), 200),
        (json!({"id": 3, "login": "octocat"}), 403),
        (Value::Null, 403),
    ] {
        let scene = scene("");
        scene.platform.set_variable("profiles", Some(profile));
        scene.github("/actions/runs/1", 200, run(&[("triggering_actor", triggering.clone())]));
        let launched = scene.queue_with(1, json!({"labels": ["slurm", "slurm-user=ada"]}));
        assert_eq!(launched.body["decision"], "launched");
        let sent = scene.platform.sent.borrow().last().unwrap().body.clone();
        let sent: Value = serde_json::from_slice(&sent).unwrap();
        assert_eq!((&sent["slurmUser"], &sent["person"]), (&json!("ada"), &json!({"login": "octocat", "id": 2})));
        let redeemed = scene.redeem_jit("1-1");
        assert_eq!(redeemed.status, status, "{triggering}: {}", redeemed.body);
    }
    let scene = scene("");
    scene.platform.set_variable("profiles", Some(profile));
    let mut nobody = Scene::event("octo/repo", "queued", 1);
    nobody["workflow_job"]["labels"] = json!(["slurm", "slurm-user=ada"]);
    for sender in [Value::Null, json!({"login": "octocat"}), json!({"id": 2})] {
        nobody["sender"] = sender;
        let reason = scene.receive(&nobody).body["reason"].to_string();
        assert!(reason.contains("does not say who started"), "{reason}");
    }
}

#[test]
fn a_refusal_at_the_node_is_recorded_once_and_the_robbed_job_gets_a_new_launch() {
    let scene = scene("");
    scene.queue(1);
    let told = json!({"reason": "the repository is not mapped", "repository": "octo/other", "run_id": 99}).to_string();
    assert_eq!(scene.refuse_at_node("1-1", &told).status, 409, "it has no runner yet");
    assert_eq!(scene.redeem_jit("1-1").status, 200);
    for bad in ["", "[]", "{\"reason\": 1}", "{"] {
        assert_eq!(scene.refuse_at_node("1-1", bad).status, 400, "{bad}");
    }
    for _ in 0..3 {
        assert_eq!(scene.refuse_at_node("1-1", &told).status, 200);
    }
    let facts = Ledger(&scene.platform).launch("1-1".parse().unwrap());
    assert_eq!(facts.lost().unwrap().unwrap().reason, LostReason::RefusedAtNode);
    let counted = counters::all(&scene.platform).unwrap();
    assert!(counted.iter().any(|(counter, count)| *counter == Counter::RefusedAtNode && *count == 1));
    ticked(&scene);
    assert_eq!(asked(&scene, "/runner/start"), 2, "the job has its second launch");
    assert_eq!(scene.redeem_jit("1-2").status, 200);
}

#[test]
fn a_job_that_was_itself_refused_at_the_node_is_not_launched_again() {
    let scene = scene("");
    scene.queue(1);
    assert_eq!(scene.redeem_jit("1-1").status, 200);
    assert_eq!(scene.refuse_at_node("1-1", "{\"reason\": \"the actor is not allowed\", \"run_id\": 1}").status, 200);
    scene.start(1, "gha-slurm-1-1");
    scene.pass(400);
    ticked(&scene);
    assert_eq!(asked(&scene, "/runner/start"), 1);
}

#[test]
fn nobody_reports_for_another_launch() {
    let scene = scene("");
    scene.queue(1);
    for token in ["", "x.y.z", "eyJhbGciOiJub25lIn0.e30."] {
        let mut request = authorized(token);
        request.target = "/gha/runner/refused".to_owned();
        request.body = b"{\"reason\": \"x\"}".to_vec();
        assert_eq!(gha_slurm_runner::redeem::redeem(&scene.platform, &request).status, 401, "{token:?}");
        request.headers.clear();
        assert_eq!(gha_slurm_runner::redeem::redeem(&scene.platform, &request).status, 401);
    }
}
