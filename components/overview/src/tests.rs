//! What is read of jobs that the flows brought somewhere.

mod clusters;

use gha_slurm_core::ledger::{Bucket, Ledger, Place, Scope, Stopped, Stops};
use gha_slurm_core::ports::Store;
use gha_slurm_protocol::identity::JobId;
use gha_slurm_scene::{Gateway, Scene};
use serde_json::json;

use super::seen::Seen;
use super::{Event, Figures, Filter, JobPage, Stage, State, StateFilter, Why, figures, job, jobs};

fn state(scene: &Scene, id: u64) -> State {
    job(&scene.platform, JobId(id)).unwrap().unwrap().summary.state
}

fn page(scene: &Scene, filter: &Filter, before: Option<Place>, limit: usize) -> JobPage {
    jobs(&scene.platform, filter, before, limit).unwrap()
}

/// All pages; the jobs' ids.
fn all(scene: &Scene, filter: &Filter, limit: usize) -> Vec<u64> {
    let (mut ids, mut before) = (Vec::new(), None);
    loop {
        let page = page(scene, filter, before, limit);
        assert!(page.jobs.len() <= limit);
        ids.extend(page.jobs.iter().map(|job| job.job.0));
        match page.next {
            Some(next) => before = Some(next.parse().unwrap()),
            None => return ids,
        }
    }
}

fn made(scene: &Scene) -> Figures {
    figures(&scene.platform).unwrap()
}

#[test]
fn a_job_goes_through_its_states() {
    let scene = Scene::new();
    assert_eq!(job(&scene.platform, JobId(1)).unwrap(), None);
    scene.gateway(Gateway::Away);
    scene.queue(1);
    assert_eq!(state(&scene, 1), State::Unsubmitted);
    scene.gateway(Gateway::Takes);
    scene.pass(30);
    scene.queue(1);
    assert_eq!(state(&scene, 1), State::Pending);
    scene.pass(100);
    scene.redeem("1-1");
    assert_eq!(state(&scene, 1), State::Starting);
    scene.start(1, "gha-slurm-1-1");
    assert_eq!(state(&scene, 1), State::Running);
    scene.pass(60);
    scene.finish(1, "failure");
    let detail = job(&scene.platform, JobId(1)).unwrap().unwrap();
    assert_eq!((detail.summary.state, detail.summary.conclusion.as_deref()), (State::Finished, Some("failure")));
    let events: Vec<Event> = detail.timeline.iter().map(|moment| moment.event).collect();
    let expected = [
        Event::Created,
        Event::Requested,
        Event::SubmitFailed,
        Event::Submitted,
        Event::Redeemed,
        Event::Started,
        Event::Finished,
    ];
    assert_eq!(events, expected);
    assert_eq!(detail.launches[0].submit_failures, 1);
    assert_eq!(Stage::Submit.of(&detail.summary.times).unwrap().1, 30);
    assert_eq!(Stage::Pending.of(&detail.summary.times).unwrap().1, 100);
    assert_eq!(detail.summary.url.as_deref(), Some("https://github.com/octo/repo/runs/1"));
}

#[test]
fn the_other_ways_of_a_job_have_their_states() {
    let scene = Scene::new();
    let gpu = json!({"labels": ["gpu"]});
    scene.queue_with(1, gpu.clone());
    scene.queue_with(2, gpu.clone());
    scene.queue_with(3, gpu);
    let third = job(&scene.platform, JobId(3)).unwrap().unwrap();
    assert_eq!((state(&scene, 1), third.summary.state, third.place), (State::Pending, State::InLine, Some(2)));
    scene.queue_with(4, json!({"created_at": "2020-01-01T00:00:00Z"}));
    assert_eq!(state(&scene, 4), State::Unconfirmed);
    scene.start(5, "another-runner");
    let foreign = job(&scene.platform, JobId(5)).unwrap().unwrap().summary;
    assert_eq!((foreign.state, foreign.repository, foreign.launch), (State::Running, None, None));
    for number in 1..=3 {
        let launch = format!("6-{number}").parse().unwrap();
        Ledger(&scene.platform).launch(launch).record_lost(gha_slurm_core::ledger::LostReason::RunnerTaken).unwrap();
    }
    scene.queue(6);
    assert_eq!(state(&scene, 6), State::GivenUp);
    scene.pass(24 * 60 * 60 + 1);
    assert_eq!(state(&scene, 1), State::Expired);
}

#[test]
fn a_job_that_was_released_counts_from_then() {
    let scene = Scene::new();
    scene.queue_with(1, json!({"status": "waiting"}));
    assert_eq!(state(&scene, 1), State::Held);
    scene.pass(20 * 60 * 60);
    Ledger(&scene.platform).job(JobId(1)).record_released().unwrap();
    let released = scene.platform.seconds.get();
    let seen = || {
        let summary = job(&scene.platform, JobId(1)).unwrap().unwrap().summary;
        (summary.state, summary.since)
    };
    scene.pass(23 * 60 * 60);
    assert_eq!(seen(), (State::Unsubmitted, released));
    scene.pass(60 * 60);
    assert_eq!(seen(), (State::Expired, released + 24 * 60 * 60));
}

#[test]
fn a_stop_is_told_of_the_jobs_that_it_keeps() {
    let scene = Scene::new();
    let stops = Stops(&scene.platform);
    let repository = |name: &str| Scope::Repository(name.to_owned().try_into().unwrap());
    scene.queue(1);
    scene.queue_with(2, json!({"labels": ["gpu"]}));
    scene.queue_with(3, json!({"labels": ["gpu"]}));
    stops.stop(&repository("Octo/Repo")).unwrap();
    scene.queue(4);
    scene.queue_in(5, "octo/other");
    let why = |id| job(&scene.platform, JobId(id)).unwrap().unwrap().summary.why;
    let of_repository = Some(Why::Stopped(Stopped::Repository));
    assert_eq!([1, 2, 3, 4, 5].map(why), [None, None, of_repository.clone(), of_repository, None]);
    assert!(!made(&scene).stopped);
    stops.stop(&Scope::All).unwrap();
    scene.queue_in(6, "octo/other");
    assert_eq!([4, 6].map(why), [Some(Why::Stopped(Stopped::All)), Some(Why::Stopped(Stopped::All))]);
    assert!(made(&scene).stopped);
    let mut listed = page(&scene, &Filter::default(), None, 50).jobs;
    let told: Vec<String> = listed.iter().filter_map(|job| Some(job.why.as_ref()?.to_string())).collect();
    assert_eq!(told, ["the operator stopped all launches; to let them go on: gha-slurm resume"; 3]);
    let mut seen = Seen::by(&scene.platform);
    let mut reads = || {
        let before = scene.platform.operations.get();
        seen.tell(&scene.platform, &mut listed).unwrap();
        scene.platform.operations.get() - before
    };
    assert_eq!([reads(), reads()], [3, 0], "one of all, one of each repository, and once");
    let mut pending = vec![job(&scene.platform, JobId(1)).unwrap().unwrap().summary];
    let before = scene.platform.operations.get();
    Seen::by(&scene.platform).tell(&scene.platform, &mut pending).unwrap();
    assert_eq!(scene.platform.operations.get(), before, "a job that is in Slurm costs nothing");
}

#[test]
fn a_stolen_runner_shows_whose_launch_serves_whom() {
    let scene = Scene::new();
    scene.queue(1);
    scene.queue(2);
    scene.redeem("2-1");
    // GitHub gives the runner of 2 to 1: now 2 waits for the launch of 1.
    scene.start(1, "gha-slurm-2-1");
    let thief = job(&scene.platform, JobId(1)).unwrap().unwrap();
    assert_eq!(thief.summary.launch, Some("2-1".parse().unwrap()));
    assert!(thief.summary.times.redeemed.is_some());
    let robbed = job(&scene.platform, JobId(2)).unwrap().unwrap();
    assert_eq!((robbed.summary.state, robbed.summary.launch), (State::Pending, Some("1-1".parse().unwrap())));
}

#[test]
fn pages_hold_each_job_once_and_end() {
    let scene = Scene::new();
    for id in 1..=300 {
        scene.queue(id);
        scene.pass(20);
    }
    scene.queue(7); // A redelivery.
    let newest_first: Vec<u64> = (1..=300).rev().collect();
    for limit in [1, 7, 200] {
        assert_eq!(all(&scene, &Filter::default(), limit), newest_first, "{limit}");
    }
    scene.start(100, "gha-slurm-100-1");
    let only = |state: &str| Filter { state: Some(state.parse::<StateFilter>().unwrap()), ..Filter::default() };
    assert_eq!(all(&scene, &only("running"), 50), [100]);
    assert_eq!(all(&scene, &only("waiting"), 50).len(), 299);
    let of = |name: &str| Filter { repository: Some(name.to_owned()), ..Filter::default() };
    assert_eq!(all(&scene, &of("OCTO/repo"), 200).len(), 300);
    assert_eq!(all(&scene, &of("octo/other"), 200), Vec::<u64>::new());
    let profile = Filter { profile: Some("gpu".to_owned()), ..Filter::default() };
    assert_eq!(all(&scene, &profile, 200), Vec::<u64>::new());
    let beyond = page(&scene, &Filter::default(), Some("1.1".parse().unwrap()), 50);
    assert_eq!((beyond.jobs.len(), beyond.next), (0, None));
    let far = Place { bucket: Bucket(u64::MAX), slot: i64::MAX };
    assert_eq!(page(&scene, &Filter::default(), Some(far), 3).jobs.len(), 3);
}

#[test]
fn what_is_settled_is_read_from_digests_and_gives_the_same_figures() {
    let scene = Scene::new();
    for id in 1..=400 {
        scene.whole(id);
    }
    scene.gateway(Gateway::Away);
    scene.queue(500);
    scene.pass(600);
    let first = made(&scene);
    assert!(first.complete);
    assert_eq!((first.states[&State::Finished], first.states[&State::Unsubmitted]), (400, 1));
    let before = scene.platform.operations.get();
    let second = made(&scene);
    let operations = scene.platform.operations.get() - before;
    assert_eq!(first, second);
    assert!(operations < 2500, "{operations} operations, though nearly all is settled");
    // Without the digests the same comes of the facts.
    for key in scene.platform.keys().iter().filter(|key| key.contains("/digest/")) {
        scene.platform.delete(key).unwrap();
    }
    assert_eq!(made(&scene), first);
    let group = &first.groups[0];
    assert_eq!((group.repository.as_str(), group.profile.as_str()), ("octo/repo", "cpu"));
    assert_eq!((group.waiting, group.oldest_seconds, group.conclusions["success"]), (1, 600, 400));
    let stage = |stage| first.stages.iter().find(|times| times.stage == stage).unwrap();
    assert_eq!((stage(Stage::Pending).median, stage(Stage::Start).p95, stage(Stage::Run).max), (10, 3, 60));
    assert_eq!(stage(Stage::Wait).jobs, 400);
    assert_eq!((first.day.len(), first.day.last().unwrap().waiting), (96, 1));
    assert_eq!(first.day.iter().map(|point| point.started).sum::<u64>(), 400);
    assert_eq!((first.troubles.len(), first.troubles[0].job), (1, JobId(500)));
    assert!(first.troubles[0].why.to_string().contains("cannot be reached"), "{:?}", first.troubles);
}

#[test]
fn the_work_of_one_call_is_bounded_and_what_is_left_is_said() {
    let scene = Scene::new();
    for id in 1..=3000 {
        scene.queue(id);
    }
    let before = scene.platform.operations.get();
    let some = made(&scene);
    assert!(!some.complete && some.states[&State::Pending] >= 1500, "{:?}", some.states);
    let page = page(&scene, &Filter { state: Some(StateFilter::Only(State::Running)), ..Filter::default() }, None, 50);
    assert!(page.jobs.is_empty() && page.next.is_some());
    assert!(scene.platform.operations.get() - before < 75_000);
    assert_eq!(all(&scene, &Filter::default(), 200).len(), 3000);
}

#[test]
fn a_fact_that_cannot_be_read_is_named_and_hides_nothing_else() {
    let scene = Scene::new();
    scene.queue(1);
    scene.queue(2);
    scene.platform.set("gha-slurm/1/job/1/requested", b"?").unwrap();
    assert_eq!(all(&scene, &Filter::default(), 50), [2]);
    let figures = made(&scene);
    assert_eq!(figures.states[&State::Pending], 1);
    assert!(figures.problems[0].contains("job/1/requested"), "{:?}", figures.problems);
    assert!(job(&scene.platform, JobId(1)).is_err());
}
