//! The invariants, by thousands of histories that nobody would write down.

use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::act::{Act, act, fetching_act, kind_act, kind_fetching_act};
use crate::history::History;
use crate::setup::{Setup, fetching};
use crate::world::Status;

pub(crate) fn holds(
    setup: Setup,
    acts: &[Act],
    max_running: Option<u32>,
    jit: bool,
    mute: bool,
) -> Result<(), TestCaseError> {
    let history = History::with(setup, max_running, jit, mute);
    for act in acts {
        history.act(act);
    }
    history.calm();
    history.check()
}

/// In one pool, with nothing failing: no launch is wasted, no limit is passed, and Slurm holds no job that nothing waits
/// for.
pub(crate) fn wastes_nothing(
    setup: Setup,
    acts: &[Act],
    max_running: Option<u32>,
    jit: bool,
) -> Result<(), TestCaseError> {
    let history = History::with(setup, max_running, jit, false);
    for act in acts {
        history.act(act);
    }
    while !history.world.borrow().webhooks.is_empty() {
        history.act(&Act::Deliver(0));
    }
    history.gateways_work();
    history.gateways_work();
    {
        let world = history.world.borrow();
        let held = world.slurm.iter().filter(|job| job.pending).count();
        let waiting = world.jobs.values().filter(|job| job.status == Status::Queued).count();
        prop_assert!(held <= waiting, "I5: Slurm holds {held} jobs for {waiting} that wait");
    }
    history.calm();
    history.check()?;
    let world = history.world.borrow();
    let (made, jobs) = (world.slurm.len(), world.jobs.len());
    let allowed = jobs + world.late_holds;
    prop_assert!(made <= allowed, "I2: {made} launches for {jobs} jobs and {} late holds", world.late_holds);
    let (most, limit) = (world.most_living, max_running.unwrap_or(u32::MAX));
    prop_assert!(most <= limit as usize, "{most} lived at once of {limit}");
    let asked: Vec<_> =
        world.removals.iter().filter(|(id, times)| **times > 1 || !world.removed.contains(id)).collect();
    prop_assert!(asked.is_empty(), "I12: GitHub was asked in vain to remove {asked:?}");
    Ok(())
}

/// In one of three, webhooks are read and not received.
fn any_way(setups: impl Strategy<Value = Setup>) -> impl Strategy<Value = Setup> {
    (setups, 0..3u32).prop_map(|(setup, way)| Setup { polled: way == 0, ..setup })
}

/// Two of five have the one gateway that is called.
fn history(acts: Range<usize>) -> impl Strategy<Value = (Setup, Vec<Act>)> {
    prop_oneof![
        2 => (any_way(Just(Setup::PUSHED)), vec(act(), acts.clone())),
        3 => (any_way(fetching()), vec(fetching_act(), acts)),
    ]
}

fn kind_history(acts: Range<usize>) -> impl Strategy<Value = (Setup, Vec<Act>)> {
    prop_oneof![
        2 => (any_way(Just(Setup::PUSHED)), vec(kind_act(), acts.clone())),
        3 => (any_way(fetching()), vec(kind_fetching_act(), acts)),
    ]
}

/// `GHA_SLURM_HISTORIES` is how many per cent of the usual number are tried.
fn config(cases: u32) -> ProptestConfig {
    let per_cent = std::env::var("GHA_SLURM_HISTORIES").ok().and_then(|value| value.parse::<u32>().ok()).unwrap_or(100);
    let cases = (cases * per_cent / 100).max(1);
    // A failing history is printed, and small enough to become a test of its own.
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 20_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(8000))]
    #[test]
    fn short_histories_come_to_a_good_end(
        (setup, acts) in history(1..40),
        limit in proptest::option::of(1..4u32),
        jit in any::<bool>(),
        mute in any::<bool>(),
    ) {
        holds(setup, &acts, limit, jit, mute)?;
    }
}

proptest! {
    #![proptest_config(config(4000))]
    #[test]
    fn long_histories_come_to_a_good_end(
        (setup, acts) in history(40..120),
        limit in proptest::option::of(1..4u32),
        jit in any::<bool>(),
        mute in any::<bool>(),
    ) {
        holds(setup, &acts, limit, jit, mute)?;
    }
}

proptest! {
    #![proptest_config(config(4000))]
    #[test]
    fn while_nothing_fails_nothing_is_wasted(
        (setup, acts) in kind_history(1..80),
        limit in proptest::option::of(1..4u32),
        jit in any::<bool>(),
    ) {
        wastes_nothing(setup, &acts, limit, jit)?;
    }
}
