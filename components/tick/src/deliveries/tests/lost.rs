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
fn a_job_whose_facts_are_garbage_is_given_up_after_a_day_and_keeps_no_other() {
    let hook = hook();
    hook.queue(1..=2);
    hook.platform.plant("gha-slurm/1/job/1/requested", b"?");
    let mut told = Vec::new();
    for _ in 0..24 * 6 + 10 {
        told.push(hook.tick()["problems"].to_string());
        hook.pass(600);
    }
    assert_eq!(hook.launched(), [2]);
    assert_eq!(told.iter().filter(|problems| problems.contains("given up")).count(), 1, "{told:?}");
    assert!(!told.last().unwrap().contains("delivery"), "{told:?}");
}

#[test]
fn a_github_that_shows_nothing_for_hours_loses_nothing() {
    let hook = hook();
    hook.queue(1..=20);
    hook.world.borrow_mut().attempts.iter_mut().for_each(|attempt| attempt.shows = Shows::Status(502));
    for _ in 0..6 * 60 {
        hook.tick();
        hook.pass(60);
    }
    let reads = hook.read().len();
    assert!(reads < 20 * 50, "{reads}");
    hook.show_all();
    hook.pass(600);
    hook.tick();
    assert_eq!(hook.launched_sorted(), (1..=20).collect::<Vec<_>>());
}

#[test]
fn a_profile_that_names_no_cluster_that_is_there_stops_its_own_jobs_alone() {
    let hook = hook();
    hook.queue(1..=1);
    hook.add(hook.misplaced(2));
    hook.queue(3..=20);
    let report = hook.tick();
    assert!(report["problems"].to_string().contains("no cluster gone"), "{report}");
    assert_eq!(hook.launched(), [1].into_iter().chain(3..=20).collect::<Vec<_>>());
    for _ in 0..3 * 60 {
        hook.pass(60);
        hook.tick();
    }
    hook.correct_profiles();
    hook.pass(600);
    hook.tick();
    assert!(hook.launched().contains(&2));
}

#[test]
fn where_no_more_can_be_put_aside_the_search_waits_and_goes_on() {
    let hook = hook();
    hook.queue(1..=450);
    hook.world.borrow_mut().attempts.iter_mut().for_each(|attempt| attempt.shows = Shows::Status(502));
    for _ in 0..60 {
        hook.tick();
        hook.pass(60);
    }
    assert!(hook.tick()["problems"].to_string().contains("too many deliveries wait"));
    hook.show_all();
    for _ in 0..60 {
        hook.pass(60);
        hook.tick();
    }
    assert_eq!(hook.launched_sorted(), (1..=450).collect::<Vec<_>>());
}

#[test]
fn what_was_polled_is_not_read_again_and_what_was_not_is() {
    let hook = Hook::new("poll");
    hook.queue(1..=300);
    hook.world.borrow_mut().attempts[0].shows = Shows::Status(404);
    hook.poll();
    hook.poll();
    assert_eq!(hook.read().len(), 300);
    // Polling continues for a while, then stops; GitHub continues.
    hook.pass(30);
    hook.queue(301..=302);
    hook.platform.set_variable("webhooks", Some("receive"));
    hook.show_all();
    let (lists, read) = (hook.world.borrow().lists, hook.read().len());
    let report = hook.tick();
    assert_eq!(report["problems"], json!([]));
    let mut news = hook.read()[read..].to_vec();
    news.sort_unstable();
    assert_eq!(news, [1, 301, 302], "what was put aside, and what came since");
    assert!(hook.is_known(1) && hook.is_known(302));
    for job in 303..310 {
        hook.pass(60);
        hook.queue(job..=job);
        hook.tick();
        assert!(hook.is_known(job));
    }
    assert_eq!(hook.read().len(), read + 3 + 7);
    assert!(hook.world.borrow().lists - lists <= 4 + 7, "{}", hook.world.borrow().lists - lists);
}

#[test]
fn what_polling_had_on_its_way_is_read_from_where_it_stopped() {
    let hook = Hook::new("poll");
    hook.queue(1..=1);
    hook.poll();
    hook.pass(600);
    hook.queue(2..=350);
    hook.world.borrow_mut().seconds_a_call = 2;
    hook.poll();
    let polled = hook.launched().len();
    assert!((1..350).contains(&polled), "{polled}");
    hook.world.borrow_mut().seconds_a_call = 0;
    hook.platform.set_variable("webhooks", Some("receive"));
    let read = hook.read().len();
    hook.pass(60);
    hook.tick();
    assert_eq!(hook.launched_sorted(), (1..=350).collect::<Vec<_>>());
    assert!(hook.read().len() - read <= 350 - polled, "nothing that was handled is read again");
}

#[test]
fn what_is_lost_during_a_long_search_is_found_within_a_minute() {
    let hook = hook();
    hook.queue(1..=2000);
    hook.world.borrow_mut().seconds_a_list = 6;
    hook.tick();
    assert_eq!(hook.launched().len(), 100, "a page for each run");
    for lost in 2001..2005 {
        hook.queue(lost..=lost);
        let since = hook.platform.seconds.get();
        while !hook.is_known(lost) {
            hook.pass(20);
            hook.tick();
            assert!(hook.platform.seconds.get() - since < 120, "{lost}");
        }
    }
    assert!((200..1000).contains(&hook.launched().len()), "{}", hook.launched().len());
    // Where runs are a minute apart, the search makes progress as well.
    for _ in 0..50 {
        hook.pass(60);
        hook.tick();
    }
    assert!(hook.launched().len() > 1900, "{}", hook.launched().len());
    hook.world.borrow_mut().seconds_a_list = 0;
    for _ in 0..10 {
        hook.pass(60);
        hook.tick();
    }
    assert_eq!(hook.launched_sorted(), (1..2005).collect::<Vec<_>>(), "each once");
}
