//! Exchanges over a platform in memory, as gateways of three clusters have them.

mod door;
mod leases;
mod lists;
mod races;
mod reports;

use gha_slurm_core::cluster::digest;
use gha_slurm_core::ledger::{LaunchFacts, Ledger, Requested};
use gha_slurm_core::lifecycle::{Destination, Pace, Progress, begin, move_on, withdraw_unneeded, write_down};
use gha_slurm_core::settings::Settings;
use gha_slurm_core::testing::{Memory, requested};
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::request::Request;
use gha_slurm_protocol::identity::{JobId, LaunchId};
use serde_json::{Value, json};

use crate::exchange::exchange;

const ALPS: &str = "the-secret-of-alps-0123456789abcdef";
const ALPS_NEXT: &str = "the-next-secret-of-alps-0123456789ab";
const EIGER: &str = "the-secret-of-eiger-0123456789abcdef";
const LEASE: u64 = 120;
/// By how much clocks may differ.
const SKEW: u64 = 120;

/// Two clusters that fetch, and one that is called.
fn platform() -> Memory {
    let platform = Memory::configured();
    let clusters = format!(
        "[[cluster]]\nname = 'alps'\nreach = 'fetch'\nsecret_sha256 = '{} {}'\n\
         [[cluster]]\nname = 'eiger'\nreach = 'fetch'\nsecret_sha256 = '{}'\n\
         [[cluster]]\nname = 'tave'\nreach = 'push'\n",
        digest(ALPS),
        digest(ALPS_NEXT),
        digest(EIGER),
    );
    platform.set_variable("clusters", Some(&clusters));
    platform
}

fn request(cluster: &str, secret: &str, said: &Value) -> Request {
    let header = |name: &str, value: String| (name.to_owned(), value.into_bytes());
    Request {
        method: "POST".to_owned(),
        target: format!("/clusters/{cluster}/exchange"),
        headers: vec![
            header("authorization", format!("Bearer {secret}")),
            header("content-type", "application/json".to_owned()),
            header("spin-client-addr", "192.0.2.7:4000".to_owned()),
        ],
        body: said.to_string().into_bytes(),
    }
}

fn secret(cluster: &str) -> &'static str {
    if cluster == "eiger" { EIGER } else { ALPS }
}

/// What a gateway is answered.
fn ask(platform: &Memory, cluster: &str, said: &Value) -> Value {
    let answer = exchange(platform, &request(cluster, secret(cluster), said));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

/// The launches that a gateway with room for `room` gets, with whether each was leased before.
fn fetch(platform: &Memory, cluster: &str, gateway: &str, room: u32) -> Vec<(String, bool)> {
    let orders = ask(platform, cluster, &json!({"gateway": gateway, "room": room}));
    let launches = orders["launches"].as_array().unwrap();
    let of = |leased: &Value| {
        assert_eq!(leased["lease_seconds"], LEASE);
        (leased["start"]["launch"].as_str().unwrap().to_owned(), leased["again"].as_bool().unwrap())
    };
    launches.iter().map(of).collect()
}

/// These jobs' launches are submitted by a gateway of alps, and then nothing needs them any more.
fn submit_and_withdraw(platform: &Memory, gateway: &str, jobs: std::ops::RangeInclusive<u64>) {
    for job in jobs.clone() {
        queue(platform, job, &["alps"]);
    }
    loop {
        let some = fetch(platform, "alps", gateway, 64);
        if some.is_empty() {
            break;
        }
        let reports: Vec<Value> = some.iter().map(|(launch, _)| submitted(launch)).collect();
        report(platform, gateway, &json!(reports));
    }
    for job in jobs {
        finish(platform, job);
        let launch = LaunchId { job: JobId(job), number: 1 };
        withdraw_unneeded(platform, &destination(platform), launch).unwrap();
    }
}

/// What a gateway of alps that takes nothing more is answered to reports.
fn report(platform: &Memory, gateway: &str, reports: &Value) -> Value {
    ask(platform, "alps", &json!({"gateway": gateway, "reports": reports}))
}

/// The answer to a gateway that has nothing to do.
fn nothing_to_do() -> Value {
    json!({"launches": [], "cancel": [], "unknown": [], "public_url": "https://app.example/"})
}

fn submitted(launch: &str) -> Value {
    json!({"launch": launch, "news": "submitted", "job_id": "17"})
}

fn state(launch: &str, state: &str) -> Value {
    json!({"launch": launch, "news": "state", "job_id": "17", "state": state})
}

fn of_clusters(clusters: &[&str]) -> Requested {
    let clusters = clusters.iter().map(|name| name.parse().unwrap()).collect();
    Requested { clusters, ..requested() }
}

fn destination(platform: &Memory) -> Destination {
    Destination::read(platform, std::time::Duration::from_secs(20)).unwrap()
}

/// Queues a job that may go to these clusters.
fn queue(platform: &Memory, job: u64, clusters: &[&str]) -> Progress {
    queue_as(platform, job, of_clusters(clusters))
}

fn queue_as(platform: &Memory, job: u64, requested: Requested) -> Progress {
    let job = JobId(job);
    let written = write_down(platform, job, &requested).unwrap();
    begin(platform, &destination(platform), job, &requested, written).unwrap()
}

/// What the tick does about a job that waits.
fn retry(platform: &Memory, job: u64, clusters: &[&str]) -> Progress {
    let (job, requested) = (JobId(job), of_clusters(clusters));
    let patience = gha_slurm_core::lifecycle::Patience::Due;
    gha_slurm_core::lifecycle::advance(platform, &destination(platform), job, &requested, patience).unwrap()
}

/// Whether the tick moves a job's launch away from its cluster.
fn moves(platform: &Memory, job: u64, clusters: &[&str]) -> bool {
    let mut pace = Pace::default();
    move_on(platform, &destination(platform), JobId(job), &of_clusters(clusters), &mut pace).unwrap()
}

/// A job comes to its end.
fn finish(platform: &Memory, job: u64) {
    Ledger(platform).job(JobId(job)).record_finished(None, None, true).unwrap();
}

fn facts<'a>(platform: &'a Memory, launch: &str) -> LaunchFacts<'a, Memory> {
    Ledger(platform).launch(launch.parse::<LaunchId>().unwrap())
}

fn pass(platform: &Memory, seconds: u64) {
    platform.seconds.set(platform.seconds.get() + seconds);
}

fn orders_left(platform: &Memory) -> Vec<String> {
    let of_a_list = |key: &String| key.contains("/cluster/") && (key.contains("/order/") || key.contains("/cancel/"));
    platform.keys().into_iter().filter(of_a_list).collect()
}

/// The usual way, once: offered, fetched, submitted, ended.
#[test]
fn a_launch_is_fetched_submitted_and_comes_to_its_end() {
    let platform = platform();
    assert!(matches!(queue(&platform, 1, &["alps"]), Progress::Offered(..)));
    assert!(fetch(&platform, "alps", "login1", 0).is_empty(), "there is no room");
    assert_eq!(fetch(&platform, "alps", "login1", 8), [("1-1".to_owned(), false)]);
    assert!(fetch(&platform, "alps", "login1", 8).is_empty(), "it has it");
    let answer = report(&platform, "login1", &json!([submitted("1-1"), state("1-1", "PENDING")]));
    assert_eq!(answer, nothing_to_do());
    let launched = facts(&platform, "1-1").launched().unwrap().unwrap();
    assert_eq!(launched.slurm_job.as_deref(), Some("17"));
    assert!(orders_left(&platform).is_empty());
    report(&platform, "login1", &json!([state("1-1", "COMPLETED")]));
    assert!(facts(&platform, "1-1").ended().unwrap().is_some());
    assert!(platform.sent.borrow().is_empty(), "this component reaches nobody");
    // What was handed out is a secret, and no log has it.
    assert!(Settings(&platform).cluster_definitions().unwrap().get("alps").unwrap().admits(ALPS));
}

#[test]
fn a_launch_token_stands_in_no_log() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    let answer: Answer = exchange(&platform, &request("alps", ALPS, &json!({"room": 1})));
    let token = answer.body["launches"][0]["start"]["launcherToken"].as_str().unwrap();
    assert!(token.len() > 100 && !answer.log_line("exchange").contains(token));
}
