//! An app that is away, forgets or fails, a Slurm that cannot be asked, gateways that die: each launch is submitted once.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;
use std::time::Duration;

use gha_slurm_protocol::exchange::News;
use serde_json::json;

use crate::app::{Mood, SECRET};
use crate::site::{Site, quick};

#[tokio::test]
async fn reports_are_repeated_until_an_exchange_is_answered() {
    let site = Site::new().await;
    let gateway = site.gateway("one", "");
    site.slurm.is("slow", "0.5");
    site.app.offer("1-1", &json!({}));
    site.until("it is leased", || site.app.with(|book| book.rooms.last() == Some(&63))).await;
    site.app.with(|book| book.mood = Mood::Forgets);
    site.until("it is in Slurm", || site.slurm.count() == 1).await;
    site.exchanges(5).await;
    for mood in [Mood::Forgets, Mood::Fails(500), Mood::Fails(503), Mood::Fails(429), Mood::Forgets] {
        site.app.with(|book| book.mood = mood);
        site.exchanges(3).await;
    }
    let told = || {
        site.app.offer_of("1-1", |offer| offer.reports.iter().filter(|n| matches!(n, News::Submitted { .. })).count())
    };
    assert!(told() >= 2, "what the app forgot to answer is told again");
    site.app.with(|book| book.mood = Mood::Well);
    site.exchanges(2).await;
    let before = told();
    site.exchanges(10).await;
    assert_eq!((told(), site.slurm.count()), (before, 1), "and no more once it is answered");
    gateway.stops().await;
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn a_report_that_the_app_could_not_write_down_is_told_until_it_could() {
    let site = Site::new().await;
    let _gateway = site.gateway("one", "");
    site.app.with(|book| book.mood = Mood::Misses("1-1".to_owned()));
    site.app.offer("1-1", &json!({}));
    site.app.offer("2-1", &json!({}));
    site.submitted("2-1").await;
    site.until("it is told again", || site.app.with(|book| book.missed >= 3)).await;
    let (exchanges, missed) = site.app.with(|book| (book.exchanges, book.missed));
    assert!(missed <= 2 * exchanges, "in each exchange once: {missed} reports in {exchanges} exchanges");
    assert!(!site.app.submitted("1-1"));
    site.app.with(|book| book.mood = Mood::Well);
    site.submitted("1-1").await;
    assert_eq!(site.slurm.jobs_of("1-1").len(), 1);
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn an_app_that_goes_away_and_comes_back_finds_everything() {
    let site = Site::new().await;
    let gateway = site.gateway("one", "");
    site.app.offer("1-1", &json!({}));
    site.submitted("1-1").await;
    site.app.goes();
    site.slurm.set("1", "state", "RUNNING");
    tokio::time::sleep(Duration::from_millis(500)).await;
    site.slurm.set("1", "state", "FAILED");
    tokio::time::sleep(Duration::from_millis(500)).await;
    gateway.dies().await;
    site.app.comes_back().await;
    site.app.offer("2-1", &json!({}));
    let _gateway = site.gateway("one", "");
    site.until("the end is told", || site.app.offer_of("1-1", |offer| offer.states().last() == Some(&"FAILED"))).await;
    site.submitted("2-1").await;
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn an_answer_of_slurms_that_is_lost_is_looked_for() {
    let site = Site::new().await;
    let _gateway = site.gateway("one", "");
    site.slurm.is("loses", "");
    site.app.offer("1-1", &json!({}));
    site.submitted("1-1").await;
    assert_eq!(site.slurm.jobs_of("1-1").len(), 1);
    site.slurm.is("away", "");
    site.app.offer("2-1", &json!({}));
    site.exchanges(15).await;
    assert!(site.app.offer_of("2-1", |offer| offer.reports.is_empty()), "nobody knows yet");
    site.slurm.is_no_longer("away");
    site.submitted("2-1").await;
    assert_eq!(site.slurm.jobs_of("2-1").len(), 1);
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn a_gateway_that_dies_in_the_middle_submits_once() {
    let site = Site::new().await;
    for (number, how) in [(1, "sticks"), (2, "slow"), (3, "away"), (4, "loses")] {
        let launch = format!("{number}-1");
        site.slurm.is(how, "600");
        let gateway = site.gateway("one", "");
        site.app.offer(&launch, &json!({}));
        let leased = || site.app.with(|book| book.rooms.last().is_some_and(|room| *room < 64));
        site.until("it is leased", leased).await;
        if how == "sticks" {
            site.until("Slurm has it, and does not say so", || site.slurm.jobs_of(&launch).len() == 1).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        gateway.dies().await;
        let _ = std::fs::remove_file(site.folder.path().join("slurm").join(how));
        site.app.leases_end();
        let gateway = site.gateway("one", "");
        site.submitted(&launch).await;
        assert_eq!(site.slurm.jobs_of(&launch).len(), 1, "{how}");
        gateway.dies().await;
    }
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn what_is_not_offered_again_is_found_after_a_restart() {
    let site = Site::new().await;
    site.slurm.is("sticks", "");
    let gateway = site.gateway("one", "");
    site.app.offer("1-1", &json!({}));
    site.until("Slurm has it, and does not say so", || site.slurm.jobs_of("1-1").len() == 1).await;
    gateway.dies().await;
    let _gateway = site.gateway("one", "");
    site.submitted("1-1").await;
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn two_gateways_share_the_work_and_find_what_the_other_submitted() {
    let site = Site::new().await;
    let (one, two) = (site.gateway("one", ""), site.gateway("two", ""));
    for number in 1..=40 {
        site.app.offer(&format!("{number}-1"), &json!({}));
        if number % 8 == 0 {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
    let launches = || (1..=40).map(|number| format!("{number}-1"));
    site.until("all are submitted", || launches().all(|launch| site.app.submitted(&launch))).await;
    assert_eq!(site.slurm.count(), 40);
    two.dies().await;
    // The first submits one, dies before it could say so, and its index is the other's to know nothing of.
    site.slurm.is("sticks", "");
    site.app.offer("50-1", &json!({}));
    site.until("Slurm has it", || site.slurm.jobs_of("50-1").len() == 1).await;
    one.dies().await;
    site.slurm.is_no_longer("sticks");
    site.app.leases_end();
    // As long as Slurm cannot be asked, the other does nothing.
    site.slurm.is("away", "");
    let two = site.gateway("two", "");
    site.exchanges(15).await;
    assert!(!site.app.submitted("50-1"));
    site.slurm.is_no_longer("away");
    site.submitted("50-1").await;
    assert_eq!(site.slurm.jobs_of("50-1").len(), 1);
    two.stops().await;
    let audit = site.audit("two");
    let known = audit.iter().find(|line| line["launch"] == "50-1").unwrap();
    assert_eq!(known["outcome"], "known", "{known}");
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn answers_that_are_none_cost_nothing() {
    let site = Site::new().await;
    let gateway = site.gateway("one", "");
    site.app.offer("1-1", &json!({}));
    site.submitted("1-1").await;
    site.exchanges(2).await;
    site.app.with(|book| book.mood = Mood::Fails(500));
    site.slurm.set("1", "state", "COMPLETED");
    let long = format!("{{\"launches\": [], \"pad\": \"{}\"}}", "x".repeat(5 * 1024 * 1024));
    for text in ["", "<html>", "[]", r#"{"launches": 5}"#, r#"{"launches": [{"start": 1}, null], "cancel": [7]"#, &long]
    {
        site.app.with(|book| book.mood = Mood::Says(text.to_owned()));
        site.exchanges(3).await;
    }
    for status in [302, 404, 409, 413, 418, 502] {
        site.app.with(|book| book.mood = Mood::Fails(status));
        site.exchanges(3).await;
    }
    site.app.with(|book| book.mood = Mood::Well);
    site.app.offer("2-1", &json!({}));
    site.submitted("2-1").await;
    site.until("what was to be said is said", || {
        site.app.offer_of("1-1", |offer| offer.states().last() == Some(&"COMPLETED"))
    })
    .await;
    assert_eq!(site.slurm.count(), 2);
    gateway.stops().await;
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn a_report_that_the_app_does_not_take_keeps_no_other() {
    let site = Site::new().await;
    site.app.with(|book| book.mood = Mood::Dislikes("3-1".to_owned()));
    let _gateway = site.gateway("one", "");
    for number in 1..=5 {
        site.app.offer(&format!("{number}-1"), &json!({}));
    }
    for number in [1, 2, 4, 5] {
        site.submitted(&format!("{number}-1")).await;
    }
    site.app.offer("6-1", &json!({}));
    site.submitted("6-1").await;
    assert!(!site.app.submitted("3-1"));
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn an_app_that_hangs_is_left_in_time() {
    let site = Site::new().await;
    let gateway = site.gateway("one", "");
    site.exchanges(2).await;
    site.app.with(|book| book.mood = Mood::Hangs);
    site.exchanges(1).await;
    // The end does not wait for it either.
    let begun = std::time::Instant::now();
    gateway.stops().await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    site.app.nothing_was_wrong();
}

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is logged on this thread from now on. One subscriber serves all threads: whether anybody listens to a line is
/// found out once for the whole process, by whichever thread comes to it first.
struct Log;

impl Log {
    fn start() -> Self {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            let subscriber = tracing_subscriber::fmt().with_writer(|| Log).with_ansi(false).finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        LINES.take();
        Self
    }

    fn text(&self) -> String {
        LINES.with_borrow(|lines| String::from_utf8(lines.clone()).unwrap())
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_app_elsewhere_is_asked_after_a_restart_and_no_other_sees_its_secret() {
    let (site, elsewhere) = (Site::new().await, Site::new().await);
    let gateway = site.gateway("one", "");
    site.exchanges(2).await;
    let fresh = SECRET.replace('4', "5");
    std::fs::write(site.folder.path().join("app-secret"), &fresh).unwrap();
    site.yaml("one", &format!("url: '{}'", elsewhere.app.url()), "");
    assert_eq!(gateway.service.reload().unwrap(), ["app"]);
    // The old app lets nobody in with another secret, and its launch tokens are exchanged at the old app.
    let before = site.app.with(|book| book.rooms.len());
    site.exchanges(6).await;
    assert!(site.app.with(|book| book.rooms.len()) >= before + 5);
    site.app.offer("1-1", &json!({}));
    site.submitted("1-1").await;
    assert_eq!(gateway.service.reload().unwrap(), ["app"], "still");
    // Back again, the secret counts at once.
    site.yaml("one", &format!("url: '{}'", site.app.url()), "");
    assert!(gateway.service.reload().unwrap().is_empty());
    site.app.with(|book| book.secret.clone_from(&fresh));
    site.app.offer("2-1", &json!({}));
    site.submitted("2-1").await;
    assert_eq!(elsewhere.app.with(|book| book.exchanges), 0);
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn a_secret_that_is_not_known_is_told_once_with_its_fix_and_a_reload_reads_the_new_one() {
    let site = Site::new().await;
    let log = Log::start();
    let fresh = SECRET.replace('4', "5");
    site.app.with(|book| book.secret.clone_from(&fresh));
    let gateway = site.gateway_by("one", "", quick());
    site.app.offer("1-1", &json!({}));
    site.exchanges(6).await;
    let told = log.text();
    assert_eq!(told.matches("(401)").count(), 1, "{told}");
    assert!(told.contains("secret_sha256") && told.contains("reach = ") && !told.contains(SECRET), "{told}");
    site.app.with(|book| book.mood = Mood::Well);
    std::fs::write(site.folder.path().join("app-secret"), &fresh).unwrap();
    assert!(gateway.service.reload().unwrap().is_empty());
    site.submitted("1-1").await;
    let told = log.text();
    assert_eq!(told.matches("work again").count(), 1, "{told}");
    assert!(!told.contains(&fresh) && !told.contains("eyJhbGciOiJIUzI1NiJ9"), "{told}");
    gateway.dies().await;
}
