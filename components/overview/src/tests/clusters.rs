//! What is read of clusters, and of jobs whose launches they fetch.

use gha_slurm_core::ledger::{Heard, Ledger, LostReason};
use gha_slurm_core::ports::Store;
use gha_slurm_protocol::identity::{ClusterName, JobId};
use gha_slurm_scene::{Gateway, Scene};
use serde_json::json;

use super::{all, made};
use crate::{ClusterSummary, Event, Filter, JobDetail, State, Why, job};

fn detail(scene: &Scene, id: u64) -> JobDetail {
    job(&scene.platform, JobId(id)).unwrap().unwrap()
}

fn cluster(name: &str) -> ClusterName {
    name.parse().unwrap()
}

fn why(scene: &Scene, id: u64) -> String {
    let summary = detail(scene, id).summary;
    assert_eq!(summary.state, State::Offered);
    summary.why.unwrap().to_string()
}

fn asks(scene: &Scene, cluster: &str, room: u32) {
    scene.exchange(cluster, &json!({"gateway": "login1", "room": room}));
}

fn reports(scene: &Scene, cluster: &str, report: serde_json::Value) {
    scene.exchange(cluster, &json!({"gateway": "login1", "room": 0, "reports": [report]}));
}

#[test]
fn a_launch_is_left_fetched_and_submitted() {
    let scene = Scene::fetching(&["alps"]);
    asks(&scene, "alps", 0);
    scene.queue(1);
    assert_eq!(why(&scene, 1), "waits for cluster alps to fetch it");
    scene.pass(2);
    asks(&scene, "alps", 8);
    assert_eq!(why(&scene, 1), "gateway login1 of cluster alps has fetched it, and has not reported yet");
    scene.pass(3);
    reports(&scene, "alps", json!({"launch": "1-1", "news": "submitted", "job_id": "17"}));
    let pending = json!({
        "launch": "1-1", "news": "state", "job_id": "17", "state": "PENDING", "reason": "Priority",
        "starts_in": 840, "position": 4,
    });
    reports(&scene, "alps", pending);
    let now = scene.platform.seconds.get();
    let JobDetail { summary, launches, timeline, .. } = detail(&scene, 1);
    assert_eq!(
        (summary.state, summary.cluster, summary.slurm_job.as_deref()),
        (State::Pending, Some(cluster("alps")), Some("17"))
    );
    let said = summary.slurm_said.unwrap();
    assert_eq!((said.starts_at, said.position, said.reason.as_deref()), (Some(now + 840), Some(4), Some("Priority")));
    assert_eq!((said.state.as_str(), said.at, launches[0].slurm_said.as_ref()), ("PENDING", now, Some(&said)));
    assert_eq!((launches[0].fetched_by.as_deref(), launches[0].fetched_at), (Some("login1"), Some(now - 3)));
    let happened: Vec<(Event, Option<&str>)> =
        timeline.iter().map(|moment| (moment.event, moment.detail.as_deref())).skip(2).collect();
    assert_eq!(
        happened,
        [
            (Event::Offered, Some("cluster alps")),
            (Event::Fetched, Some("gateway login1")),
            (Event::Submitted, Some("Slurm job 17")),
        ]
    );
    scene.redeem("1-1");
    assert_eq!(detail(&scene, 1).summary.slurm_said, None, "it waits no more");
}

#[test]
fn what_a_lease_that_ran_out_or_a_silent_cluster_keeps_is_told() {
    let scene = Scene::fetching(&["alps", "eiger"]);
    scene.queue(1);
    assert_eq!(why(&scene, 1), "cluster alps has never asked for launches");
    asks(&scene, "alps", 8);
    scene.pass(119);
    assert!(why(&scene, 1).contains("has fetched it"), "it has two minutes");
    asks(&scene, "alps", 0);
    scene.pass(1);
    assert_eq!(why(&scene, 1), "waits for cluster alps to fetch it");
    for (seconds, length) in [(119, "2 min"), (600, "12 min"), (2 * 3600, "2 h"), (47 * 3600, "2 d")] {
        scene.pass(seconds);
        if length != "2 d" {
            assert_eq!(why(&scene, 1), format!("cluster alps has not asked for {length}"));
        }
    }
    // Of another cluster, and of none, nothing is said.
    scene.queue_with(2, json!({"labels": ["slurm", "slurm-cluster=eiger"]}));
    assert_eq!(why(&scene, 2), "cluster eiger has never asked for launches");
    assert_eq!(detail(&scene, 2).summary.cluster, Some(cluster("eiger")));
    let figures = made(&scene);
    let troubles: Vec<u64> = figures.troubles.iter().map(|trouble| trouble.job.0).collect();
    assert_eq!(troubles, [2], "the first was given up by GitHub");
}

#[test]
fn clusters_are_looked_up_once_and_only_for_what_waits_for_them() {
    let scene = Scene::fetching(&["alps"]);
    asks(&scene, "alps", 0);
    for id in 1..=3 {
        scene.queue(id);
    }
    let mut jobs = crate::jobs(&scene.platform, &Filter::default(), None, 50).unwrap().jobs;
    let mut seen = crate::seen::Seen::by(&scene.platform);
    let mut reads = || {
        let before = scene.platform.operations.get();
        seen.tell(&scene.platform, &mut jobs).unwrap();
        scene.platform.operations.get() - before
    };
    assert_eq!([reads(), reads()], [3, 0], "the cluster, the stop of all and that of the repository");
}

#[test]
fn a_launch_that_was_moved_leads_to_the_other_cluster() {
    let scene = Scene::fetching(&["alps", "eiger"]);
    scene.queue(1);
    scene.pass(600);
    let ledger = Ledger(&scene.platform);
    ledger.launch("1-2".parse().unwrap()).record_cluster(&cluster("eiger")).unwrap();
    ledger.launch("1-1".parse().unwrap()).record_lost(LostReason::Moved).unwrap();
    let now = scene.platform.seconds.get();
    let JobDetail { summary, launches, timeline, .. } = detail(&scene, 1);
    assert_eq!(
        (summary.state, summary.cluster.clone(), summary.since),
        (State::Unsubmitted, Some(cluster("eiger")), now)
    );
    assert_eq!((launches[0].cluster.clone(), launches[0].moved_at), (Some(cluster("alps")), Some(now)));
    let moved = timeline.last().unwrap();
    assert_eq!((moved.event, moved.launch), (Event::Moved, Some("1-1".parse().unwrap())));
    assert_eq!(moved.detail.as_deref(), Some("from alps, which was silent or refused it, to eiger"));
}

#[test]
fn a_cluster_that_was_taken_out_of_the_configuration_is_named() {
    let scene = Scene::fetching(&["alps", "eiger"]);
    scene.queue(1);
    scene.platform.set_variable("clusters", Some("[[cluster]]\nname = 'tave'\nreach = 'push'"));
    let summary = detail(&scene, 1).summary;
    assert_eq!((summary.state, summary.why), (State::Unsubmitted, Some(Why::NoCluster(cluster("alps")))));
}

#[test]
fn without_named_clusters_there_are_none() {
    let scene = Scene::new();
    scene.queue(1);
    let JobDetail { summary, launches, .. } = detail(&scene, 1);
    assert_eq!((summary.state, summary.cluster, launches[0].cluster.as_ref()), (State::Pending, None, None));
    assert_eq!(made(&scene).clusters, []);
    // The one cluster that a job needs no name for has one as soon as it is configured.
    let one = "[[cluster]]\nname = 'tave'\nreach = 'push'";
    scene.platform.set_variable("clusters", Some(one));
    assert_eq!(detail(&scene, 1).summary.cluster, Some(cluster("tave")));
    // What cannot be read hides nothing else.
    scene.platform.set_variable("clusters", Some("[[cluster]]"));
    assert_eq!(detail(&scene, 1).summary.cluster, None);
    let figures = made(&scene);
    assert_eq!((figures.clusters.len(), figures.states[&State::Pending]), (0, 1));
    assert!(figures.problems[0].contains("the variable clusters is malformed"), "{:?}", figures.problems);
}

#[test]
fn each_cluster_tells_when_it_was_heard_of_what_waits_and_its_queue() {
    let scene = Scene::fetching(&["alps", "eiger"]);
    scene.queue(1);
    scene.queue(2);
    scene.queue_with(3, json!({"labels": ["slurm", "slurm-cluster=eiger"]}));
    let one = |index: usize| -> ClusterSummary { made(&scene).clusters[index].clone() };
    let never = one(0);
    assert_eq!((never.cluster.as_str(), never.heard_at, never.silent, never.waiting), ("alps", None, true, 2));
    let begun = scene.platform.seconds.get();
    scene.exchange("alps", &json!({"gateway": "login1", "room": 1, "queue": {"pending": 3, "running": 1}}));
    scene.pass(30);
    scene.exchange("alps", &json!({"gateway": "login2", "room": 0, "queue": {"pending": 4, "running": 0}}));
    reports(&scene, "alps", json!({"launch": "1-1", "news": "submitted", "job_id": "17"}));
    let alps = one(0);
    let queue =
        |queue: Option<gha_slurm_protocol::exchange::QueueLength>| queue.map(|queue| (queue.pending, queue.running));
    assert_eq!(
        (alps.heard_at, alps.silent, alps.waiting, queue(alps.queue)),
        (Some(begun + 30), false, 1, Some((7, 1)))
    );
    let gateways: Vec<_> = alps.gateways.iter().map(|one| (one.gateway.as_str(), one.heard_at)).collect();
    assert_eq!(gateways, [("login1", begun + 30), ("login2", begun + 30)], "the last one that asked is first");
    assert_eq!(one(1).waiting, 1);
    scene.pass(120);
    assert!(one(0).silent);
    // One that is called is never silent; what its calls fail with is told of its jobs.
    scene.platform.set_variable("clusters", Some("[[cluster]]\nname = 'alps'\nreach = 'push'"));
    scene.platform.set_variable("profiles", Some(gha_slurm_scene::PROFILES));
    scene.gateway(Gateway::Away);
    scene.queue(4);
    let heard = Heard { at: begun, ..Heard::default() };
    Ledger(&scene.platform).record_heard(&cluster("alps"), &heard).unwrap();
    let pushed = one(0);
    assert_eq!((pushed.silent, pushed.waiting, pushed.queue, pushed.gateways.len()), (false, 2, None, 0));
}

#[test]
fn jobs_are_found_by_their_cluster_also_when_they_are_settled() {
    let scene = Scene::fetching(&["alps", "eiger"]);
    for id in 1..=80 {
        scene.queue_with(
            id,
            json!({"labels": ["slurm", if id % 4 == 0 { "slurm-cluster=eiger" } else { "slurm-cluster=alps" }]}),
        );
        scene.finish(id, "cancelled");
    }
    scene.pass(600);
    let of = |name: &str| all(&scene, &Filter { cluster: Some(name.to_owned()), ..Filter::default() }, 50).len();
    assert_eq!([of("alps"), of("eiger"), of("tave")], [60, 20, 0]);
    assert!(scene.platform.keys().iter().any(|key| key.contains("/digest/")), "most come from a digest by now");
    assert_eq!([of("alps"), of("eiger"), of("tave")], [60, 20, 0]);
}

#[test]
fn a_digest_of_an_earlier_form_is_made_anew() {
    let scene = Scene::fetching(&["alps"]);
    for id in 1..=80 {
        scene.queue(id);
        scene.finish(id, "cancelled");
    }
    scene.pass(600);
    let count = || all(&scene, &Filter { cluster: Some("alps".to_owned()), ..Filter::default() }, 200).len();
    assert_eq!(count(), 80);
    let digests: Vec<String> = scene.platform.keys().into_iter().filter(|key| key.contains("/digest/")).collect();
    for key in &digests {
        let mut bytes = scene.platform.get(key).unwrap().unwrap();
        bytes[0] -= 1;
        scene.platform.set(key, &bytes).unwrap();
    }
    assert!(!digests.is_empty());
    assert_eq!(count(), 80);
}
