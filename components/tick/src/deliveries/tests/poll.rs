//! Webhooks that are read instead of received.

use std::rc::Rc;

use gha_slurm_core::ports::{HttpMethod, Store};
use gha_slurm_core::settings::Webhooks;
use gha_slurm_core::testing::Memory;
use gha_slurm_edge::answer::Level;
use gha_slurm_edge::testing::{authorized, delivery};
use gha_slurm_overview::{Arrival, deliveries, reading};
use gha_slurm_scene::Scene;
use gha_slurm_webhook::receive::receive;
use serde_json::{Value, json};

use super::hook::{Attempt, FIRST, Hook, Shows, whole};
use crate::run::tick;

fn hook() -> Hook {
    Hook::new("poll")
}

#[test]
fn what_is_new_is_read_in_order_and_launched_and_what_is_known_costs_one_call() {
    let hook = hook();
    hook.queue(1..=3);
    hook.add(hook.job(FIRST + 4, 2, "completed"));
    let answer = hook.poll();
    assert_eq!((&answer.body["read"], &answer.body["problems"]), (&json!(4), &json!([])), "{}", answer.body);
    assert_eq!((hook.launched(), hook.read()), (vec![1, 2, 3], vec![1, 2, 3, 4]));
    let line: Value = serde_json::from_str(&answer.log_line("tick")).unwrap();
    assert_eq!(
        (&line["deliveries"][0]["decision"], &line["deliveries"][0]["delivery"]),
        (&json!("launched"), &json!(format!("guid-{}", FIRST + 1)))
    );

    hook.pass(3);
    let (operations, transactions) = (hook.platform.operations.get(), hook.platform.transactions.get());
    let calls = hook.platform.sent.borrow().len();
    let answer = hook.poll();
    assert_eq!((answer.level(), &answer.body["read"]), (Level::Debug, &json!(0)));
    assert_eq!(hook.platform.sent.borrow().len() - calls, 1);
    assert_eq!(
        (hook.world.borrow().unchanged, hook.platform.transactions.get()),
        (1, transactions),
        "and nothing is written"
    );
    // In four steps: the limiter's three, the reading's two, GitHub's two limits, the App JWT.
    assert_eq!(hook.platform.operations.get() - operations, 8);
}

#[test]
fn how_deliveries_arrive_is_kept_to_be_shown_and_not_every_few_seconds() {
    let hook = hook();
    hook.queue(1..=1);
    let made = hook.platform.seconds.get();
    hook.pass(2);
    hook.poll();
    let arrival = reading(&hook.platform).unwrap().unwrap();
    let handled_at = Some(made + 2);
    let expected = Arrival { mode: Webhooks::Poll, read_at: made + 2, newest_at: Some(made), handled_at, behind: 0 };
    assert_eq!(arrival, expected);
    assert_eq!(deliveries(&hook.platform).unwrap().deliveries[0].job.map(|job| job.0), Some(1));
    for _ in 0..19 {
        hook.pass(3);
        hook.poll();
        assert_eq!(reading(&hook.platform).unwrap().unwrap(), expected);
    }
    hook.pass(3);
    hook.poll();
    assert_eq!(reading(&hook.platform).unwrap().unwrap(), Arrival { read_at: made + 62, ..expected });
}

#[test]
fn what_nothing_follows_from_costs_no_call() {
    let hook = hook();
    for (number, (event, action)) in
        [("push", ""), ("workflow_job", "paused"), ("installation", "created"), ("check_run", "completed")]
            .into_iter()
            .enumerate()
    {
        hook.add(Attempt { event, action, ..hook.job(FIRST + number as u64, 1, "queued") });
    }
    let mut gone = hook.job(FIRST + 9, 1, "queued");
    gone.payload = json!({"action": "deleted", "repositories": [{"id": 7}]});
    hook.add(Attempt { event: "installation", action: "deleted", ..gone });
    hook.poll();
    assert_eq!(hook.read(), [9]);
}

#[test]
fn an_attempt_that_is_recorded_late_below_others_is_read() {
    let hook = hook();
    hook.queue(1..=1);
    hook.queue(3..=150);
    hook.poll();
    assert!(!hook.is_known(2));
    // It began before the others and timed out after them; it is not on the first page.
    hook.queue(2..=2);
    hook.pass(10);
    hook.queue(151..=151);
    hook.poll();
    assert!(hook.is_known(2) && hook.is_known(151));
    assert_eq!(hook.read().len(), 151, "nothing twice");
}

#[test]
fn a_backlog_of_ten_thousand_is_worked_off_in_order_while_more_comes() {
    let hook = hook();
    for job in 1..=10_000 {
        hook.add(hook.job(FIRST + job, job, "queued"));
        if job % 5 == 0 {
            hook.pass(1);
        }
    }
    // The list moves: something comes before each of many calls of the list, and some of it late.
    for job in 10_001..=10_150_u64 {
        let mut late = hook.job(FIRST + job, job, "queued");
        hook.world.borrow_mut().before_list.push_back(Box::new(move |platform, world| {
            late.at = platform.seconds.get().saturating_sub(if job % 7 == 0 { 9 } else { 0 });
            world.attempts.push(late);
        }));
    }
    hook.world.borrow_mut().seconds_a_call = 0;
    let mut runs = 0;
    loop {
        let begun = hook.platform.seconds.get();
        // A second for each page, and for each 16 deliveries.
        hook.world.borrow_mut().seconds_a_call = 1;
        hook.platform.batches.borrow_mut().clear();
        let answer = hook.poll();
        assert!(hook.platform.batches.borrow().iter().all(|batch| *batch <= 16));
        runs += 1;
        assert!(hook.platform.seconds.get() - begun <= 36, "one batch more than its time, one after the other here");
        if answer.body["more"] == json!(false)
            && answer.body["behind"] == json!(0)
            && hook.world.borrow().before_list.is_empty()
        {
            break;
        }
        assert!(runs < 5000, "{}", answer.body);
        hook.pass(3);
    }
    let launched = hook.launched();
    let mut sorted = launched.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=10_150).collect::<Vec<_>>(), "none is missing, none is twice");
    assert!(launched[..10_000].is_sorted(), "in order");
    let read = hook.read().len();
    assert!(read < 10_150 + runs * 16, "{read} read in {runs} runs");
}

#[test]
fn a_rate_limit_in_the_middle_ends_a_run_and_nothing_is_lost() {
    let hook = hook();
    hook.queue(1..=300);
    hook.world.borrow_mut().calls_left = Some(40);
    let answer = hook.poll();
    let handled = hook.launched().len();
    assert!(answer.body["problems"][0].as_str().unwrap().contains("cannot answer now"), "{}", answer.body);
    assert!((16..40).contains(&handled), "{handled}");
    let calls = hook.platform.sent.borrow().len();
    hook.pass(3);
    assert_eq!(hook.poll().status, 503, "whoever asks waits for longer");
    assert_eq!(hook.platform.sent.borrow().len(), calls, "GitHub is not asked");
    hook.world.borrow_mut().calls_left = None;
    hook.pass(60);
    hook.poll_until_done();
    assert_eq!(hook.launched(), (1..=300).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_read_blocks_nothing_is_told_of_and_tried_again() {
    let hook = hook();
    let bad = [
        Shows::Status(404),
        Shows::Status(410),
        Shows::TooLarge,
        Shows::Body(json!({"event": "workflow_job"})),
        Shows::Body(whole(&hook.job(1, 5, "queued"), "999")),
        Shows::Body(
            json!({"id": 6, "guid": "g", "event": "workflow_job", "request": {"payload": {"action": "queued", "workflow_job": {"id": "6"}}}}),
        ),
        Shows::Body(json!({"id": 7, "guid": "g", "event": "workflow_job", "request": {"payload": null}})),
    ];
    for (shows, job) in bad.into_iter().zip(1..) {
        hook.add(Attempt { shows, ..hook.job(FIRST + job, job, "queued") });
    }
    hook.queue(8..=8);
    let answer = hook.poll();
    assert_eq!(hook.launched(), [8]);
    let problems = answer.body["problems"].as_array().unwrap();
    for told in ["404", "410", "too large", "another App, 999", "workflow_job.id", "no payload"] {
        assert!(problems.iter().any(|problem| problem.as_str().unwrap().contains(told)), "{told}: {problems:?}");
    }
    assert_eq!(hook.platform.increment("gha-slurm/1/count/gha_slurm_webhooks_ignored_total/unreadable", 0), Ok(6));
    assert_eq!(hook.world.borrow().redelivered, [] as [u64; 0], "nothing is received here");

    // GitHub shows it a little later.
    hook.world.borrow_mut().attempts[0].shows = Shows::Whole;
    hook.pass(10);
    hook.poll();
    assert_eq!(hook.launched(), [8, 1]);
    for _ in 0..100 {
        hook.pass(60);
        hook.poll();
    }
    let of = |job: u64| hook.read().iter().filter(|read| **read == job).count();
    assert_eq!([1, 2, 3, 4, 5, 6, 7].map(of), [2, 5, 1, 5, 1, 1, 5], "then they are given up");
}

#[test]
fn a_delivery_that_github_fails_to_show_keeps_the_others_for_three_runs() {
    let hook = hook();
    hook.queue(1..=2);
    hook.world.borrow_mut().attempts[0].shows = Shows::Status(502);
    for expected in [&[][..], &[], &[2]] {
        hook.poll();
        assert_eq!(hook.launched(), expected);
        hook.pass(3);
    }
    hook.world.borrow_mut().attempts[0].shows = Shows::Whole;
    hook.pass(10);
    hook.poll();
    assert_eq!(hook.launched(), [2, 1]);
}

#[test]
fn a_part_of_each_hours_calls_is_left_to_others() {
    let hook = hook();
    let begun = hook.platform.seconds.get();
    hook.world.borrow_mut().remaining = Some((1100, begun + 3600));
    hook.queue(1..=300);
    for _ in 0..100 {
        hook.poll();
        hook.pass(30);
    }
    let left = hook.world.borrow().remaining.unwrap().0;
    assert!((1000 - 17..1000).contains(&left), "{left}");
    assert!(hook.launched().len() < 120);
    let answer = hook.poll();
    assert!(
        (answer.status, answer.body["problems"].to_string().contains("no deliveries be read")) == (503, true),
        "{}",
        answer.body
    );
    hook.pass(600);
    hook.poll_until_done();
    assert_eq!(hook.launched(), (1..=300).collect::<Vec<_>>());
}

#[test]
fn a_github_that_shows_nothing_for_hours_loses_nothing() {
    let hook = hook();
    hook.queue(1..=20);
    hook.world.borrow_mut().attempts.iter_mut().for_each(|attempt| attempt.shows = Shows::Status(502));
    for _ in 0..6 * 120 {
        let answer = hook.poll();
        assert!(!answer.body.to_string().contains("given up"), "{}", answer.body);
        hook.pass(30);
    }
    hook.show_all();
    hook.pass(600);
    hook.poll_until_done();
    assert_eq!(hook.launched_sorted(), (1..=20).collect::<Vec<_>>());
}

#[test]
fn what_fails_until_it_is_a_day_old_is_given_up_and_told() {
    let hook = hook();
    hook.queue(1..=1);
    hook.world.borrow_mut().attempts[0].shows = Shows::Status(502);
    let mut told = 0;
    for _ in 0..25 * 60 {
        told += u32::from(hook.poll().body["problems"].to_string().contains("given up"));
        hook.pass(60);
    }
    assert_eq!(told, 1);
    let reads = hook.read().len();
    assert!(reads < 160, "{reads}: every ten minutes");
    hook.pass(3600);
    hook.poll();
    assert_eq!(hook.read().len(), reads);
}

#[test]
fn where_no_more_can_be_put_aside_the_list_waits_and_what_is_aside_is_tried() {
    let hook = hook();
    hook.queue(1..=420);
    hook.world.borrow_mut().attempts.iter_mut().for_each(|attempt| attempt.shows = Shows::Status(502));
    let mut full = false;
    for _ in 0..1300 {
        let answer = hook.poll();
        full = answer.body["problems"].to_string().contains("too many deliveries wait");
        hook.pass(30);
    }
    assert!(full && hook.poll().status == 503);
    // The first of those that wait would be put aside as well.
    hook.show_all();
    for attempt in hook.world.borrow_mut().attempts.iter_mut().filter(|attempt| attempt.id > FIRST + 395) {
        attempt.shows = Shows::Status(404);
    }
    for _ in 0..60 {
        hook.poll();
        hook.pass(30);
    }
    assert!(hook.launched().len() >= 390, "{}", hook.launched().len());
    hook.show_all();
    hook.pass(3600);
    hook.poll_until_done();
    assert_eq!(hook.launched_sorted(), (1..=420).collect::<Vec<_>>());
}

#[test]
fn a_profile_that_names_no_cluster_that_is_there_stops_its_own_jobs_alone() {
    let hook = hook();
    hook.queue(1..=1);
    hook.add(hook.misplaced(2));
    hook.queue(3..=20);
    let answer = hook.poll();
    assert!(answer.body["problems"].to_string().contains("no cluster gone"), "{}", answer.body);
    assert_eq!(hook.launched(), [1].into_iter().chain(3..=20).collect::<Vec<_>>());
    let mut told = 0;
    for _ in 0..3 * 60 {
        hook.pass(60);
        told += u32::from(hook.poll().body["problems"].to_string().contains("no cluster gone"));
    }
    assert!((10..30).contains(&told), "{told}");
    hook.correct_profiles();
    hook.pass(600);
    hook.poll();
    assert!(hook.launched().contains(&2));
}

#[test]
fn a_job_whose_facts_are_garbage_keeps_the_others_for_three_runs() {
    let hook = hook();
    hook.queue(1..=2);
    hook.platform.plant("gha-slurm/1/job/1/requested", b"?");
    for _ in 0..3 {
        hook.poll();
        hook.pass(3);
    }
    assert_eq!(hook.launched(), [2]);
}

#[test]
fn a_wrong_setting_stops_all_until_it_is_corrected() {
    let hook = hook();
    hook.queue(1..=40);
    hook.platform.set_variable("profiles", Some("[[profile]]"));
    for _ in 0..10 {
        let answer = hook.poll();
        assert!(answer.body["problems"][0].as_str().unwrap().contains("profiles"), "{}", answer.body);
        hook.pass(3);
    }
    assert_eq!(hook.read(), [] as [u64; 0], "no call is made for nothing");
    hook.platform.set_variable("profiles", None);
    hook.poll_until_done();
    assert_eq!(hook.launched(), (1..=40).collect::<Vec<_>>());
}

#[test]
fn a_gateway_that_hangs_slows_one_delivery_and_not_all() {
    let hook = hook();
    hook.queue(1..=16);
    hook.world.borrow_mut().gateway_seconds = 6;
    let begun = hook.platform.seconds.get();
    let sent = hook.platform.sent.borrow().len();
    hook.poll();
    assert!(hook.platform.seconds.get() - begun <= 26);
    let deadlines: Vec<u64> = hook.platform.sent.borrow()[sent..]
        .iter()
        .filter(|sent| sent.url.path() == "/runner/start")
        .map(|sent| sent.deadline.as_secs())
        .collect();
    assert_eq!(deadlines[..2], [7, 1], "the second gets one second");
}

#[test]
fn several_attempts_at_one_delivery_are_read_once() {
    let hook = hook();
    for id in 1..=20 {
        hook.add(Attempt { guid: "same".to_owned(), ..hook.job(FIRST + id, 1, "queued") });
    }
    hook.poll();
    assert!(hook.read().len() <= 16, "{:?}", hook.read());
    hook.pass(3);
    hook.add(hook.job(FIRST + 30, 2, "queued"));
    hook.poll();
    assert_eq!(hook.launched(), [1, 2]);
    assert_eq!(hook.read().last(), Some(&30));
}

#[test]
fn the_first_reading_begins_a_day_ago_and_what_became_a_day_old_is_left_alone() {
    let hook = hook();
    hook.queue(1..=1);
    hook.pass(24 * 60 * 60 + 1);
    hook.queue(2..=2);
    hook.poll();
    assert_eq!(hook.read(), [2]);
    hook.queue(3..=3);
    hook.pass(25 * 60 * 60);
    hook.queue(4..=4);
    hook.poll();
    assert_eq!(hook.read(), [2, 4]);
}

#[test]
fn what_was_received_before_is_not_read_and_what_did_not_arrive_then_is() {
    let hook = Hook::new("receive");
    hook.add(Attempt { status: "OK", ..hook.job(FIRST + 1, 1, "queued") });
    hook.tick();
    hook.pass(10);
    hook.add(Attempt { status: "OK", ..hook.job(FIRST + 2, 2, "queued") });
    hook.queue(3..=3);
    hook.pass(10);
    hook.platform.set_variable("webhooks", Some("poll"));
    hook.poll();
    assert_eq!(hook.read(), [3]);
    hook.pass(10);
    // Whatever answers there now.
    hook.add(Attempt { status: "OK", ..hook.job(FIRST + 4, 4, "queued") });
    hook.poll();
    assert_eq!(hook.launched(), [3, 4]);
}

#[test]
fn a_time_that_lies_ahead_hides_nothing() {
    let hook = hook();
    hook.add(Attempt { at: hook.platform.seconds.get() + 3600, ..hook.job(FIRST + 1, 1, "queued") });
    hook.poll();
    hook.pass(3);
    hook.queue(2..=2);
    hook.poll();
    assert_eq!(hook.launched(), [1, 2]);
}

#[test]
fn the_list_of_another_app_is_read_from_its_beginning() {
    let hook = hook();
    hook.queue(50..=50);
    hook.poll();
    hook.world.borrow_mut().attempts.clear();
    hook.platform.set_variable("github_app_id", Some("654321"));
    let mut attempt = hook.job(FIRST + 1, 1, "queued");
    attempt.shows = Shows::Body(whole(&attempt, "654321"));
    attempt.at -= 600;
    hook.add(attempt);
    hook.poll();
    assert_eq!(hook.launched(), [50, 1]);
}

#[test]
fn pages_that_are_gone_are_found_again_from_the_top() {
    let hook = hook();
    hook.queue(1..=350);
    hook.world.borrow_mut().seconds_a_call = 6;
    hook.poll();
    assert!(hook.launched().is_empty(), "it is on its way down");
    hook.world.borrow_mut().seconds_a_call = 0;
    let sent = hook.platform.sent.borrow().len();
    // The cursor is refused once.
    hook.world.borrow_mut().calls_left = Some(0);
    let world = Rc::clone(&hook.world);
    hook.platform.serve(move |platform, request| {
        let refuses =
            request.url.query().is_some_and(|query| query.contains("cursor")) && world.borrow().calls_left == Some(0);
        if refuses {
            world.borrow_mut().calls_left = None;
            return gha_slurm_core::testing::answer(422, &json!({"message": "Invalid cursor"}));
        }
        world.borrow_mut().calls_left = None;
        world.borrow_mut().answer(platform, request)
    });
    hook.pass(40);
    hook.poll_until_done();
    assert!(hook.platform.sent.borrow().len() > sent);
    assert_eq!(hook.launched(), (1..=350).collect::<Vec<_>>());
}

#[test]
fn while_one_replica_reads_another_one_leaves_it_alone() {
    let hook = hook();
    hook.queue(1..=5);
    let second = |platform: &Memory| {
        let mut request = authorized("Bearer an-admin-token-of-32-characters!");
        request.target = "/internal/deliveries".to_owned();
        let sent = platform.sent.borrow().len();
        let answer = tick(platform, &request);
        assert_eq!((answer.status, &answer.body["read"]), (200, &json!(0)));
        assert_eq!(platform.sent.borrow().len(), sent, "it asks GitHub nothing");
    };
    hook.world.borrow_mut().meanwhile = Some(Rc::new(second));
    hook.poll();
    assert_eq!(hook.launched(), [1, 2, 3, 4, 5]);
}

#[test]
fn two_replicas_that_read_at_the_same_moment_do_no_harm() {
    let hook = hook();
    hook.queue(1..=40);
    // Another one begins and ends while this one asks for the list, before it has the turn.
    hook.world.borrow_mut().before_list.push_back(Box::new(|_, _| {}));
    let world = Rc::clone(&hook.world);
    let other = Rc::new(std::cell::Cell::new(true));
    hook.platform.serve(move |platform, request| {
        if request.url.path() == "/app/hook/deliveries" && other.replace(false) {
            let mut request = authorized("Bearer an-admin-token-of-32-characters!");
            request.target = "/internal/deliveries".to_owned();
            assert_eq!(tick(platform, &request).body["read"], json!(40));
        }
        world.borrow_mut().answer(platform, request)
    });
    hook.poll();
    hook.pass(3);
    hook.queue(41..=41);
    hook.poll_until_done();
    assert_eq!(hook.launched(), (1..=41).collect::<Vec<_>>(), "each once");
}

#[test]
fn who_died_with_the_turn_keeps_it_for_half_a_minute() {
    let hook = hook();
    hook.queue(1..=1);
    hook.platform.lives.set(Some(12));
    hook.poll();
    hook.platform.lives.set(None);
    hook.pass(31);
    hook.poll();
    assert!(hook.is_known(1));
}

#[test]
fn the_tick_reads_as_well_and_has_time_for_the_rest() {
    let hook = hook();
    hook.queue(1..=400);
    hook.world.borrow_mut().seconds_a_call = 1;
    let report = hook.tick();
    assert!(report["read"].as_u64().is_some_and(|read| read < 40), "{report}");
    assert_eq!((&report["more"], &report["redelivered"]), (&json!(true), &json!(0)));
}

#[test]
fn a_webhook_is_not_received_where_deliveries_are_read_and_the_other_way_round() {
    let hook = hook();
    let refused = receive(&hook.platform, &delivery(&Scene::event("octo/repo", "queued", 1)));
    assert_eq!(refused.status, 404);
    assert!(refused.body["error"].as_str().unwrap().contains("webhooks = poll"), "{}", refused.body);
    assert_eq!((hook.platform.operations.get(), hook.is_known(1)), (0, false), "and costs nothing");
    hook.platform.set_variable("webhooks", Some("receive"));
    assert_eq!(hook.poll().status, 404);
    hook.platform.set_variable("webhooks", Some("both"));
    assert_eq!(hook.poll().status, 500);
    let unset = authorized("Bearer wrong");
    assert_eq!(tick(&hook.platform, &unset).status, 401);
    assert!(hook.platform.sent.borrow().iter().all(|sent| sent.method != HttpMethod::Post));
}
