//! Histories that once came to a bad end.

use crate::act::Act;
use crate::random::{holds, wastes_nothing};
use crate::setup::{Reach, Setup};

/// A Slurm job that starts at once meets a replica whose clock is two minutes behind that of the one that launched it; the
/// gateway is an original one, which tells nobody that it ended.
#[test]
fn a_launch_by_a_clock_that_is_ahead_is_good_at_once() {
    use Act::{Ahead, Assign, Deliver, DeliverTwice, Finish, Nameless, Queue, Run, Tick, Wait};
    let acts = [
        Queue(0),
        Deliver(0),
        Queue(0),
        Nameless,
        Deliver(0),
        Queue(0),
        Deliver(0),
        Queue(0),
        Deliver(0),
        Run(0),
        Assign(0, 0),
        Deliver(0),
        Queue(0),
        Run(0),
        Run(1),
        Wait(2000),
        Nameless,
        Assign(0, 0),
        Queue(0),
        Finish(0),
        Ahead(true),
        DeliverTwice(1),
        Nameless,
        Tick,
    ];
    holds(Setup::PUSHED, &acts, None, true, true).unwrap();
}

/// By swaps, a job waits for the launch of a fork's job, whose Slurm job ends with a denial; nobody tells of that end.
#[test]
fn a_job_that_waits_for_the_launch_of_a_denied_one_gets_another() {
    use Act::{Deliver, Queue, QueueFork, QueueGated, Wait};
    let acts =
        [Wait(1), QueueGated(1), QueueFork(1), Queue(0), Deliver(0), Deliver(2), Act::Die(0), Queue(1), Deliver(4)];
    holds(Setup::PUSHED, &acts, None, false, true).unwrap();
}

/// A job that GitHub held back while it stood in line never had that launch: it has three others.
#[test]
fn what_was_never_submitted_is_no_launch_of_the_three() {
    use Act::{
        Ahead, Approve, Cancel, Crash, Deliver, Fail, Finish, Kill, Nameless, Queue, QueueGated, Refuse, Run, Strange,
        Tick, Wait,
    };
    let acts = [
        Queue(0),
        Wait(1),
        Queue(0),
        Strange(0),
        Finish(0),
        Approve(0),
        Ahead(false),
        Cancel(0),
        Queue(0),
        Deliver(0),
        Nameless,
        Approve(0),
        Run(0),
        Queue(0),
        Refuse(2),
        QueueGated(0),
        Approve(0),
        Finish(0),
        Deliver(0),
        Deliver(7),
        Queue(0),
        Crash(0),
        Deliver(3),
        Deliver(6),
        Deliver(3),
        Queue(0),
        Queue(0),
        Queue(0),
        Deliver(0),
        Wait(1),
        Wait(301),
        Fail(4),
        Tick,
        Deliver(3),
        Queue(0),
        Kill(0),
        Queue(0),
        Queue(0),
        Queue(0),
        Queue(0),
    ];
    holds(Setup::PUSHED, &acts, Some(1), false, false).unwrap();
}

/// Of a profile with two places, job 102 takes the runner of job 100, and its own launch, which waits to be fetched, is job
/// 100's from then on.
#[test]
fn a_launch_that_waits_to_be_fetched_keeps_its_place_for_the_job_whose_it_is_by_swaps() {
    use Act::{Assign, Deliver, Queue, QueueGated, Run, Work};
    let acts = [Queue(0), Deliver(0), QueueGated(0), Deliver(0), Work(0), Queue(0), Run(0), Queue(0), Assign(4, 0)];
    wastes_nothing(Setup::FETCHED, &acts, Some(2), false).unwrap();
}

/// The gateway that has a launch is not heard of for minutes, and the other one, which knows nothing of it, is handed the order
/// to cancel it: the Slurm job gets nothing when it starts.
#[test]
fn a_slurm_job_of_a_gateway_that_was_away_when_it_was_to_be_cancelled_ends_by_itself() {
    use Act::{Cancel, Deliver, Queue, QueueFork, Wait, Work};
    let setup = Setup { first: Reach::Fetch(2), second: Some(Reach::Fetch(2)), shortest: true, ..Setup::PUSHED };
    let acts = [
        QueueFork(0),
        Deliver(0),
        Work(0),
        Queue(0),
        Work(2),
        QueueFork(0),
        Deliver(0),
        Queue(0),
        Deliver(0),
        Queue(0),
        Cancel(0),
        Queue(0),
        Work(2),
        Deliver(2),
        Wait(301),
        Work(1),
    ];
    holds(setup, &acts, None, false, false).unwrap();
}
