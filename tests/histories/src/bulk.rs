//! Many jobs, of which nothing may stay.

use gha_slurm_core::ledger::RETENTION_SECONDS;

use crate::act::Act;
use crate::history::History;
use crate::world::{Job, Runner};

#[test]
fn a_hundred_thousand_jobs_leave_nothing_behind() {
    let history = History::new(Some(50), false);
    history.tick();
    let before = history.platform.keys();
    for number in 0..100_000u64 {
        let mut world = history.world.borrow_mut();
        let id = 1_000_000 + number;
        let created_at = world.now;
        let job = Job::queued(0, created_at);
        world.jobs.insert(id, job);
        world.notify("queued", id);
        drop(world);
        history.act(&Act::Deliver(0));
        let mut world = history.world.borrow_mut();
        world.runners.push(Runner { name: format!("gha-slurm-{id}-1"), pool: 0, job: None });
        let last = world.runners.len() - 1;
        world.assign(id, last);
        world.finish(id, "success");
        drop(world);
        history.act(&Act::Deliver(0));
        history.act(&Act::Deliver(0));
        let mut world = history.world.borrow_mut();
        world.jobs.clear();
        world.slurm.clear();
        drop(world);
        // All of it in five hours.
        if number % 5 == 0 {
            history.wait(1);
        }
    }
    let held = history.platform.keys().len();
    assert!(held > 500_000, "{held} keys of the retention time");
    history.wait(RETENTION_SECONDS + 2 * 60 * 60);
    let report = history.tick();
    assert_eq!(report["deleted"], 100_000, "{report}");
    let after = history.platform.keys();
    assert!(after.len() <= before.len() + 8, "{before:#?}\n{after:#?}");
    println!("{} keys, then {held}, then {}", before.len(), after.len());
}
