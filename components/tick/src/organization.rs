//! Jobs of several repositories whose runners are registered at one organization.

use gha_slurm_core::ledger::{Scope, Stops};
use gha_slurm_core::ports::{HttpMethod, Store};
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::testing::authorized;
use gha_slurm_scene::Scene;
use serde_json::{Value, json};

use crate::run::tick;

const PROFILES: &str = "
[[profile]]
name = 'cpu'
labels = ['self-hosted', 'slurm']
level = 'organization'
runner_group = 'hpc'
";
const FIRST: (u64, &str) = (7, "octo/repo");
const SECOND: (u64, &str) = (8, "octo/second");
/// Of another organization, with a group of the same name.
const FOREIGN: (u64, &str) = (9, "other/repo");

fn scene() -> Scene {
    let scene = Scene::new();
    scene.platform.set_variable("profiles", Some(PROFILES));
    scene.github("/app/hook/deliveries", 200, json!([]));
    for (organization, group) in [("octo", 3), ("other", 5)] {
        let groups = json!({"runner_groups": [{"id": group, "name": "hpc"}]});
        scene.github(&format!("/orgs/{organization}/actions/runner-groups"), 200, groups);
        let made = json!({"runner": {"id": 500 + group}, "encoded_jit_config": "eyJ"});
        scene.github(&format!("/orgs/{organization}/actions/runners/generate-jitconfig"), 201, made);
    }
    scene
}

fn queue(scene: &Scene, repository: (u64, &str), job: u64) -> Value {
    scene.deliver_of(repository, "queued", job, json!({})).body["decision"].clone()
}

fn start(scene: &Scene, repository: (u64, &str), job: u64, runner: &str) {
    assert_eq!(scene.deliver_of(repository, "in_progress", job, json!({"runner_name": runner})).status, 200);
}

fn run(scene: &Scene) -> Value {
    tick(&scene.platform, &authorized("Bearer an-admin-token-of-32-characters!")).body
}

fn has(scene: &Scene, launch: &str, fact: &str) -> bool {
    scene.platform.get(&format!("gha-slurm/1/launch/{launch}/{fact}")).unwrap().is_some()
}

fn redeemed(answer: &Answer) -> u16 {
    assert!(answer.status != 200 || answer.body == json!({"encoded_jit_config": "eyJ"}), "{}", answer.body);
    answer.status
}

#[test]
fn a_job_whose_runner_went_to_another_repository_gets_another_launch() {
    let scene = scene();
    assert_eq!(queue(&scene, FIRST, 1), "launched");
    assert_eq!(redeemed(&scene.redeem_jit("1-1")), 200);
    // A job that no webhook told of.
    start(&scene, SECOND, 2, "gha-slurm-1-1");
    assert!(has(&scene, "1-1", "took") && has(&scene, "1-1", "lost") && has(&scene, "1-2", "launched"));
}

#[test]
fn repositories_swap_their_runners_and_nothing_is_launched_twice() {
    let scene = scene();
    assert_eq!((queue(&scene, FIRST, 1), queue(&scene, SECOND, 2)), (json!("launched"), json!("launched")));
    assert_eq!(redeemed(&scene.redeem_jit("1-1")), 200);
    start(&scene, SECOND, 2, "gha-slurm-1-1");
    assert!(!has(&scene, "1-1", "lost"), "the other one's launch is free for it");
    assert_eq!(redeemed(&scene.redeem_jit("2-1")), 200, "a job of another repository waits for it");
    start(&scene, FIRST, 1, "gha-slurm-2-1");
    run(&scene);
    assert!(!has(&scene, "1-2", "launched") && !has(&scene, "2-2", "launched"));
}

#[test]
fn a_launch_that_is_free_is_withdrawn_when_the_job_of_the_other_repository_ends() {
    let scene = scene();
    queue(&scene, FIRST, 1);
    queue(&scene, SECOND, 2);
    assert_eq!(redeemed(&scene.redeem_jit("1-1")), 200);
    start(&scene, SECOND, 2, "gha-slurm-1-1");
    scene.deliver_of(FIRST, "completed", 1, json!({"conclusion": "cancelled"}));
    assert!(has(&scene, "2-1", "withdrawn"));
    assert_eq!(redeemed(&scene.redeem_jit("2-1")), 410);
}

#[test]
fn organizations_with_a_group_of_one_name_do_not_share_runners() {
    let scene = scene();
    queue(&scene, FIRST, 1);
    queue(&scene, FOREIGN, 2);
    assert_eq!((redeemed(&scene.redeem_jit("1-1")), redeemed(&scene.redeem_jit("2-1"))), (200, 200));
    let groups: Vec<Value> = {
        let sent = scene.platform.sent.borrow();
        let made = sent.iter().filter(|sent| sent.url.path().ends_with("/generate-jitconfig"));
        made.map(|sent| serde_json::from_slice::<Value>(&sent.body).unwrap()["runner_group_id"].clone()).collect()
    };
    assert_eq!(groups, [3, 5]);
    start(&scene, FOREIGN, 2, "gha-slurm-1-1");
    assert!(!has(&scene, "1-1", "took"), "whoever names a runner so, it is another organization's");
}

#[test]
fn while_one_repository_is_stopped_no_launch_of_another_serves_its_job() {
    let scene = scene();
    queue(&scene, FIRST, 1);
    queue(&scene, SECOND, 2);
    assert_eq!(redeemed(&scene.redeem_jit("1-1")), 200);
    start(&scene, SECOND, 2, "gha-slurm-1-1");
    // Job 1 waits for the launch of job 2.
    let stopped = Scope::Repository(FIRST.1.to_owned().try_into().unwrap());
    Stops(&scene.platform).stop(&stopped).unwrap();
    assert_eq!(redeemed(&scene.redeem_jit("2-1")), 410);
    Stops(&scene.platform).resume(&stopped).unwrap();
    scene.pass(60);
    run(&scene);
    assert!(has(&scene, "1-2", "launched"), "after that it has a launch of its own");
}

#[test]
fn a_runner_without_a_job_is_removed_from_the_organization() {
    let scene = scene();
    queue(&scene, FIRST, 1);
    assert_eq!(redeemed(&scene.redeem_jit("1-1")), 200);
    scene.deliver_of(FIRST, "completed", 1, json!({"conclusion": "cancelled"}));
    scene.github("/orgs/octo/actions/runners/503", 204, Value::Null);
    scene.pass(10 * 60);
    assert_eq!(run(&scene)["removed"], 1);
    let sent = scene.platform.sent.borrow();
    let removed: Vec<_> = sent.iter().filter(|sent| sent.method == HttpMethod::Delete).collect();
    assert_eq!(removed.iter().map(|sent| sent.url.path()).collect::<Vec<_>>(), ["/orgs/octo/actions/runners/503"]);
    assert_eq!(run(&scene)["removed"], 0);
}

#[test]
fn the_share_of_a_repository_is_its_own_in_a_pool_of_many() {
    let scene = scene();
    scene.platform.set_variable("profiles", Some(&format!("{PROFILES}max_running_per_repository = 1")));
    let decisions = [(FIRST, 1), (FIRST, 2), (SECOND, 3)].map(|(repository, job)| queue(&scene, repository, job));
    assert_eq!(decisions, ["launched", "deferred", "launched"]);
}

#[test]
fn a_group_that_the_repository_may_not_use_is_told_to_the_job_script_and_tried_again() {
    let scene = scene();
    scene.github("/orgs/octo/actions/runner-groups", 200, json!({"runner_groups": []}));
    queue(&scene, FIRST, 1);
    let refused = scene.redeem_jit("1-1");
    let reason = |answer: &Answer| answer.body["reason"].clone();
    assert_eq!((refused.status, reason(&refused)), (403, json!("no_runner_group")), "{}", refused.body);
    let error = refused.body["error"].as_str().unwrap();
    assert!(error.starts_with("the organization octo has no runner group 'hpc': create it"), "{error}");
    // The Slurm job ends; later somebody has made the group.
    let groups = json!({"runner_groups": [{"id": 3, "name": "hpc"}]});
    scene.github("/orgs/octo/actions/runner-groups", 200, groups);
    let state = json!({"id": 1, "run_id": 1, "name": "j", "status": "queued", "conclusion": null, "labels": []});
    scene.github("/jobs/1", 200, state);
    scene.slurm("FAILED", None);
    let again = (0..4).any(|_| {
        scene.pass(150);
        run(&scene);
        has(&scene, "1-2", "launched")
    });
    assert!(again);
    assert_eq!(redeemed(&scene.redeem_jit("1-2")), 200);
}
