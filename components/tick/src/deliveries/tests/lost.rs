//! Deliveries that did not arrive, where webhooks are received.

use gha_slurm_core::settings::Webhooks;
use gha_slurm_overview::reading;
use serde_json::{Value, json};

use super::hook::{Attempt, FIRST, Hook, Shows, whole};

fn hook() -> Hook {
    Hook::new("receive")
}

fn counts(report: &Value) -> (u64, u64) {
    (report["read"].as_u64().unwrap(), report["redelivered"].as_u64().unwrap())
}

#[test]
fn what_did_not_arrive_is_read_and_not_asked_for_again() {
    let hook = hook();
    hook.queue(1..=3);
    let arrived = hook.job(FIRST + 4, 4, "queued");
    hook.add(Attempt { status: "OK", ..arrived });
    let report = hook.tick();
    assert_eq!((counts(&report), &report["problems"]), ((3, 0), &json!([])));
    assert_eq!(hook.launched(), [1, 2, 3], "the oldest first");
    let arrival = reading(&hook.platform).unwrap().unwrap();
    assert_eq!((arrival.mode, arrival.behind), (Webhooks::Receive, 0));
    assert_eq!(arrival.newest_at, Some(arrival.read_at));
    for _ in 0..3 {
        hook.pass(60);
        assert_eq!(counts(&hook.tick()), (0, 0), "once");
    }
    assert_eq!(hook.read(), [1, 2, 3]);
}

#[test]
fn what_arrived_by_a_later_attempt_is_not_read() {
    let hook = hook();
    hook.queue(1..=1);
    let later = hook.job(FIRST + 2, 1, "queued");
    hook.add(Attempt { guid: format!("guid-{}", FIRST + 1), status: "OK", ..later });
    assert_eq!((counts(&hook.tick()), hook.read()), ((0, 0), vec![]));
}

#[test]
fn only_what_cannot_be_read_is_asked_for_again_and_not_for_ever() {
    let hook = hook();
    for (shows, job) in
        [Shows::Status(404), Shows::Status(410), Shows::TooLarge, Shows::Body(json!({}))].into_iter().zip(1..)
    {
        hook.add(Attempt { shows, ..hook.job(FIRST + job, job, "queued") });
    }
    hook.queue(5..=5);
    let report = hook.tick();
    assert_eq!((counts(&report), hook.world.borrow().redelivered.len()), ((1, 4), 4), "{report}");
    assert_eq!(hook.launched(), [5]);
    // Each redelivery fails as well.
    for id in 10..20 {
        hook.pass(60);
        hook.add(Attempt {
            guid: format!("guid-{}", FIRST + 1),
            shows: Shows::Status(404),
            ..hook.job(FIRST + id, 1, "queued")
        });
        hook.tick();
    }
    assert_eq!(hook.world.borrow().redelivered.len(), 4 + 2, "three times in all");
}

#[test]
fn what_was_sent_for_another_app_is_neither_handled_nor_asked_for() {
    let hook = hook();
    let mut attempt = hook.job(FIRST + 1, 1, "queued");
    attempt.shows = Shows::Body(whole(&attempt, "999"));
    hook.add(attempt);
    let report = hook.tick();
    assert_eq!((counts(&report), hook.is_known(1)), ((0, 0), false));
    assert!(report["problems"][0].as_str().unwrap().contains("another App, 999"), "{report}");
    hook.pass(60);
    assert_eq!(hook.tick()["problems"], json!([]), "told of once");
}

#[test]
fn a_rate_limit_in_the_middle_ends_the_search_until_it_is_over() {
    let hook = hook();
    hook.queue(1..=60);
    hook.world.borrow_mut().calls_left = Some(20);
    assert_eq!(counts(&hook.tick()).0, 19);
    hook.world.borrow_mut().calls_left = None;
    let calls = hook.world.borrow().read.len();
    hook.pass(30);
    hook.tick();
    assert_eq!(hook.world.borrow().read.len(), calls, "GitHub is not asked");
    hook.pass(60);
    hook.tick();
    assert_eq!(hook.launched(), (1..=60).collect::<Vec<_>>());
}

#[test]
fn a_github_that_fails_to_show_one_is_asked_again_a_minute_later() {
    let hook = hook();
    hook.queue(1..=2);
    hook.world.borrow_mut().attempts[0].shows = Shows::Status(502);
    assert_eq!((counts(&hook.tick()), hook.launched()), ((1, 0), vec![2]));
    hook.world.borrow_mut().attempts[0].shows = Shows::Whole;
    hook.pass(60);
    assert_eq!((counts(&hook.tick()), hook.launched()), ((1, 0), vec![2, 1]));
    hook.pass(60);
    assert_eq!(counts(&hook.tick()), (0, 0));
}

#[test]
fn a_wrong_setting_uses_up_no_try() {
    let hook = hook();
    hook.queue(1..=1);
    hook.platform.set_variable("profiles", Some("[[profile]]"));
    for _ in 0..20 {
        hook.pass(60);
        assert!(hook.tick()["problems"][0].as_str().unwrap().contains("profiles"));
    }
    hook.platform.set_variable("profiles", None);
    hook.pass(60);
    assert_eq!(counts(&hook.tick()), (1, 0));
}

#[test]
fn a_job_whose_facts_are_garbage_is_given_up_and_keeps_no_other() {
    let hook = hook();
    hook.queue(1..=2);
    hook.platform.plant("gha-slurm/1/job/1/requested", b"?");
    let mut told = Vec::new();
    for _ in 0..20 {
        told.push(hook.tick()["problems"].to_string());
        hook.pass(60);
    }
    assert_eq!(hook.launched(), [2]);
    assert!(told.iter().any(|problems| problems.contains("given up after 10 tries")), "{told:?}");
    assert!(!told.last().unwrap().contains("delivery"), "{told:?}");
}
