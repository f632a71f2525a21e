//! What gateways tell, and may not tell.

use gha_slurm_core::ledger::{Heard, Ledger, LostReason, Requested};
use gha_slurm_core::lifecycle::withdraw_unneeded;
use serde_json::{Value, json};

use super::{
    LEASE, SKEW, ask, destination, facts, fetch, finish, nothing_to_do, of_clusters, orders_left, pass, platform,
    queue, queue_as, report, retry, state, submit_and_withdraw, submitted,
};

fn cancelled(launch: &str) -> Value {
    json!({"launch": launch, "news": "cancelled"})
}

#[test]
fn what_is_told_of_another_clusters_launch_or_of_none_is_of_no_use() {
    let platform = platform();
    queue(&platform, 1, &["eiger"]);
    queue(&platform, 2, &["alps"]);
    queue(&platform, 3, &["tave"]);
    let before = platform.values();
    for launch in ["1-1", "2-2", "3-1", "99-1", "2-13"] {
        for news in [
            submitted(launch),
            state(launch, "COMPLETED"),
            cancelled(launch),
            json!({"launch": launch, "news": "refused", "message": "no"}),
            json!({"launch": launch, "news": "unavailable", "message": "no"}),
        ] {
            let answer = report(&platform, "login1", &json!([news]));
            assert_eq!(answer["unknown"], json!([launch]), "{news}");
        }
    }
    let changed: Vec<String> =
        platform.values().into_iter().filter(|value| !before.contains(value)).map(|(key, _)| key).collect();
    assert!(changed.iter().all(|key| key.starts_with("gha-slurm/1/cluster/alps/")), "{changed:?}");
}

#[test]
fn what_is_told_twice_changes_nothing() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    fetch(&platform, "alps", "login1", 8);
    let all = json!([submitted("1-1"), state("1-1", "RUNNING"), state("1-1", "FAILED")]);
    report(&platform, "login1", &all);
    let before = platform.values();
    pass(&platform, 5);
    for _ in 0..3 {
        report(&platform, "login1", &all);
    }
    let changed: Vec<String> =
        platform.values().into_iter().filter(|value| !before.contains(value)).map(|(key, _)| key).collect();
    assert!(changed.is_empty(), "{changed:?}");
    assert_eq!(platform.audited.borrow().iter().filter(|line| line.contains("\"launch\"")).count(), 1);
}

#[test]
fn a_launch_whose_job_ended_on_its_way_is_cancelled_in_the_same_answer() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    fetch(&platform, "alps", "login1", 8);
    finish(&platform, 1);
    let answer = report(&platform, "login1", &json!([submitted("1-1")]));
    assert_eq!(answer["cancel"], json!(["1-1"]));
    assert_eq!(report(&platform, "login1", &json!([]))["cancel"], json!([]), "not again at once");
    pass(&platform, 60);
    assert_eq!(report(&platform, "login1", &json!([]))["cancel"], json!(["1-1"]), "until it is told");
    report(&platform, "login1", &json!([cancelled("1-1")]));
    pass(&platform, 60);
    assert_eq!(report(&platform, "login1", &json!([]))["cancel"], json!([]));
    assert!(orders_left(&platform).is_empty());
}

#[test]
fn a_launch_that_nobody_has_cancelled_stays_what_it_is() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    fetch(&platform, "alps", "login1", 8);
    report(&platform, "login1", &json!([cancelled("1-1")]));
    assert!(!facts(&platform, "1-1").cancelled().unwrap());
    report(&platform, "login1", &json!([submitted("1-1")]));
    finish(&platform, 1);
    let answer = report(&platform, "login1", &json!([state("1-1", "PENDING")]));
    assert_eq!(answer["cancel"], json!(["1-1"]));
}

/// Of two gateways with an index each, the one that did not submit a launch has nothing to cancel.
#[test]
fn an_order_to_cancel_waits_for_the_gateway_that_has_the_launch() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    fetch(&platform, "alps", "login2", 0);
    fetch(&platform, "alps", "login1", 8);
    report(&platform, "login1", &json!([submitted("1-1")]));
    finish(&platform, 1);
    withdraw_unneeded(&platform, &destination(&platform), "1-1".parse().unwrap()).unwrap();
    assert_eq!(report(&platform, "login2", &json!([]))["cancel"], json!([]));
    // Of two that write at once that they ask, one is forgotten for a moment.
    let heard = Heard::default().with("login2", None, platform.seconds.get());
    Ledger(&platform).record_heard(&"alps".parse().unwrap(), &heard).unwrap();
    assert_eq!(report(&platform, "login2", &json!([]))["cancel"], json!([]));
    assert_eq!(report(&platform, "login1", &json!([]))["cancel"], json!(["1-1"]));
}

/// The launch was withdrawn at the moment in which it was redeemed: GitHub may have given a job to its runner.
#[test]
fn a_runner_that_registered_is_not_cancelled() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    fetch(&platform, "alps", "login1", 8);
    report(&platform, "login1", &json!([submitted("1-1")]));
    finish(&platform, 1);
    withdraw_unneeded(&platform, &destination(&platform), "1-1".parse().unwrap()).unwrap();
    assert!(facts(&platform, "1-1").commit_redemption().unwrap());
    assert_eq!(report(&platform, "login1", &json!([]))["cancel"], json!([]));
    assert!(orders_left(&platform).is_empty());
}

#[test]
fn where_that_gateway_does_not_ask_any_more_another_one_is_told_to_cancel() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    fetch(&platform, "alps", "login1", 8);
    report(&platform, "login1", &json!([submitted("1-1")]));
    finish(&platform, 1);
    withdraw_unneeded(&platform, &destination(&platform), "1-1".parse().unwrap()).unwrap();
    pass(&platform, 180);
    assert_eq!(report(&platform, "login2", &json!([]))["cancel"], json!(["1-1"]));
    report(&platform, "login2", &json!([cancelled("1-1")]));
    assert!(facts(&platform, "1-1").cancelled().unwrap());
    // It had nothing to cancel, and the one that has it is back.
    let answer = report(&platform, "login1", &json!([state("1-1", "PENDING")]));
    assert_eq!(answer["cancel"], json!([]), "that was a minute ago at most");
    pass(&platform, 60);
    assert_eq!(report(&platform, "login2", &json!([]))["cancel"], json!([]));
    assert_eq!(report(&platform, "login1", &json!([]))["cancel"], json!(["1-1"]));
    report(&platform, "login1", &json!([cancelled("1-1"), state("1-1", "CANCELLED")]));
    assert!(orders_left(&platform).is_empty());
}

#[test]
fn the_report_of_a_gateway_that_was_away_while_another_submitted_its_launch_is_taken() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    fetch(&platform, "alps", "login1", 8);
    pass(&platform, LEASE + SKEW);
    fetch(&platform, "alps", "login2", 8);
    report(&platform, "login1", &json!([submitted("1-1")]));
    let answer = report(&platform, "login2", &json!([submitted("1-1")]));
    assert_eq!(answer, nothing_to_do());
    assert!(facts(&platform, "1-1").launched().unwrap().is_some());
}

#[test]
fn a_refusal_is_told_and_tried_again_after_a_while() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    fetch(&platform, "alps", "login1", 8);
    let long = "x".repeat(1000) + "\u{1b}[31m";
    report(&platform, "login1", &json!([{"launch": "1-1", "news": "refused", "message": long}]));
    let failure = facts(&platform, "1-1").submissions().last_failure().unwrap().unwrap();
    assert!(failure.why.len() < 400 && !failure.why.contains('\u{1b}'), "{}", failure.why);
    pass(&platform, 9 * 60);
    retry(&platform, 1, &["alps"]);
    assert!(fetch(&platform, "alps", "login1", 8).is_empty());
    pass(&platform, 4 * 60);
    retry(&platform, 1, &["alps"]);
    assert_eq!(fetch(&platform, "alps", "login1", 8), [("1-1".to_owned(), true)]);
}

/// A report that the store cannot be read for is no reason to forget the others.
#[test]
fn a_launch_with_a_broken_fact_keeps_no_other_from_being_told_of() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    queue(&platform, 2, &["alps"]);
    fetch(&platform, "alps", "login1", 8);
    platform.plant("gha-slurm/1/launch/1-1/launched", b"?");
    report(&platform, "login1", &json!([submitted("1-1"), submitted("2-1")]));
    assert!(facts(&platform, "2-1").launched().unwrap().is_some());
    queue(&platform, 3, &["alps"]);
    let said = json!({"gateway": "login1", "room": 8, "reports": [submitted("1-1")]});
    let answer = ask(&platform, "alps", &said);
    assert_eq!(answer["launches"].as_array().unwrap().len(), 1, "nor from being handed out");
}

#[test]
fn a_report_that_could_not_be_written_down_is_to_be_told_again() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    queue(&platform, 2, &["alps"]);
    fetch(&platform, "alps", "login1", 8);
    platform.plant("gha-slurm/1/launch/1-1/cancelled", b"?");
    let all = json!([submitted("1-1"), submitted("2-1"), state("1-1", "FAILED"), state("2-1", "FAILED")]);
    let answer = report(&platform, "login1", &all);
    assert_eq!((&answer["not_taken"], &answer["unknown"]), (&json!(["1-1"]), &json!([])));
    gha_slurm_core::ports::Store::delete(&platform, "gha-slurm/1/launch/1-1/cancelled").unwrap();
    let answer = report(&platform, "login1", &json!([submitted("1-1"), state("1-1", "FAILED")]));
    assert_eq!(answer, nothing_to_do());
    for launch in ["1-1", "2-1"] {
        assert!(facts(&platform, launch).launched().unwrap().is_some(), "{launch}");
        assert!(facts(&platform, launch).ended().unwrap().is_some(), "{launch}");
    }
}

#[test]
fn an_end_is_seen_though_what_follows_from_its_submission_fails() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    fetch(&platform, "alps", "login1", 8);
    platform.plant("gha-slurm/1/launch/1-1/redeemed", b"?");
    let answer = report(&platform, "login1", &json!([state("1-1", "NODE_FAIL")]));
    assert_eq!(answer["not_taken"], json!(["1-1"]));
    assert!(facts(&platform, "1-1").ended().unwrap().is_some());
}

/// That is how each cancel goes.
#[test]
fn the_end_of_a_launch_that_was_cancelled_orders_no_other_cancel() {
    let platform = platform();
    submit_and_withdraw(&platform, "login1", 1..=1);
    assert_eq!(report(&platform, "login1", &json!([]))["cancel"], json!(["1-1"]));
    report(&platform, "login1", &json!([cancelled("1-1"), state("1-1", "CANCELLED")]));
    assert!(facts(&platform, "1-1").cancelled().unwrap());
    assert!(orders_left(&platform).is_empty());
    pass(&platform, 60);
    assert_eq!(report(&platform, "login1", &json!([]))["cancel"], json!([]));
}

#[test]
fn a_launch_of_an_absurd_number_costs_no_more_than_any_other() {
    let platform = platform();
    queue(&platform, 1, &["alps", "eiger"]);
    for launch in ["1-13", "1-4294967295", "99-4294967295"] {
        let reads = platform.reads.get();
        let answer = report(&platform, "login1", &json!([submitted(launch)]));
        assert_eq!(answer["unknown"], json!([launch]));
        assert!(platform.reads.get() - reads < 10, "{launch}: {}", platform.reads.get() - reads);
    }
}

/// Each of many reports takes time, and the gateway waits for its answer.
#[test]
fn what_there_was_no_time_for_is_to_be_told_again() {
    let platform = platform();
    for job in 1..=20 {
        queue(&platform, job, &["alps"]);
    }
    fetch(&platform, "alps", "login1", 10);
    let reports: Vec<Value> = (1..=10).map(|job| submitted(&format!("{job}-1"))).collect();
    platform.meanwhile(60, |platform| pass(platform, 10));
    let said = json!({"gateway": "login1", "room": 8, "reports": reports});
    let answer = ask(&platform, "alps", &said);
    assert!(!platform.uninterrupted());
    let again: Vec<&str> = answer["not_taken"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert!((1..10).contains(&again.len()), "{again:?}");
    for job in 1..=10 {
        let launch = format!("{job}-1");
        let taken = facts(&platform, &launch).launched().unwrap().is_some();
        assert_eq!(taken, !again.contains(&launch.as_str()), "{launch}");
    }
    assert_eq!(answer["launches"].as_array().unwrap().len(), 8, "there is time for what is to be done");
}

/// The line of a profile is walked once for all that ended.
#[test]
fn the_ends_of_many_cost_one_walk_along_the_line_of_their_profile() {
    const JOBS: u64 = 40;
    let cost = |max_running| {
        let platform = platform();
        for job in 1..=JOBS {
            queue_as(&platform, job, Requested { max_running, ..of_clusters(&["alps"]) });
        }
        fetch(&platform, "alps", "login1", 64);
        let of_all = |news: &dyn Fn(&str) -> Value| (1..=JOBS).map(|job| news(&format!("{job}-1"))).collect::<Vec<_>>();
        report(&platform, "login1", &json!(of_all(&submitted)));
        (1..=JOBS).for_each(|job| finish(&platform, job));
        let reads = platform.reads.get();
        report(&platform, "login1", &json!(of_all(&|launch| state(launch, "COMPLETED"))));
        platform.reads.get() - reads
    };
    let (limited, free) = (cost(Some(40)), cost(None));
    assert!(limited < free + 40, "{limited} {free}");
}

#[test]
fn who_waits_has_the_places_of_those_that_ended_in_the_same_answer() {
    let platform = platform();
    for job in 1..=4 {
        queue_as(&platform, job, Requested { max_running: Some(2), ..of_clusters(&["alps"]) });
    }
    assert_eq!(fetch(&platform, "alps", "login1", 8).len(), 2);
    report(&platform, "login1", &json!([submitted("1-1"), submitted("2-1")]));
    let reports = json!([state("1-1", "FAILED"), state("2-1", "FAILED")]);
    let answer = ask(&platform, "alps", &json!({"gateway": "login1", "room": 8, "reports": reports}));
    assert_eq!(answer["launches"].as_array().unwrap().len(), 2);
}

/// After the retention nothing is known of a launch, and its order would stand for ever.
#[test]
fn an_order_to_cancel_of_a_deleted_job_is_forgotten_and_leaves_nothing() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    fetch(&platform, "alps", "login1", 8);
    report(&platform, "login1", &json!([submitted("1-1")]));
    finish(&platform, 1);
    withdraw_unneeded(&platform, &destination(&platform), "1-1".parse().unwrap()).unwrap();
    let job = "1-1".parse::<gha_slurm_protocol::identity::LaunchId>().unwrap().job;
    let keys = Ledger(&platform).job(job).keys().unwrap();
    gha_slurm_core::ports::Store::delete_many(&platform, &keys).unwrap();
    pass(&platform, 600);
    assert_eq!(report(&platform, "login1", &json!([]))["cancel"], json!([]));
    let left: Vec<String> = platform.keys().into_iter().filter(|key| key.contains("1-1")).collect();
    assert!(left.is_empty() && orders_left(&platform).is_empty(), "{left:?}");
}

#[test]
fn a_launch_that_was_lost_while_it_was_leased_is_cancelled_when_it_is_told_of() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    fetch(&platform, "alps", "login1", 8);
    facts(&platform, "1-1").record_lost(LostReason::Unserved).unwrap();
    let answer = ask(&platform, "alps", &json!({"gateway": "login1", "room": 8, "reports": [submitted("1-1")]}));
    assert_eq!((&answer["cancel"], &answer["launches"]), (&json!(["1-1"]), &json!([])));
}
