//! A gateway that fetches its launches, before a strict stand-in for the app and a Slurm that is a folder.

// Tests fail by panicking, in helpers too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod app;
mod connections;
mod site;
mod trouble;

use std::time::Duration;

use gha_slurm_gateway::fetching::Timing;
use gha_slurm_protocol::exchange::{News, QueueLength};
use serde_json::json;
use site::{Site, quick};

#[tokio::test]
async fn a_launch_is_fetched_submitted_once_and_watched_to_its_end() {
    let site = Site::new().await;
    let gateway = site.gateway("one", "");
    site.app.offer("1-1", &json!({"profile": "gpu"}));
    site.submitted("1-1").await;
    let job = site.slurm.jobs_of("1-1").remove(0);
    let states =
        || site.app.offer_of("1-1", |offer| offer.states().iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
    site.until("it waits", || states() == ["PENDING"]).await;
    let waits = QueueLength { pending: 1, running: 0 };
    site.until("the queue is told", || site.app.with(|book| book.queues.last() == Some(&waits))).await;

    let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 840;
    site.slurm.set(&job, "start", &soon.to_string());
    site.until("the expected start is told", || states().len() == 2).await;
    site.app.offer_of("1-1", |offer| {
        let Some(News::State(told)) = offer.reports.last() else { panic!("{offer:?}") };
        assert!(told.starts_in.is_some_and(|seconds| (800..=840).contains(&seconds)), "{told:?}");
        assert_eq!((told.position, told.reason.as_deref()), (Some(1), Some("Priority")));
    });
    site.exchanges(10).await;
    assert_eq!(states().len(), 2, "nothing changed");

    site.slurm.set(&job, "state", "RUNNING");
    site.until("it runs", || states().last().is_some_and(|state| state == "RUNNING")).await;
    site.slurm.set(&job, "state", "COMPLETED");
    site.until("it is over", || states().last().is_some_and(|state| state == "COMPLETED")).await;
    site.exchanges(15).await;
    assert_eq!(states(), ["PENDING", "PENDING", "RUNNING", "COMPLETED"], "its end is told once");
    let asked = || std::fs::read_to_string(site.folder.path().join("slurm/asked")).unwrap().len();
    let before = asked();
    site.exchanges(10).await;
    assert_eq!(asked(), before, "nobody asks about what is over");
    assert_eq!(site.slurm.count(), 1);
    gateway.stops().await;
    site.app.nothing_was_wrong();
    let audit = site.audit("one");
    assert_eq!(audit.len(), 1, "{audit:?}");
    for (key, value) in [
        ("event", json!("launch")),
        ("outcome", json!("submitted")),
        ("status", json!(200)),
        ("cluster", json!("alps")),
        ("launch", json!("1-1")),
        ("slurm_user", json!("daemon")),
        ("slurm_job", json!(1)),
        ("profile", json!("gpu")),
    ] {
        assert_eq!(audit[0][key], value, "{key}: {audit:?}");
    }
}

#[tokio::test]
async fn what_is_refused_is_told_with_its_reason() {
    let site = Site::new().await;
    let gateway = site.gateway("one", "");
    for (launch, more, words) in [
        ("1-1", json!({"gitHubURL": "https://github.com/octo-org/unknown"}), "no Slurm user is mapped"),
        ("2-1", json!({"tokenURL": "https://evil.example/gha/runner"}), "only below app.url"),
        ("3-1", json!({"partition": "--wrap=id"}), "partition: "),
        ("4-1", json!({"launcherToken": {"hunter2": 1}}), "not understood by this gateway"),
        ("5-1", json!({"slurmUser": "root"}), "slurmUser: "),
    ] {
        site.app.offer(launch, &more);
        site.until(launch, || site.app.offer_of(launch, |offer| !offer.reports.is_empty())).await;
        site.app.offer_of(launch, |offer| {
            let News::Refused { message } = &offer.reports[0] else { panic!("{launch}: {offer:?}") };
            assert!(message.contains(words) && !message.contains("hunter2"), "{launch}: {message}");
        });
    }
    site.slurm.is("refuses", "");
    site.app.offer("6-1", &json!({}));
    site.until("Slurm's words", || {
        site.app.offer_of(
            "6-1",
            |offer| matches!(offer.reports.first(), Some(News::Refused { message }) if message.contains("Invalid qos")),
        )
    })
    .await;
    assert_eq!(site.slurm.count(), 0);
    gateway.stops().await;
    let audit = site.audit("one");
    let told: Vec<_> = audit.iter().map(|line| (line["outcome"].as_str().unwrap(), line["status"].as_u64())).collect();
    let refused = [403, 422, 422, 422, 422, 422].map(|status| ("refused", Some(status)));
    assert_eq!(told, refused);
    assert!(audit.iter().all(|line| line["cluster"] == "alps" && line["reason"].is_string()), "{audit:?}");
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn no_more_is_asked_for_than_may_live() {
    let site = Site::new().await;
    let _gateway = site.gateway("one", ", atMost: 2");
    for number in 1..=4 {
        site.app.offer(&format!("{number}-1"), &json!({}));
    }
    site.until("two are submitted", || site.slurm.count() == 2).await;
    site.exchanges(10).await;
    assert_eq!(site.slurm.count(), 2);
    assert_eq!(site.app.with(|book| book.rooms.last().copied()), Some(0));
    for end in ["1", "2"] {
        site.slurm.set(end, "state", "COMPLETED");
        let more = end.parse::<usize>().unwrap() + 2;
        site.until("one takes its place", || site.slurm.count() == more).await;
    }
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn a_cancel_comes_before_or_after_or_for_nothing_that_is_known() {
    let site = Site::new().await;
    let gateway = site.gateway("one", "");
    let cancelled = |launch: &str| site.app.with(|book| !book.cancel.contains(launch));
    let cancel = |launch: &str| site.app.with(|book| book.cancel.insert(launch.to_owned()));
    site.app.offer("1-1", &json!({}));
    site.submitted("1-1").await;
    // Slurm cannot be asked: nothing is reported.
    site.slurm.is("away", "");
    cancel("1-1");
    cancel("2-1");
    site.until("one that was never here", || cancelled("2-1")).await;
    site.exchanges(10).await;
    assert!(!cancelled("1-1"));
    site.slurm.is_no_longer("away");
    site.until("it is cancelled", || cancelled("1-1")).await;
    assert_eq!(site.slurm.state("1"), "CANCELLED");
    site.until("its end is told", || site.app.offer_of("1-1", |offer| offer.states().contains(&"CANCELLED"))).await;
    // What was cancelled before it came is not submitted.
    site.app.offer("2-1", &json!({}));
    let news = || site.app.offer_of("2-1", |offer| offer.reports.first().cloned());
    site.until("the launch is reported", || news().is_some()).await;
    assert_eq!((news(), site.slurm.count()), (Some(News::Cancelled), 1));
    gateway.stops().await;
    let audit = site.audit("one");
    let of = |event: &str, launch: &str| {
        let line = audit.iter().find(|line| line["event"] == event && line["launch"] == launch);
        line.map(|line| (line["outcome"].as_str().unwrap(), line["status"].as_u64().unwrap()))
    };
    assert_eq!(of("cancel", "1-1"), Some(("done", 200)));
    assert_eq!(of("cancel", "2-1"), Some(("refused", 404)), "as over HTTP");
    assert_eq!(of("launch", "2-1"), Some(("refused", 410)));
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn a_slurm_job_that_its_own_steps_renamed_keeps_its_place_and_is_cancelled() {
    let site = Site::new().await;
    let _gateway = site.gateway("one", ", atMost: 1");
    site.app.offer("1-1", &json!({}));
    site.submitted("1-1").await;
    site.app.offer("2-1", &json!({}));
    site.slurm.set("1", "state", "RUNNING");
    site.slurm.set("1", "name", "x");
    let last = || site.app.offer_of("1-1", |offer| offer.states().last().map(|state| (*state).to_owned()));
    site.until("it runs", || last().as_deref() == Some("RUNNING")).await;
    // Requeued by itself, it counts as submitted anew.
    let later = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 86_400;
    site.slurm.set("1", "line", &format!("1|{later}|1|PENDING|N/A|gha|BeginTime\n"));
    site.until("it waits", || last().as_deref() == Some("PENDING")).await;
    site.exchanges(15).await;
    assert_eq!((last().as_deref(), site.slurm.count()), (Some("PENDING"), 1));
    site.app.with(|book| book.cancel.insert("1-1".to_owned()));
    site.exchanges(15).await;
    assert!(site.app.with(|book| book.cancel.contains("1-1")), "nobody says that it was cancelled");
    assert_eq!(site.slurm.state("1"), "RUNNING");
    std::fs::remove_file(site.folder.path().join("slurm/jobs/1/line")).unwrap();
    site.until("it is cancelled", || site.slurm.state("1") == "CANCELLED").await;
    site.submitted("2-1").await;
    // What has that id a day later, under another name and never requeued, is another's.
    site.slurm.set("2", "name", "simulation");
    site.slurm.set("2", "line", &format!("2|{later}|0|RUNNING|N/A|gha|None\n"));
    site.until("it is gone", || site.app.offer_of("2-1", |offer| offer.states().contains(&"UNKNOWN"))).await;
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn a_line_that_is_not_understood_hides_no_other() {
    let site = Site::new().await;
    let _gateway = site.gateway("one", "");
    for number in 1..=3 {
        site.app.offer(&format!("{number}-1"), &json!({}));
        site.submitted(&format!("{number}-1")).await;
    }
    let job = |launch: &str| site.slurm.jobs_of(launch).remove(0);
    site.slurm.set(&job("1-1"), "line", &format!("{}|a state of 2030\n", job("1-1")));
    site.slurm.set(&job("2-1"), "line", &format!("{}|1|0|PENDING|N/A|gha|odd | reason\n", job("2-1")));
    site.slurm.set(&job("3-1"), "state", "COMPLETED");
    site.until("an end is told", || site.app.offer_of("3-1", |offer| offer.states().last() == Some(&"COMPLETED")))
        .await;
    let reason = |offer: &crate::app::Offer| match offer.reports.last() {
        Some(News::State(job)) => job.reason.clone(),
        _ => None,
    };
    site.until("a reason is told", || site.app.offer_of("2-1", reason).as_deref() == Some("odd | reason")).await;
    site.exchanges(10).await;
    assert_ne!(
        site.app.offer_of("1-1", |offer| offer.states().last().map(|s| (*s).to_owned())).as_deref(),
        Some("UNKNOWN")
    );
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn a_lease_that_ran_out_is_not_submitted() {
    let site = Site::new().await;
    site.app.with(|book| book.lease_seconds = 60);
    let gateway = site.gateway("one", "");
    site.app.offer("1-1", &json!({}));
    let unavailable = |launch: &str| {
        site.app.offer_of(launch, |offer| matches!(offer.reports.first(), Some(News::Unavailable { .. })))
    };
    site.until("it is given back", || unavailable("1-1")).await;
    // A second for each: more than are submitted in that time.
    site.app.with(|book| book.lease_seconds = 61);
    site.slurm.is("slow", "0.7");
    for number in 10..60 {
        site.app.offer(&format!("{number}-1"), &json!({}));
    }
    let launches = || (10..60).map(|number| format!("{number}-1"));
    site.until("each is settled", || launches().all(|launch| site.app.submitted(&launch) || unavailable(&launch)))
        .await;
    gateway.stops().await;
    let (given_back, submitted): (Vec<_>, Vec<_>) = launches().partition(|launch| unavailable(launch));
    assert!(given_back.len() >= 10 && submitted.len() >= 16, "{} {}", given_back.len(), submitted.len());
    assert!(given_back.iter().all(|launch| site.slurm.jobs_of(launch).is_empty()));
    assert!(submitted.iter().all(|launch| site.slurm.jobs_of(launch).len() == 1));
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn the_end_of_the_gateway_waits_for_what_is_being_submitted_and_tells_it() {
    let site = Site::new().await;
    let gateway = site.gateway("one", "");
    site.slurm.is("slow", "1");
    for number in 1..=20 {
        site.app.offer(&format!("{number}-1"), &json!({}));
    }
    site.until("they are leased", || site.app.with(|book| book.rooms.last().is_some_and(|room| *room == 44))).await;
    gateway.stops().await;
    let reports = |launch: String| site.app.offer_of(&launch, |offer| offer.reports.first().cloned());
    let all: Vec<_> = (1..=20).map(|number| reports(format!("{number}-1"))).collect();
    let submitted = all.iter().filter(|news| matches!(news, Some(News::Submitted { .. }))).count();
    let given_back = all.iter().filter(|news| matches!(news, Some(News::Unavailable { .. }))).count();
    assert_eq!((submitted, given_back, site.slurm.count()), (16, 4, 16), "{all:?}");
    assert_eq!(site.app.with(|book| book.rooms.last().copied()), Some(0));
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn a_launch_reaches_slurm_within_two_seconds_at_the_median() {
    let site = Site::new().await;
    let _gateway = site.gateway_by("one", ", pollSeconds: 1", Timing::default());
    site.exchanges(1).await;
    let mut times = Vec::new();
    for number in 1..=21 {
        let launch = format!("{number}-1");
        site.app.offer(&launch, &json!({}));
        tokio::time::sleep(Duration::from_millis(190)).await;
    }
    for number in 1..=21 {
        let launch = format!("{number}-1");
        site.submitted(&launch).await;
        // By when Slurm had it.
        let job = site.slurm.jobs_of(&launch).remove(0);
        let made = site.folder.path().join("slurm/jobs").join(job).join("name");
        let age = std::fs::metadata(made).unwrap().modified().unwrap().elapsed().unwrap();
        times.push(site.app.age(&launch).saturating_sub(age));
    }
    times.sort();
    println!("from the offer to Slurm: median {:?}, most {:?}", times[10], times[20]);
    assert!(times[10] < Duration::from_secs(2), "{times:?}");
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn an_idle_gateway_asks_now_and_then_and_says_nothing() {
    let site = Site::new().await;
    let timing = Timing { poll: Some(Duration::from_millis(200)), queue: Duration::from_secs(600), ..quick() };
    let gateway = site.gateway_by("one", "", timing);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (exchanges, queues) = site.app.with(|book| (book.exchanges, book.queues.len()));
    assert!((7..=12).contains(&exchanges) && queues == 1, "{exchanges} {queues}");
    gateway.stops().await;
    site.app.nothing_was_wrong();
}
