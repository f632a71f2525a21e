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
    /// GitHub cannot show so many of the next deliveries in full.
    Unshown(u32),
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
    /// One of the gateways that fetch does all that it has to do.
    Work(usize),
    /// It asks, and has room for so many launches.
    Exchange(usize, u32),
    /// The app does what the next exchange is about, but its answer is lost.
    LoseExchange,
    /// An exchange of a gateway, one of its last ones, arrives again.
    Late(usize, usize),
    /// A gateway tells of launches that it does not have.
    Foreign(usize),
    /// A gateway begins to submit what it has fetched.
    Begin(usize),
    /// Slurm answers it.
    Land(usize),
    /// It looks at its Slurm jobs.
    Look(usize),
    /// It dies, and Slurm took what was on its way, or did not.
    GatewayDies(usize, bool),
    GatewayIsBack(usize),
    /// It fetches and reports nothing, or not any more.
    Sulk(usize),
    /// Slurm takes nothing from gateways that fetch, or does again.
    SlurmAway(bool),
    /// Another replica or gateway does that between two store operations, so many from now.
    Meanwhile(u32, Box<Act>),
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
        1 => (1..8u32).prop_map(Act::Unshown),
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

/// Anything at all, where gateways fetch.
pub(crate) fn fetching_act() -> impl Strategy<Value = Act> {
    let gateway = 0..4usize;
    let meanwhile = prop_oneof![
        2 => gateway.clone().prop_map(Act::Work),
        2 => gateway.clone().prop_map(|gateway| Act::Exchange(gateway, 8)),
        1 => Just(Act::Tick),
        1 => (0..8usize).prop_map(Act::Deliver),
    ];
    prop_oneof![
        40 => act(),
        10 => gateway.clone().prop_map(Act::Work),
        6 => (gateway.clone(), prop_oneof![Just(0), Just(1), Just(8)]).prop_map(|(one, room)| Act::Exchange(one, room)),
        3 => gateway.clone().prop_map(Act::Begin),
        3 => gateway.clone().prop_map(Act::Land),
        2 => gateway.clone().prop_map(Act::Look),
        1 => Just(Act::LoseExchange),
        1 => (gateway.clone(), 0..8usize).prop_map(|(one, said)| Act::Late(one, said)),
        1 => gateway.clone().prop_map(Act::Foreign),
        1 => (gateway.clone(), any::<bool>()).prop_map(|(one, took)| Act::GatewayDies(one, took)),
        2 => gateway.clone().prop_map(Act::GatewayIsBack),
        1 => gateway.prop_map(Act::Sulk),
        1 => any::<bool>().prop_map(Act::SlurmAway),
        3 => (0..60u32, meanwhile).prop_map(|(operations, act)| Act::Meanwhile(operations, Box::new(act))),
    ]
}

/// What happens while nothing fails and gateways fetch.
pub(crate) fn kind_fetching_act() -> impl Strategy<Value = Act> {
    let gateway = 0..4usize;
    prop_oneof![
        30 => kind_act(),
        10 => gateway.clone().prop_map(Act::Work),
        3 => gateway.clone().prop_map(|gateway| Act::Exchange(gateway, 8)),
        2 => gateway.clone().prop_map(Act::Begin),
        2 => gateway.clone().prop_map(Act::Land),
        2 => gateway.prop_map(Act::Look),
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
