//! Who gets a launch, for how long, and who does not.

use gha_slurm_core::ledger::{Held, Ledger, Scope, Stops};
use gha_slurm_core::lifecycle::Progress;
use gha_slurm_core::ports::Store;
use gha_slurm_protocol::identity::JobId;
use serde_json::json;

use super::{
    LEASE, SKEW, ask, facts, fetch, finish, moves, orders_left, pass, platform, queue, report, retry, state, submitted,
};

fn first(launch: &str) -> Vec<(String, bool)> {
    vec![(launch.to_owned(), false)]
}

fn again(launch: &str) -> Vec<(String, bool)> {
    vec![(launch.to_owned(), true)]
}

#[test]
fn a_launch_is_handed_out_to_its_own_cluster_only() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    queue(&platform, 2, &["eiger", "alps"]);
    assert_eq!(fetch(&platform, "alps", "login1", 8), first("1-1"));
    assert_eq!(fetch(&platform, "eiger", "login1", 8), first("2-1"));
}

#[test]
fn a_launch_whose_facts_cannot_be_read_keeps_no_other_from_its_gateway() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    queue(&platform, 2, &["alps"]);
    platform.set("gha-slurm/1/launch/1-1/leased", b"garbage").unwrap();
    assert_eq!(fetch(&platform, "alps", "login1", 8), first("2-1"));
    assert!(fetch(&platform, "alps", "login1", 8).is_empty());
    platform.delete("gha-slurm/1/launch/1-1/leased").unwrap();
    assert_eq!(fetch(&platform, "alps", "login1", 8), first("1-1"));
}

#[test]
fn a_lease_that_ran_out_is_given_again_with_the_word_that_somebody_may_have_submitted_it() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    assert_eq!(fetch(&platform, "alps", "login1", 8), first("1-1"));
    pass(&platform, LEASE - 1);
    assert!(fetch(&platform, "alps", "login1", 8).is_empty());
    pass(&platform, 1);
    assert_eq!(fetch(&platform, "alps", "login1", 8), again("1-1"));
}

/// A replica's clock may be two minutes ahead of that of the one that gave the lease, and the gateway that has it is still
/// submitting.
#[test]
fn no_other_gateway_gets_a_launch_whose_lease_ran_out_by_a_clock_that_is_ahead() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    assert_eq!(fetch(&platform, "alps", "login1", 8), first("1-1"));
    pass(&platform, LEASE + SKEW - 1);
    assert!(fetch(&platform, "alps", "login2", 8).is_empty());
    pass(&platform, 1);
    assert_eq!(fetch(&platform, "alps", "login2", 8), again("1-1"));
}

/// A launch that could not be submitted for a moment must not wait for the end of its lease.
#[test]
fn who_gives_a_launch_back_has_it_again_when_it_is_offered_anew() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    fetch(&platform, "alps", "login1", 8);
    pass(&platform, 2);
    report(&platform, "login1", &json!([{"launch": "1-1", "news": "unavailable", "message": "slurmctld is away"}]));
    assert!(fetch(&platform, "alps", "login1", 8).is_empty());
    let Progress::Deferred(_, why) = retry(&platform, 1, &["alps"]) else { panic!("it waits a little") };
    assert!(why.to_string().contains("slurmctld is away"), "{why}");
    pass(&platform, 7);
    assert!(matches!(retry(&platform, 1, &["alps"]), Progress::Offered(..)));
    assert!(fetch(&platform, "alps", "login2", 8).is_empty(), "as long as the other one may be at it");
    assert_eq!(fetch(&platform, "alps", "login1", 8), again("1-1"));
}

/// The report of a gateway whose lease ran out long ago is about nothing that another one does.
#[test]
fn a_late_no_of_one_gateway_is_not_anothers() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    fetch(&platform, "alps", "login1", 8);
    pass(&platform, LEASE + SKEW);
    assert_eq!(fetch(&platform, "alps", "login2", 8), again("1-1"));
    for news in ["refused", "unavailable"] {
        report(&platform, "login1", &json!([{"launch": "1-1", "news": news, "message": "no"}]));
        assert!(facts(&platform, "1-1").submissions().last_failure().unwrap().is_none(), "{news}");
        assert!(facts(&platform, "1-1").offered().unwrap().is_some(), "{news}");
    }
    report(&platform, "login2", &json!([{"launch": "1-1", "news": "refused", "message": "no Slurm user"}]));
    let failure = facts(&platform, "1-1").submissions().last_failure().unwrap().unwrap();
    assert!(failure.why.contains("no Slurm user"), "{}", failure.why);
}

#[test]
fn what_nothing_needs_any_more_is_never_handed_out() {
    let platform = platform();
    for job in 1..=3 {
        queue(&platform, job, &["alps"]);
    }
    finish(&platform, 1);
    facts(&platform, "2-1").record_withdrawn().unwrap();
    assert_eq!(fetch(&platform, "alps", "login1", 8), first("3-1"));
    report(&platform, "login1", &json!([submitted("3-1")]));
    assert!(orders_left(&platform).is_empty());
}

#[test]
fn a_job_that_was_held_back_is_offered_again_at_once_when_it_is_released() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    let job = Ledger(&platform).job(JobId(1));
    job.record_held(None, None).unwrap();
    assert!(fetch(&platform, "alps", "login1", 8).is_empty());
    assert!(orders_left(&platform).is_empty());
    let held: Option<Held> = job.view().unwrap().held;
    assert!(held.is_some());
    job.record_released().unwrap();
    assert!(matches!(retry(&platform, 1, &["alps"]), Progress::Offered(..)));
    assert_eq!(fetch(&platform, "alps", "login1", 8), again("1-1"));
}

#[test]
fn nothing_is_handed_out_during_a_stop_and_all_of_it_after_that() {
    let platform = platform();
    for job in 1..=20 {
        queue(&platform, job, &["alps"]);
    }
    let stops = Stops(&platform);
    stops.stop(&Scope::All).unwrap();
    assert!(fetch(&platform, "alps", "login1", 64).is_empty());
    assert!(orders_left(&platform).is_empty(), "and nobody looks at it again and again");
    assert!(matches!(retry(&platform, 1, &["alps"]), Progress::Deferred(..)));
    stops.resume(&Scope::All).unwrap();
    for job in 1..=20 {
        assert!(matches!(retry(&platform, job, &["alps"]), Progress::Offered(..)), "{job}");
    }
    assert_eq!(fetch(&platform, "alps", "login1", 64).len(), 20);
}

#[test]
fn a_launch_of_a_silent_cluster_moves_and_is_cancelled_where_it_was_as_soon_as_that_asks() {
    let platform = platform();
    let clusters = ["alps", "eiger"];
    queue(&platform, 1, &clusters);
    assert_eq!(fetch(&platform, "alps", "login1", 8), first("1-1"));
    fetch(&platform, "eiger", "login1", 8);
    pass(&platform, 10 * 60);
    assert!(!moves(&platform, 1, &clusters), "the other one is silent as well");
    assert!(fetch(&platform, "eiger", "login1", 8).is_empty());
    assert!(moves(&platform, 1, &clusters));
    assert!(matches!(retry(&platform, 1, &clusters), Progress::Offered(..)));
    assert_eq!(fetch(&platform, "eiger", "login1", 8), first("1-2"));
    ask(&platform, "eiger", &json!({"gateway": "login1", "reports": [submitted("1-2")]}));
    // It comes back, and had submitted it: it is told in the same answer.
    let answer = report(&platform, "login1", &json!([submitted("1-1")]));
    assert_eq!((&answer["cancel"], &answer["unknown"]), (&json!(["1-1"]), &json!([])));
    assert!(fetch(&platform, "alps", "login1", 8).is_empty());
    report(&platform, "login1", &json!([{"launch": "1-1", "news": "cancelled"}]));
    assert!(orders_left(&platform).is_empty());
}

#[test]
fn while_all_clusters_are_silent_no_job_goes_around_and_the_first_that_is_back_gets_it() {
    let platform = platform();
    let clusters = ["alps", "eiger"];
    queue(&platform, 1, &clusters);
    for _ in 0..100 {
        pass(&platform, 10 * 60);
        assert!(!moves(&platform, 1, &clusters));
        retry(&platform, 1, &clusters);
    }
    assert!(fetch(&platform, "eiger", "login1", 8).is_empty());
    assert!(moves(&platform, 1, &clusters));
    retry(&platform, 1, &clusters);
    assert_eq!(fetch(&platform, "eiger", "login1", 8), first("1-2"));
    assert!(fetch(&platform, "alps", "login1", 8).is_empty());
}

#[test]
fn a_gateway_that_fetches_and_never_reports_keeps_no_launch_from_another_cluster() {
    let platform = platform();
    let clusters = ["alps", "eiger"];
    queue(&platform, 1, &clusters);
    let mut moved = None;
    for minute in 0..60 {
        fetch(&platform, "alps", "login1", 8);
        fetch(&platform, "eiger", "login1", 0);
        if moves(&platform, 1, &clusters) {
            moved = Some(minute);
            break;
        }
        retry(&platform, 1, &clusters);
        pass(&platform, 60);
    }
    assert!(moved.is_some_and(|minute| (10..=15).contains(&minute)), "{moved:?}");
}

/// A cluster that has room for a few takes what came first, however long that waited.
#[test]
fn what_waits_for_room_keeps_its_place_before_what_came_later() {
    let platform = platform();
    for job in 1..=30 {
        queue(&platform, job, &["alps"]);
    }
    let mut taken = Vec::new();
    for minute in 0..60 {
        pass(&platform, 60);
        if minute % 2 == 0 {
            queue(&platform, 100 + minute, &["alps"]);
        }
        for job in 1..=30 {
            retry(&platform, job, &["alps"]);
        }
        if minute % 2 == 0 {
            for (launch, _) in fetch(&platform, "alps", "login1", 1) {
                report(&platform, "login1", &json!([submitted(&launch)]));
                taken.push(launch);
            }
        } else {
            fetch(&platform, "alps", "login1", 0);
        }
    }
    let expected: Vec<String> = (1..=30).map(|job| format!("{job}-1")).collect();
    assert_eq!(taken, expected);
}

#[test]
fn a_state_that_comes_before_its_submission_tells_of_both() {
    let platform = platform();
    for job in 1..=2 {
        queue(&platform, job, &["alps"]);
    }
    fetch(&platform, "alps", "login1", 8);
    report(&platform, "login1", &json!([state("1-1", "RUNNING"), state("2-1", "NODE_FAIL")]));
    assert!(facts(&platform, "1-1").launched().unwrap().is_some());
    assert!(facts(&platform, "2-1").ended().unwrap().is_some());
    report(&platform, "login1", &json!([submitted("1-1"), submitted("2-1"), state("2-1", "RUNNING")]));
    assert!(facts(&platform, "2-1").ended().unwrap().is_some(), "what is over stays over");
    assert!(orders_left(&platform).is_empty());
}
