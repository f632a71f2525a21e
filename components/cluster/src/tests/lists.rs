//! The list of a cluster's orders: what it costs, and that nothing is lost in it.

use std::collections::BTreeSet;

use gha_slurm_core::ledger::{Ledger, Order, Orders, RETENTION_SECONDS};
use gha_slurm_core::lifecycle::{Progress, cancel_moved, remember_clusters, trim_orders, withdraw_unneeded};
use gha_slurm_core::ports::{Store, StoreError};
use gha_slurm_protocol::identity::JobId;
use serde_json::json;

use super::{
    destination, facts, fetch, finish, moves, orders_left, pass, platform, queue, report, retry, submit_and_withdraw,
    submitted,
};

#[test]
fn an_idle_exchange_is_one_step_of_the_store() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    fetch(&platform, "alps", "login1", 8);
    fetch(&platform, "alps", "login2", 8);
    report(&platform, "login1", &json!([submitted("1-1")]));
    for gateway in ["login1", "login2", "login1", "login2"] {
        let (reads, writes) = (platform.reads.get(), platform.transactions.get());
        assert!(fetch(&platform, "alps", gateway, 8).is_empty());
        assert_eq!((platform.reads.get() - reads, platform.transactions.get() - writes), (1, 0), "{gateway}");
    }
    // Now and then each is heard of.
    let writes = platform.transactions.get();
    for _ in 0..60 {
        pass(&platform, 1);
        for gateway in ["login1", "login2"] {
            fetch(&platform, "alps", gateway, 8);
        }
    }
    assert_eq!(platform.transactions.get() - writes, 2 * 3);
}

#[test]
fn a_cluster_that_is_full_looks_at_its_list_for_little() {
    let platform = platform();
    for job in 1..=100 {
        queue(&platform, job, &["alps"]);
    }
    fetch(&platform, "alps", "login1", 0);
    let (reads, writes) = (platform.reads.get(), platform.transactions.get());
    fetch(&platform, "alps", "login1", 0);
    assert!(platform.reads.get() - reads <= 3, "{}", platform.reads.get() - reads);
    assert_eq!(platform.transactions.get() - writes, 0);
}

#[test]
fn ten_thousand_offers_are_each_fetched_once_by_64_at_a_time() {
    const JOBS: usize = if cfg!(debug_assertions) { 2_000 } else { 10_000 };
    let platform = platform();
    for job in 1..=JOBS {
        queue(&platform, job as u64, &["alps"]);
    }
    let mut fetched = BTreeSet::new();
    let mut exchanges = 0;
    let mut before = Vec::new();
    while fetched.len() < JOBS {
        let gateway = if exchanges % 2 == 0 { "login1" } else { "login2" };
        let reports: Vec<_> = before.iter().map(|launch: &String| submitted(launch)).collect();
        report(&platform, "login1", &json!(reports));
        let some = fetch(&platform, "alps", gateway, 200);
        assert!(some.len() == 64 || fetched.len() + some.len() == JOBS, "{}", some.len());
        before = some.into_iter().map(|(launch, _)| launch).collect();
        for launch in &before {
            assert!(fetched.insert(launch.clone()), "{launch} was handed out twice");
        }
        exchanges += 1;
    }
    let reports: Vec<_> = before.iter().map(|launch| submitted(launch)).collect();
    report(&platform, "login1", &json!(reports));
    assert_eq!(exchanges, JOBS.div_ceil(64));
    assert!(orders_left(&platform).is_empty());
}

/// Whoever drew a number and died leaves a hole, and so does an order that cannot be read.
#[test]
fn holes_in_the_list_keep_nothing_from_its_turn() {
    let platform = platform();
    for job in 1..=12 {
        queue(&platform, job, &["alps"]);
    }
    for number in [1, 5, 6, 12] {
        platform.delete(&format!("gha-slurm/1/cluster/alps/order/{number}")).unwrap();
    }
    platform.plant("gha-slurm/1/cluster/alps/order/7", b"?");
    let got: Vec<String> = fetch(&platform, "alps", "login1", 64).into_iter().map(|(launch, _)| launch).collect();
    assert_eq!(got, ["2-1", "3-1", "4-1", "8-1", "9-1", "10-1", "11-1"]);
    report(&platform, "login1", &json!(got.iter().map(|launch| submitted(launch)).collect::<Vec<_>>()));
    // Those that were lost are offered again.
    pass(&platform, 4 * 60);
    fetch(&platform, "alps", "login1", 64);
    for job in [1, 5, 6, 7, 12] {
        retry(&platform, job, &["alps"]);
    }
    pass(&platform, 4 * 60);
    fetch(&platform, "alps", "login1", 0);
    for job in [1, 5, 6, 7, 12] {
        assert!(matches!(retry(&platform, job, &["alps"]), Progress::Offered(..)), "{job}");
    }
    assert_eq!(fetch(&platform, "alps", "login1", 64).len(), 5);
}

/// A cluster that is gone for good does nothing about its orders.
#[test]
fn the_orders_of_a_cluster_that_never_asks_go_with_their_jobs() {
    let platform = platform();
    for job in 1..=300 {
        queue(&platform, job, &["alps"]);
    }
    fetch(&platform, "alps", "login1", 8);
    pass(&platform, RETENTION_SECONDS);
    trim_orders(&platform, &destination(&platform)).unwrap();
    assert_eq!(orders_left(&platform).len(), 300, "their jobs are known");
    for job in 1..=300 {
        let keys = Ledger(&platform).job(JobId(job)).keys().unwrap();
        platform.delete_many(&keys).unwrap();
    }
    trim_orders(&platform, &destination(&platform)).unwrap();
    assert!(orders_left(&platform).is_empty());
    let left: Vec<String> = platform.keys().into_iter().filter(|key| key.contains("launch/")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Who waits for a silent cluster to cancel something orders it once, and not every ten minutes for days.
#[test]
fn a_silent_cluster_is_ordered_to_cancel_once() {
    let platform = platform();
    let clusters = ["alps", "eiger"];
    queue(&platform, 1, &clusters);
    queue(&platform, 2, &clusters);
    assert_eq!(fetch(&platform, "alps", "login1", 1).len(), 1);
    pass(&platform, 10 * 60);
    fetch(&platform, "eiger", "login1", 0);
    assert!(moves(&platform, 1, &clusters) && moves(&platform, 2, &clusters));
    let before = orders_left(&platform).len();
    for _ in 0..100 {
        for launch in ["1-1", "2-1"] {
            cancel_moved(&platform, &destination(&platform), launch.parse().unwrap()).unwrap();
        }
        pass(&platform, 10 * 60);
    }
    assert_eq!(orders_left(&platform).len(), before + 1, "and nothing that nobody ever fetched");
    let answer = report(&platform, "login1", &json!([]));
    assert_eq!(answer["cancel"], json!(["1-1"]));
}

#[test]
fn one_launch_that_stays_keeps_thousands_behind_it_from_nothing() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    assert_eq!(fetch(&platform, "alps", "gone", 1).len(), 1);
    for job in 2..2_500 {
        queue(&platform, job, &["alps"]);
        let got = fetch(&platform, "alps", "login1", 64);
        assert_eq!(got, [(format!("{job}-1"), false)]);
        finish(&platform, job);
        facts(&platform, &format!("{job}-1")).record_launched(None).unwrap();
    }
}

/// A cluster that is full looks at no launch, and at each cancel, which makes room.
#[test]
fn no_number_of_launches_that_wait_hides_a_cancel() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    fetch(&platform, "alps", "login1", 1);
    report(&platform, "login1", &json!([submitted("1-1")]));
    for job in 2..=1_300 {
        queue(&platform, job, &["alps"]);
    }
    finish(&platform, 1);
    withdraw_unneeded(&platform, &destination(&platform), "1-1".parse().unwrap()).unwrap();
    assert_eq!(report(&platform, "login1", &json!([]))["cancel"], json!(["1-1"]));
}

/// As if the gateway that has the first ones were away.
#[test]
fn no_number_of_cancels_that_stand_hides_another() {
    let platform = platform();
    submit_and_withdraw(&platform, "login1", 1..=1_300);
    let mut cancelled = BTreeSet::new();
    for _ in 0..100 {
        let answer = report(&platform, "login1", &json!([]));
        let some = answer["cancel"].as_array().unwrap();
        assert!(some.len() <= 256);
        cancelled.extend(some.iter().map(|launch| launch.as_str().unwrap().to_owned()));
    }
    assert_eq!(cancelled.len(), 1_300);
    let reports: Vec<_> = cancelled.iter().map(|launch| json!({"launch": launch, "news": "cancelled"})).collect();
    reports.chunks(256).for_each(|some| drop(report(&platform, "login1", &json!(some))));
    for _ in 0..100 {
        report(&platform, "login1", &json!([]));
    }
    assert!(orders_left(&platform).is_empty());
}

#[test]
fn one_order_to_cancel_a_launch_stands_and_is_given_again_when_it_is_lost() {
    let platform = platform();
    submit_and_withdraw(&platform, "login1", 1..=1);
    for _ in 0..10 {
        fetch(&platform, "alps", "login1", 0);
        pass(&platform, 11 * 60);
        fetch(&platform, "alps", "login1", 0);
        withdraw_unneeded(&platform, &destination(&platform), "1-1".parse().unwrap()).unwrap();
        assert_eq!(orders_left(&platform).len(), 1);
    }
    platform.delete(&orders_left(&platform)[0]).unwrap();
    for _ in 0..2 {
        pass(&platform, 11 * 60);
        fetch(&platform, "alps", "login1", 0);
        withdraw_unneeded(&platform, &destination(&platform), "1-1".parse().unwrap()).unwrap();
    }
    assert_eq!(report(&platform, "login1", &json!([]))["cancel"], json!(["1-1"]));
}

/// It put both into one list.
#[test]
fn an_order_to_cancel_of_an_earlier_release_is_carried_out_once() {
    let platform = platform();
    submit_and_withdraw(&platform, "login1", 1..=1);
    let alps = "alps".parse().unwrap();
    let order = Order::Cancel("1-1".parse().unwrap());
    let given: Result<(), StoreError> = Orders::submits(&platform, &alps).give(order, |_| Ok(Vec::new()));
    given.unwrap();
    assert_eq!(orders_left(&platform).len(), 2);
    assert_eq!(report(&platform, "login1", &json!([]))["cancel"], json!(["1-1"]));
    report(&platform, "login1", &json!([{"launch": "1-1", "news": "cancelled"}]));
    assert!(orders_left(&platform).is_empty());
}

#[test]
fn the_orders_of_a_cluster_that_was_renamed_removed_or_is_pushed_to_go_with_their_jobs() {
    let of_eiger = format!("[[cluster]]\nname = 'eiger'\nreach = 'fetch'\nsecret_sha256 = '{:064}'", 1);
    let pushed = "[[cluster]]\nname = 'alps'\nreach = 'push'".to_owned();
    for clusters in [of_eiger, pushed] {
        let platform = platform();
        submit_and_withdraw(&platform, "login1", 1..=3);
        for job in 4..=6 {
            queue(&platform, job, &["alps"]);
        }
        remember_clusters(&platform, &destination(&platform)).unwrap();
        platform.set_variable("clusters", Some(&clusters));
        trim_orders(&platform, &destination(&platform)).unwrap();
        assert_eq!(orders_left(&platform).len(), 6, "their jobs are known");
        for job in 1..=6 {
            let keys = Ledger(&platform).job(JobId(job)).keys().unwrap();
            platform.delete_many(&keys).unwrap();
        }
        trim_orders(&platform, &destination(&platform)).unwrap();
        assert!(orders_left(&platform).is_empty());
        let remembered = Ledger(&platform).clusters_with_orders().unwrap();
        assert!(!remembered.contains(&"alps".parse().unwrap()), "{remembered:?}");
    }
}
