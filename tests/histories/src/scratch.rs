use crate::act::Act::{self, *};
use crate::history::History;
use crate::setup::{Reach, Setup};

pub(crate) fn show(h: &History) {
    let w = h.world.borrow();
    println!(
        "   now {} clock {} jobs {:?}",
        w.now - 1_800_000_000,
        h.platform.seconds.get() - 1_800_000_000,
        w.jobs.iter().map(|(id, j)| format!("{id}:{:?}:{:?}", j.status, j.runner)).collect::<Vec<_>>()
    );
    println!(
        "   slurm {:?} runners {:?} hooks {:?}",
        w.slurm
            .iter()
            .enumerate()
            .map(|(i, j)| format!("{}@{}:{}", j.start["launch"], j.cluster, w.slurm_state(i)))
            .collect::<Vec<_>>(),
        w.runners.iter().map(|r| format!("{}:{:?}", r.name, r.job)).collect::<Vec<_>>(),
        w.webhooks.iter().map(|x| format!("{}:{}", x.action, x.job)).collect::<Vec<_>>()
    );
    for g in &w.gateways {
        println!("   {}", g.brief());
    }
    for (k, v) in h.platform.values() {
        if (k.contains("/launch/") || k.contains("/cluster/") || k.contains("/line/") || k.contains("/overdue"))
            && !k.ends_with("heard")
        {
            println!("      {k} = {}", String::from_utf8_lossy(&v));
        }
    }
}

pub(crate) fn play(setup: Setup, acts: &[Act], limit: Option<u32>, jit: bool, mute: bool, calm: bool) {
    let h = History::with(setup, limit, jit, mute);
    for act in acts {
        println!("== {act:?}");
        h.act(act);
        show(&h);
    }
    if calm {
        println!("== calm");
        h.calm();
        show(&h);
        println!("{:?}", h.check());
    }
}

#[test]
fn scratch() {
    let _ = Reach::Fetch(1);
    let setup = Setup { first: Reach::Fetch(1), second: None, shortest: false };
    let acts = [
        Queue(0),
        Deliver(0),
        QueueGated(0),
        Deliver(0),
        Work(0),
        Queue(0),
        Run(0),
        Queue(0),
        Assign(4, 0),
        Deliver(0),
        Deliver(0),
        Deliver(0),
        Deliver(0),
        Deliver(0),
        Deliver(0),
        Work(0),
        Work(0),
    ];
    play(setup, &acts, Some(2), false, false, true);
}
