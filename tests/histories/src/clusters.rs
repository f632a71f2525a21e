//! Two clusters, from the webhook to the redemption.

use crate::act::Act;
use crate::history::History;
use crate::setup::{Reach, Setup};

fn history(first: Reach, second: Reach) -> History {
    let setup = Setup { first, second: Some(second), ..Setup::PUSHED };
    let history = History::with(setup, None, false, false);
    history.act(&Act::Queue(0));
    history
}

/// So many minutes pass in which these gateways ask and take nothing.
fn pass(history: &History, minutes: u64, asking: &[usize]) {
    for _ in 0..minutes {
        history.wait(60);
        asking.iter().for_each(|index| history.act(&Act::Exchange(*index, 0)));
        history.tick();
    }
}

fn redeem(history: &History, slurm_job: usize) -> u16 {
    let start = history.world.borrow().slurm[slurm_job].start.clone();
    history.redeem(&start).status
}

#[test]
fn the_token_of_a_launch_that_was_moved_is_dead_and_its_late_report_is_answered_with_a_cancel() {
    let history = history(Reach::Fetch(1), Reach::Fetch(1));
    history.act(&Act::Deliver(0));
    // Slurm has it, and then nothing more is heard of the gateway.
    for act in [Act::Exchange(0, 8), Act::Begin(0), Act::Land(0)] {
        history.act(&act);
    }
    pass(&history, 4, &[1]);
    assert!(!history.knows("launch/100-1/lost"), "not yet");
    pass(&history, 3, &[1]);
    assert!(history.knows("launch/100-1/lost"));
    assert_eq!(redeem(&history, 0), 410, "the first job of a cluster that is silent");
    history.act(&Act::Work(1));
    let clusters: Vec<usize> = history.world.borrow().slurm.iter().map(|job| job.cluster).collect();
    assert_eq!((clusters, redeem(&history, 1)), (vec![0, 1], 200));
    history.act(&Act::Exchange(0, 8));
    let states = [0, 1].map(|job| history.world.borrow().slurm_state(job));
    assert_eq!(states, ["CANCELLED", "PENDING"]);
    assert_eq!(history.world.borrow().violations, Vec::<String>::new());
}

#[test]
fn a_job_goes_back_to_a_gateway_that_is_called_as_soon_as_that_answers_again() {
    let history = history(Reach::Push, Reach::Fetch(1));
    history.act(&Act::Gateway(true));
    history.act(&Act::Deliver(0));
    pass(&history, 7, &[0]);
    assert!(history.knows("launch/100-1/lost") && history.knows("launch/100-2/offered"));
    pass(&history, 30, &[]);
    assert!(!history.knows("launch/100-2/lost"), "both are silent");
    history.act(&Act::Gateway(false));
    pass(&history, 2, &[]);
    let slurm = history.world.borrow().slurm.clone();
    let [launched] = &slurm[..] else { panic!("{slurm:?}") };
    assert_eq!((launched.cluster, &launched.start["launch"]), (0, &serde_json::json!("100-3")));
    history.calm();
    history.check().unwrap();
}

#[test]
fn while_both_clusters_are_silent_for_hours_a_job_stays_where_it_is() {
    let history = history(Reach::Fetch(2), Reach::Fetch(1));
    history.act(&Act::Deliver(0));
    pass(&history, 10 * 60, &[]);
    assert!(!history.knows("launch/100-1/lost"));
    history.act(&Act::Work(0));
    assert_eq!(redeem(&history, 0), 200);
}
