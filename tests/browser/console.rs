//! The console as somebody uses it who has the admin token.

use serde_json::json;

use crate::browser::{Browser, ENTER, TAB};
use crate::support::{ADMIN_TOKEN, App, LABELS, REPOSITORY, queued};

/// The page's script asked for the page again.
const FETCHED: &str = "return performance.getEntriesByType('resource').some(entry => entry.initiatorType === 'fetch')";

/// Opens a page and logs in there.
pub(crate) async fn log_in(browser: &Browser, url: &str) {
    browser.open(url).await;
    browser.enter("input[name=token]", ADMIN_TOKEN).await;
    browser.click("form button").await;
    browser.until("the page for who is logged in", "return !!document.getElementById('news')").await;
}

pub(crate) async fn who_has_the_admin_token_logs_in_and_out() {
    let browser = Browser::start().await;
    let app = App::start().await;
    let page = format!("{}/jobs/12?x=1", app.url);
    browser.open(&page).await;
    browser.enter("input[name=token]", "not the admin token").await;
    browser.click("form button").await;
    browser.until_shown("This is not the admin token.").await;
    assert!(browser.cookie("gha-slurm-session").await.is_none());

    browser.enter("input[name=token]", ADMIN_TOKEN).await;
    browser.click("form button").await;
    browser.until_shown("No such job").await;
    assert_eq!(browser.url().await, page, "back where somebody wanted to go");
    let cookie = browser.cookie("gha-slurm-session").await.unwrap();
    assert_eq!((&cookie["httpOnly"], &cookie["sameSite"]), (&json!(true), &json!("Strict")), "{cookie}");
    assert_eq!(browser.script("return document.cookie", json!([])).await, json!(""));

    browser.click(".bar button").await;
    browser.until_shown("Log in").await;
    assert!(browser.cookie("gha-slurm-session").await.is_none());
    // A copy of it is worth nothing any more.
    browser.set_cookie(json!({"name": "gha-slurm-session", "value": cookie["value"], "path": "/"})).await;
    browser.open(&app.url).await;
    browser.until_shown("Admin token").await;
}

pub(crate) async fn a_forged_cookie_leads_to_the_log_in() {
    let browser = Browser::start().await;
    let app = App::start().await;
    log_in(&browser, &app.url).await;
    let cookie = browser.cookie("gha-slurm-session").await.unwrap();
    let value = cookie["value"].as_str().unwrap();
    let (begun, rest) = value.split_once('.').unwrap();
    let later = format!("{}.{rest}", begun.parse::<u64>().unwrap() + 1000);
    browser.set_cookie(json!({"name": "gha-slurm-session", "value": later, "path": "/", "httpOnly": true})).await;
    // The open page notices by itself.
    browser.until_shown("Admin token").await;
}

pub(crate) async fn a_job_moves_through_its_stages_before_ones_eyes() {
    let browser = Browser::start().await;
    let app = App::start().await;
    log_in(&browser, &app.url).await;
    browser.script("window.loaded = 'once'", json!([])).await;
    browser.until_shown("No jobs.").await;

    let (job, start) = app.held_launch().await;
    browser.until_shown(&format!("#{job}")).await;
    browser.until_shown("in Slurm").await;
    let headline = "return document.getElementById('news').textContent.startsWith('0 waiting, 1 in Slurm, 0 running')";
    browser.until("the news is read out", headline).await;
    let badge = |class: &str| format!("return !!document.querySelector('#jobs .badge.{class}')");
    app.deliver("workflow_job", in_progress(job, start["runnerName"].as_str().unwrap()).to_string()).await;
    browser.until("it runs", &badge("runs")).await;
    let mut completed = in_progress(job, start["runnerName"].as_str().unwrap());
    completed["action"] = json!("completed");
    completed["workflow_job"]["conclusion"] = json!("success");
    app.deliver("workflow_job", completed.to_string()).await;
    browser.until("it succeeded", &badge("good")).await;
    assert_eq!(browser.script("return window.loaded", json!([])).await, json!("once"), "the page was not loaded again");
}

pub(crate) async fn a_jobs_page_tells_what_happened_and_leads_to_github() {
    let browser = Browser::start().await;
    let app = App::start().await;
    let (job, _) = app.held_launch().await;
    log_in(&browser, &app.url).await;
    browser.click(&format!("#jobs a[href='/jobs/{job}']")).await;
    browser.until_shown("Waiting in Slurm's queue").await;
    browser.script("window.loaded = 'once'", json!([])).await;
    app.gateway.hold(false);
    browser.until_shown("Finished").await;
    let timeline = browser.text(".timeline").await;
    let order = ["Webhook received", "Submitted to Slurm", "Launch token redeemed", "Started on a runner", "Finished"];
    let at: Vec<_> =
        order.iter().map(|step| timeline.find(step).unwrap_or_else(|| panic!("{step}: {timeline}"))).collect();
    assert!(at.is_sorted(), "{timeline}");
    assert!(timeline.contains("Slurm job 1") && timeline.contains(&format!("launch {job}-1")), "{timeline}");
    assert_eq!(browser.script("return window.loaded", json!([])).await, json!("once"));
    let link = browser.script("return document.querySelector('.facts a').href", json!([])).await;
    assert_eq!(link, json!(format!("https://github.com/{REPOSITORY}/runs/{job}")));
}

pub(crate) async fn no_request_leaves_the_pages_own_origin() {
    let browser = Browser::start().await;
    let app = App::start().await;
    app.github.queue_job(REPOSITORY, LABELS).await;
    log_in(&browser, &app.url).await;
    browser.until("it was fetched again", FETCHED).await;
    browser.click("#jobs tbody a").await;
    browser.until_shown("What happened").await;
    browser.click(".bar button").await;
    browser.until_shown("Admin token").await;
    let requested = browser.requested().await;
    for part in ["/assets/console.css", "/assets/console.js", "/login", "/logout", "/jobs/"] {
        assert!(requested.iter().any(|url| url.contains(part)), "{part}: {requested:?}");
    }
    let foreign: Vec<_> = requested.iter().filter(|url| !url.starts_with(&app.url)).collect();
    assert_eq!(foreign, Vec::<&String>::new());
    // What the policy stops is a complaint; the log-in form's own 401 is one that belongs here.
    let mut complaints = browser.complaints().await;
    complaints.retain(|complaint| !complaint.contains("401"));
    assert_eq!(complaints, Vec::<String>::new());
}

pub(crate) async fn the_keyboard_is_enough_and_keeps_its_place() {
    let browser = Browser::start().await;
    let app = App::start().await;
    let (job, _) = app.held_launch().await;
    browser.open(&app.url).await;
    // The field has the focus.
    browser.press(ADMIN_TOKEN).await;
    browser.press(ENTER).await;
    browser.until("the page for who is logged in", "return !!document.getElementById('news')").await;
    browser.press(TAB).await;
    assert_eq!(focused(&browser).await, "Skip to the content");
    browser.press(ENTER).await;
    assert_eq!(browser.script("return document.activeElement.id", json!([])).await, json!("main"));
    let mut steps = 0;
    while focused(&browser).await != format!("#{job}") {
        browser.press(TAB).await;
        steps += 1;
        assert!(steps < 20, "the job's link is reached: {}", focused(&browser).await);
    }
    let outline = "return getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(browser.script(outline, json!([])).await, json!("solid"), "the focus is seen");
    // News replaces the row under the focus.
    app.deliver("workflow_job", in_progress(job, "somebody-else").to_string()).await;
    browser.until("it runs", "return !!document.querySelector('#jobs .badge.runs')").await;
    assert_eq!(focused(&browser).await, format!("#{job}"));
    browser.press(ENTER).await;
    browser.until_shown("What happened").await;
}

pub(crate) async fn what_others_wrote_is_text() {
    const SCRIPT: &str = "<script>window.hacked=1</script>";
    const IMAGE: &str = "\"'><img src=x onerror=window.hacked=1>";
    let browser = Browser::start().await;
    let app = App::start().await;
    app.gateway.hold(true);
    let mut event = queued(77);
    for field in ["name", "workflow_name", "head_branch", "html_url"] {
        event["workflow_job"][field] = json!(SCRIPT);
    }
    assert_eq!(app.deliver("workflow_job", event.to_string()).await.status(), 200);
    event["workflow_job"]["runner_name"] = json!(SCRIPT);
    event["workflow_job"]["conclusion"] = json!(IMAGE);
    for (job, action) in [(77, "in_progress"), (78, "in_progress"), (78, "completed")] {
        event["workflow_job"]["id"] = json!(job);
        event["action"] = json!(action);
        assert_eq!(app.deliver("workflow_job", event.to_string()).await.status(), 200);
    }
    // A profile takes no such label, so the job is not ours.
    event["workflow_job"]["labels"] = json!(["self-hosted", "slurm", SCRIPT]);
    event["action"] = json!("queued");
    assert_eq!(app.deliver("workflow_job", event.to_string()).await.status(), 200);

    log_in(&browser, &app.url).await;
    let query = "/?repository=%3Cscript%3Ewindow.hacked%3D1%3C%2Fscript%3E&profile=%22%3E%3Cb%3E&state=%3Cb%3E";
    for path in [query, "/", "/jobs/77", "/jobs/78", "/jobs/%3Cb%3E"] {
        browser.open(&format!("{}{path}", app.url)).await;
        // Once more, by the script that puts fresh parts in.
        browser.until("it was fetched again", FETCHED).await;
        assert_eq!(browser.script("return window.hacked", json!([])).await, json!(null), "{path}");
        let foreign = "return document.querySelectorAll('script:not([src^=\"/assets/\"]), img, b').length";
        assert_eq!(browser.script(foreign, json!([])).await, json!(0), "{path}");
    }
    for (job, text) in [(77, SCRIPT), (78, SCRIPT)] {
        browser.open(&format!("{}/jobs/{job}", app.url)).await;
        browser.until_shown(text).await;
    }
}

pub(crate) async fn nothing_runs_over_the_edge_of_a_phone() {
    let browser = Browser::start().await;
    let app = App::start().await;
    app.held_launch().await;
    let job = 77;
    let mut long = queued(job);
    for field in ["name", "workflow_name", "head_branch"] {
        long["workflow_job"][field] = json!("n".repeat(100));
    }
    assert_eq!(app.deliver("workflow_job", long.to_string()).await.status(), 200);
    app.tick().await;
    browser.size(390, 844).await;
    log_in(&browser, &app.url).await;
    for path in ["/".to_owned(), format!("/jobs/{job}"), "/jobs/0".to_owned()] {
        browser.open(&format!("{}{path}", app.url)).await;
        let width = browser.script("return document.documentElement.scrollWidth", json!([])).await;
        assert_eq!(width, json!(390), "{path}");
    }
}

async fn focused(browser: &Browser) -> String {
    let text = browser.script("return document.activeElement.textContent", json!([])).await;
    text.as_str().unwrap_or_default().to_owned()
}

/// GitHub's word that a runner took a job.
pub(crate) fn in_progress(job: u64, runner: &str) -> serde_json::Value {
    let mut event = queued(job);
    event["action"] = json!("in_progress");
    event["workflow_job"]["runner_name"] = json!(runner);
    event
}
