//! A process that dies at any step of the store loses no delivery.

use std::time::Duration;

use gha_slurm_core::github::client::GitHub;
use gha_slurm_core::ledger::Ledger;
use gha_slurm_core::settings::Settings;
use gha_slurm_protocol::identity::JobId;

use super::hook::{FIRST, Hook};
use crate::deliveries::Reader;
use crate::run::Report;

const BUDGET: Duration = Duration::from_secs(20);

/// Three jobs are queued, one of them is over, and the process dies after so many steps of the store; whether it did.
fn dies_after(webhooks: &str, steps: u32, go_on: impl Fn(&Hook)) -> bool {
    let hook = Hook::new(webhooks);
    hook.queue(1..=3);
    hook.add(hook.job(FIRST + 4, 3, "completed"));
    hook.platform.lives.set(Some(steps));
    go_on(&hook);
    let died = hook.platform.lives.get() == Some(0);
    hook.platform.lives.set(None);
    // Whatever the dead one had claimed is free by then.
    for _ in 0..3 {
        hook.pass(62);
        go_on(&hook);
        // It submits what the dead one wrote down.
        hook.tick();
    }
    let launched = |job: &u64| hook.launched().contains(job);
    assert!([1, 2].iter().all(launched), "{webhooks}, {steps} steps: {:?}", hook.launched());
    let finished = Ledger(&hook.platform).job(JobId(3)).view().unwrap().finished;
    assert!(finished.is_some(), "{webhooks}, {steps} steps");
    died
}

#[test]
fn nothing_is_lost_wherever_a_poll_dies() {
    let mut steps = 0;
    while dies_after("poll", steps, |hook| drop(hook.poll())) {
        steps += 1;
    }
    assert!(steps > 50, "{steps}");
}

#[test]
fn nothing_is_lost_wherever_the_search_for_lost_ones_dies() {
    let search = |hook: &Hook| {
        let github = GitHub::new(&hook.platform, Settings(&hook.platform).github().unwrap(), BUDGET);
        let _ = Reader::new(&hook.platform, &github, BUDGET, &mut Report::default()).read_lost();
    };
    let mut steps = 0;
    while dies_after("receive", steps, search) {
        steps += 1;
    }
    assert!(steps > 50, "{steps}");
}
