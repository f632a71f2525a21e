//! What may happen in a history, and how often.

use proptest::prelude::*;

#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// A workflow queues a job of this pool.
    Queue(usize),
    /// The same of a job whose deployment must be approved.
    QueueGated(usize),
    /// The same of a job whose code comes from a fork.
    QueueFork(usize),
    /// Somebody approves one of them.
    Approve(usize),
    /// The app gets one of the webhooks under way.
    Deliver(usize),
    /// The app gets one of them and will get it again.
    DeliverTwice(usize),
    /// One of them does not reach the app; GitHub lists it as failed.
    Fail(usize),
    /// One of the pending Slurm jobs begins to run, exchanges its token and starts its runner.
    Run(usize),
    /// One of the pending Slurm jobs ends before its script could do anything: its node failed, somebody cancelled it.
    Kill(usize),
    /// GitHub gives a queued job to a fitting idle runner.
    Assign(usize, usize),
    /// A runner's Slurm job ends under it: its node failed, somebody cancelled it. GitHub fails the job that it ran.
    Crash(usize),
    /// Somebody else's runner takes a queued job.
    Strange(usize),
    /// The next webhook tells no runner's name.
    Nameless,
    /// The gateway refuses the launches of a job as things stand, or not any more.
    Refuse(usize),
    /// A running job ends.
    Finish(usize),
    /// A job is cancelled, queued or running.
    Cancel(usize),
    /// An idle runner gives up.
    Idle(usize),
    Tick,
    Wait(u64),
    /// The next requests meet a replica whose clock is two minutes ahead, or one whose clock is right.
    Ahead(bool),
    /// The gateway is away, or back.
    Gateway(bool),
    /// The gateway does the next thing, but its answer is lost.
    LoseAnswer,
    /// The process dies so many store operations from now.
    Die(u32),
}

/// Anything at all.
pub(crate) fn act() -> impl Strategy<Value = Act> {
    let index = 0..8usize;
    prop_oneof![
        4 => (0..2usize).prop_map(Act::Queue),
        1 => (0..2usize).prop_map(Act::QueueGated),
        1 => (0..2usize).prop_map(Act::QueueFork),
        1 => index.clone().prop_map(Act::Approve),
        8 => index.clone().prop_map(Act::Deliver),
        2 => index.clone().prop_map(Act::DeliverTwice),
        1 => index.clone().prop_map(Act::Fail),
        5 => index.clone().prop_map(Act::Run),
        1 => index.clone().prop_map(Act::Kill),
        5 => (index.clone(), index.clone()).prop_map(|(job, runner)| Act::Assign(job, runner)),
        2 => index.clone().prop_map(Act::Finish),
        1 => index.clone().prop_map(Act::Cancel),
        1 => index.clone().prop_map(Act::Crash),
        1 => index.clone().prop_map(Act::Strange),
        1 => Just(Act::Nameless),
        1 => index.clone().prop_map(Act::Refuse),
        1 => index.prop_map(Act::Idle),
        2 => Just(Act::Tick),
        1 => prop_oneof![Just(1), Just(30), Just(301), Just(2000)].prop_map(Act::Wait),
        1 => any::<bool>().prop_map(Act::Gateway),
        1 => any::<bool>().prop_map(Act::Ahead),
        1 => Just(Act::LoseAnswer),
        2 => (0..40u32).prop_map(Act::Die),
    ]
}

/// What happens while nothing fails: only the order is anybody's guess.
pub(crate) fn kind_act() -> impl Strategy<Value = Act> {
    let index = 0..8usize;
    prop_oneof![
        3 => Just(Act::Queue(0)),
        1 => Just(Act::QueueGated(0)),
        2 => index.clone().prop_map(Act::Approve),
        8 => index.clone().prop_map(Act::Deliver),
        2 => index.clone().prop_map(Act::DeliverTwice),
        5 => index.clone().prop_map(Act::Run),
        5 => (index.clone(), index.clone()).prop_map(|(job, runner)| Act::Assign(job, runner)),
        3 => index.clone().prop_map(Act::Finish),
        2 => index.prop_map(Act::Cancel),
        2 => Just(Act::Tick),
        1 => Just(Act::Wait(1)),
    ]
}
