use gha_slurm_core::ledger::{FailureKind, Ledger, LostReason, Requested, Scope, Stops};
use gha_slurm_core::ports::{Clock, Store};
use gha_slurm_core::testing::Memory;
use gha_slurm_core::text::Text;
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::request::Request;
use gha_slurm_protocol::identity::{JobId, LaunchId};
use gha_slurm_scene::Scene;
use serde_json::{Value, json};

use super::answer;

const TOKEN: &str = "an-admin-token-of-32-characters!";
const EVIL: &str = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>";

fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Request {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    Request { method: method.to_owned(), target: target.to_owned(), headers, body: body.as_bytes().to_vec() }
}

fn log_in(platform: &Memory, body: &str) -> Answer {
    answer(platform, &request("POST", "/login", &[("sec-fetch-site", "same-origin")], body))
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
}

/// The page for a logged-in user.
fn page(platform: &Memory, target: &str) -> (u16, String) {
    let welcome = log_in(platform, &format!("token={TOKEN}"));
    let cookie = header(&welcome, "set-cookie").split(';').next().unwrap().to_owned();
    let answer = answer(platform, &request("GET", target, &[("cookie", &cookie)], ""));
    (answer.status, answer.text.map(|(_, text)| text).unwrap_or_default())
}

fn requested(platform: &Memory, label: &str, profile: &str) -> Requested {
    let repository = "octo-org/solver".to_owned().try_into().unwrap();
    Requested {
        html_url: "https://github.com/octo-org/solver".parse().unwrap(),
        repository,
        labels: ["slurm", label].iter().collect(),
        profile: profile.to_owned(),
        name: Text::of(label),
        workflow: Text::of(label),
        branch: Text::of(label),
        created_at: platform.unix_seconds(),
        at: platform.unix_seconds(),
        ..gha_slurm_core::testing::requested()
    }
}

/// Jobs that came every four seconds; the last ones have not ended.
fn populated(jobs: u64) -> Memory {
    let platform = Memory::configured();
    let ledger = Ledger(&platform);
    for number in 1..=jobs {
        let job = JobId(number);
        let launch = ledger.launch(LaunchId { job, number: 1 });
        ledger.job(job).record_requested(&requested(&platform, "x64", "default")).unwrap();
        launch.record_launched(Some("5".to_owned())).unwrap();
        if number + 5 < jobs {
            launch.record_redeemed(None).unwrap();
            let name = LaunchId { job, number: 1 }.runner_name();
            ledger.job(job).record_started(Some(name), Some(LaunchId { job, number: 1 }), None, true).unwrap();
            ledger.job(job).record_finished(Some("success".to_owned()), None, true).unwrap();
        }
        platform.seconds.set(platform.seconds.get() + 4);
    }
    platform
}

#[test]
fn a_stranger_sees_the_login_whatever_is_asked_for() {
    let platform = populated(3);
    for target in ["/", "/jobs/1", "/jobs/999", "/jobs/x", "/?state=waiting"] {
        for cookies in
            [&[][..], &[("cookie", "__Host-gha-slurm-session=1800000000000.00000000000000000000000000000000.00")]]
        {
            let answer = answer(&platform, &request("GET", target, cookies, ""));
            let text = answer.text.as_ref().map(|(_, text)| text.as_str()).unwrap_or_default();
            assert_eq!(answer.status, 401, "{target}");
            assert!(text.contains("Admin token") && !text.contains("octo-org"), "{target}: {text}");
        }
    }
}

#[test]
fn the_login_leads_back_only_to_our_own_pages() {
    let platform = Memory::configured();
    for (next, to) in [
        ("%2Fjobs%2F7", "/jobs/7"),
        ("%2F%3Fstate%3Dwaiting", "/?state=waiting"),
        ("%2F%2Fevil.example", "/"),
        ("https%3A%2F%2Fevil.example", "/"),
        ("%2Fjobs%2F%5C..%5Cx", "/"),
        ("%2Fjobs%2F7%0D%0Aset-cookie%3Aa", "/"),
        ("", "/"),
    ] {
        let answer = log_in(&platform, &format!("next={next}&token={TOKEN}%0A"));
        assert_eq!((answer.status, header(&answer, "location")), (303, to), "{next}");
    }
}

#[test]
fn forms_of_other_sites_are_refused() {
    let platform = Memory::configured();
    for path in ["/login", "/logout"] {
        for headers in [&[][..], &[("sec-fetch-site", "cross-site")], &[("origin", "https://evil.example")]] {
            let answer = answer(&platform, &request("POST", path, headers, &format!("token={TOKEN}")));
            assert_eq!((answer.status, header(&answer, "set-cookie")), (403, ""), "{path} {headers:?}");
        }
    }
}

#[test]
fn who_follows_a_link_from_elsewhere_is_asked_again_by_our_own_page() {
    let platform = Memory::configured();
    let answer = answer(&platform, &request("GET", "/jobs/1", &[("sec-fetch-site", "cross-site")], ""));
    assert!(answer.text.unwrap().1.contains("http-equiv=\"refresh\""));
}

#[test]
fn without_an_admin_token_the_page_says_how_to_set_one() {
    let platform = Memory::configured();
    platform.set_variable("admin_token", None);
    for (method, target) in [("GET", "/"), ("GET", "/jobs/1"), ("POST", "/login")] {
        let answer = answer(&platform, &request(method, target, &[], ""));
        assert_eq!(answer.status, 503);
        assert!(answer.text.unwrap().1.contains("SPIN_VARIABLE_ADMIN_TOKEN"), "{target}");
    }
}

#[test]
fn every_answer_carries_the_policy_and_no_page_is_kept_by_a_cache() {
    let platform = populated(1);
    for (method, target) in [
        ("GET", "/"),
        ("GET", "/jobs/1"),
        ("POST", "/login"),
        ("GET", "/login"),
        ("GET", "/assets/console.js"),
        ("GET", "/assets/x"),
    ] {
        let answer = answer(&platform, &request(method, target, &[], ""));
        assert!(header(&answer, "content-security-policy").starts_with("default-src 'none';"), "{target}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{target}");
        let kept = header(&answer, "cache-control");
        assert!(kept == "no-store" || target == "/assets/x", "{target}: {kept}");
    }
    assert!(!super::POLICY.contains("unsafe"));
}

#[test]
fn whatever_the_facts_say_is_text() {
    let platform = populated(2);
    let ledger = Ledger(&platform);
    let job = JobId(3);
    let launch = ledger.launch(LaunchId { job, number: 1 });
    ledger.job(job).record_requested(&requested(&platform, EVIL, EVIL)).unwrap();
    launch.submissions().record_failed(1, FailureKind::Refused, EVIL).unwrap();
    let ended = JobId(4);
    ledger.job(ended).record_requested(&requested(&platform, EVIL, EVIL)).unwrap();
    ledger.job(ended).record_started(Some(EVIL.to_owned()), None, None, true).unwrap();
    ledger.job(ended).record_finished(Some(EVIL.to_owned()), None, true).unwrap();
    platform
        .set("gha-slurm/1/launch/5-1/launched", format!("{{\"slurm_job\":{:?},\"at\":1}}", EVIL).as_bytes())
        .unwrap();
    ledger.job(JobId(5)).record_requested(&requested(&platform, EVIL, EVIL)).unwrap();
    let delivery = json!({"guid": null, "at": 1, "event": EVIL, "action": EVIL, "status": EVIL, "status_code": 0,
                          "redelivery": true, "job": null});
    let kept = json!({"read_at": 1, "deliveries": [delivery]});
    platform.set("gha-slurm/1/github/deliveries", kept.to_string().as_bytes()).unwrap();
    assert!(page(&platform, "/").1.contains("redelivery"), "the delivery is there");
    let reading = json!({"mode": "poll", "read_at": 1, "newest_at": 1, "handled_at": null, "behind": 7});
    platform.set("gha-slurm/1/github/reading", reading.to_string().as_bytes()).unwrap();
    let polled = page(&platform, "/").1;
    assert!(polled.contains("redelivery") && polled.contains("; about 7 wait to be read"), "{polled}");
    assert!(!polled.contains("<th>Response</th>"), "the webhook of such an App leads nowhere");
    let query: String = url::form_urlencoded::byte_serialize(EVIL.as_bytes()).collect();
    for target in [
        "/".to_owned(),
        "/jobs/3".to_owned(),
        "/jobs/4".to_owned(),
        "/jobs/5".to_owned(),
        format!("/?repository={query}&state={query}&before={query}"),
    ] {
        let (status, text) = page(&platform, &target);
        assert_eq!(status, 200, "{target}");
        assert!(text.contains("&lt;script&gt;alert(1)"), "{target} shows it");
        assert_eq!(text.matches("<script").count(), 1, "{target}: our own alone");
        assert!(!text.contains("<img") && !text.contains("style="), "{target}");
    }
}

#[test]
fn a_stop_is_seen_on_the_pages_with_the_way_to_end_it() {
    let scene = Scene::new();
    let all = "stopped the launches of all repositories";
    let stops = Stops(&scene.platform);
    stops.stop(&Scope::Repository("octo/repo".to_owned().try_into().unwrap())).unwrap();
    scene.queue(1);
    let job = page(&scene.platform, "/jobs/1").1;
    assert!(job.contains("gha-slurm resume OWNER/REPO") && job.contains("Waiting for the operator"), "{job}");
    let overview = page(&scene.platform, "/").1;
    assert!(overview.contains("stopped launches of this repository") && !overview.contains(all), "{overview}");
    stops.stop(&Scope::All).unwrap();
    assert!(page(&scene.platform, "/").1.contains(all));
    assert!(page(&scene.platform, "/jobs/1").1.contains("the operator stopped all launches"));
}

#[test]
fn a_launch_token_that_came_again_is_seen_on_the_page_of_its_job() {
    let scene = Scene::new();
    scene.queue(1);
    assert_eq!(scene.redeem("1-1").status, 200);
    let shown = || page(&scene.platform, "/jobs/1").1;
    assert!(!shown().to_lowercase().contains("used again"), "once is as it should be");
    scene.pass(30);
    assert_eq!(scene.redeem("1-1").status, 409);
    let page = shown();
    assert!(page.contains("<li class=\"bad\"><strong>Launch token used again</strong>"), "in what happened: {page}");
    let (_, launches) = page.split_once("<h2>Launches</h2>").unwrap();
    assert!(launches.contains("launch token used again ") && launches.contains(": it was stolen"), "{launches}");
}

#[test]
fn clusters_and_what_waits_for_them_are_seen() {
    let scene = Scene::fetching(&["alps", "eiger"]);
    let asks = |said: &Value| scene.exchange("alps", said);
    asks(&json!({"gateway": "login1", "room": 0, "queue": {"pending": 5, "running": 3}}));
    scene.queue(1);
    let overview = page(&scene.platform, "/").1;
    let (_, clusters) = overview.split_once("<h2>Clusters</h2>").unwrap();
    let (clusters, _) = clusters.split_once("</section>").unwrap();
    assert!(
        clusters.contains(">asks<") && clusters.contains(">never asked<") && clusters.contains("login1"),
        "{clusters}"
    );
    assert!(overview.contains("waits for cluster alps to fetch it") && overview.contains("<option value=\"eiger\">"));
    assert!(page(&scene.platform, "/?cluster=eiger").1.contains("No jobs."));

    asks(&json!({"gateway": "login1", "room": 1}));
    scene.pass(40);
    let job = page(&scene.platform, "/jobs/1").1;
    assert!(job.contains("<dt>Cluster</dt><dd>alps</dd>"), "{job}");
    assert!(job.contains("fetched by gateway login1") && job.contains("not reported yet"), "{job}");
    let submitted = json!({"launch": "1-1", "news": "submitted", "job_id": "17"});
    let pending = json!({
        "launch": "1-1", "news": "state", "job_id": "17", "state": "PENDING", "reason": "Priority",
        "starts_in": 840, "position": 4,
    });
    asks(&json!({"gateway": "login1", "reports": [submitted, pending]}));
    let job = page(&scene.platform, "/jobs/1").1;
    assert!(job.contains("PENDING: Priority") && !job.contains("not reported yet"), "{job}");
    assert!(job.contains("<dt>Slurm's estimate</dt><dd>starts in about 14 min, place 4 in the queue"), "{job}");
    let listed = page(&scene.platform, "/").1;
    assert!(listed.contains("Slurm's estimate: starts in about 14 min, place 4 in the queue"), "{listed}");

    scene.queue(2);
    scene.pass(12 * 60);
    let overview = page(&scene.platform, "/").1;
    assert!(overview.contains(">silent<") && overview.contains("cluster alps has not asked for 12 min"), "{overview}");
    // Without names there is no table.
    assert!(!page(&populated(1), "/").1.contains("Clusters"));
}

#[test]
fn a_launch_that_was_moved_is_seen_on_the_page_of_its_job() {
    let scene = Scene::fetching(&["alps", "eiger"]);
    scene.queue(1);
    let ledger = Ledger(&scene.platform);
    ledger.launch("1-2".parse().unwrap()).record_cluster(&"eiger".parse().unwrap()).unwrap();
    ledger.launch("1-1".parse().unwrap()).record_lost(LostReason::Moved).unwrap();
    let job = page(&scene.platform, "/jobs/1").1;
    assert!(job.contains("<strong>Moved to another cluster</strong>"), "{job}");
    assert!(job.contains("from alps, which was silent or refused it, to eiger"), "{job}");
    assert!(job.contains("<dt>Cluster</dt><dd>eiger</dd>") && !job.contains("lost: "), "{job}");
}

#[test]
fn a_log_out_is_recorded_once_with_its_address() {
    let platform = Memory::configured();
    let welcome = log_in(&platform, &format!("token={TOKEN}"));
    let cookie = header(&welcome, "set-cookie").split(';').next().unwrap();
    platform.audited.borrow_mut().clear();
    let log_out = |from: &str, cookie: &str| {
        let headers = [("sec-fetch-site", from), ("spin-client-addr", "192.0.2.1:1000"), ("cookie", cookie)];
        answer(&platform, &request("POST", "/logout", &headers, "")).status
    };
    assert_eq!((log_out("cross-site", cookie), log_out("same-origin", "")), (403, 303));
    assert!(platform.audited.borrow().is_empty(), "no session ended");
    assert_eq!([log_out("same-origin", cookie), log_out("same-origin", cookie)], [303; 2]);
    let lines: Vec<Value> = platform.audited.borrow().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let at = platform.unix_seconds();
    assert_eq!(lines, [json!({"audit": "log_out", "client": "192.0.2.1", "time": at, "level": "info"})]);
}

#[test]
fn a_page_past_the_end_is_empty_and_leads_back() {
    let platform = populated(3);
    for before in ["0.0", "1.1", "99999999999.5", "x", "-1.-1", "1.99999999999999999999"] {
        let (status, text) = page(&platform, &format!("/?before={before}"));
        assert_eq!(status, 200, "{before}");
        assert!(text.contains("No jobs.") && text.contains("Newest") || text.contains("#3"), "{before}");
    }
}

#[test]
fn fifty_thousand_jobs_cost_hardly_more_reads_than_five_thousand() {
    let reads = |jobs| {
        let platform = populated(jobs);
        // What is over is quiet after some minutes.
        platform.seconds.set(platform.seconds.get() + 600);
        let counted = format!("{} succeeded", jobs - 6);
        // The digests are made by looking, some at each look.
        let looks = (0..100).take_while(|_| !page(&platform, "/").1.contains(&counted)).count();
        assert!(looks < 100, "{jobs}: all are counted in the end");
        let before = platform.operations.get();
        let (status, text) = page(&platform, "/");
        let reads = platform.operations.get() - before;
        assert_eq!(status, 200);
        println!("{jobs} jobs: {reads} keys, {} bytes", text.len());
        assert!(text.len() < 100_000, "{} bytes", text.len());
        reads
    };
    let (few, many) = (reads(5_000), reads(50_000));
    // Two keys more for each 256 jobs: a digest is read for the figures and for the list.
    assert!(many < few + 3 * 45_000 / 256, "{few} and {many}");
}
