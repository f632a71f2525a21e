//! What shows: the API, the metrics and `explain`, over HTTP and by the command, also with 50,000 jobs in the store.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::gateway::Fault;
use gha_slurm_simulator::github::{GitHub, run_of};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, App, LABELS, REPOSITORY, WEBHOOK_SECRET, json, program};

async fn get(app: &App, path: &str) -> (u16, Value) {
    json(app.client.get(format!("{}{path}", app.url)).bearer_auth(ADMIN_TOKEN).send().await.unwrap()).await
}

/// Runs `gha-slurm explain` beside the app: exit code, stdout, stderr.
fn explain(app: &App, arguments: &[&str], token: &str) -> (i32, String, String) {
    let output = program()
        .args(["explain", "--url", &app.url])
        .args(arguments)
        .env("SPIN_VARIABLE_ADMIN_TOKEN", token)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(token.len() < 10 || !format!("{stdout}{stderr}").contains(token), "it shows the token");
    (output.status.code().unwrap(), stdout, stderr)
}

fn said(app: &App, id: u64) -> String {
    let (code, stdout, stderr) = explain(app, &[REPOSITORY, &id.to_string()], ADMIN_TOKEN);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_from_its_webhook_to_its_end() {
    let app = App::start().await;
    let (job, _) = app.held_launch().await;
    let waiting = said(&app, job);
    assert!(waiting.contains("waits in Slurm's queue: Resources."), "{waiting}");
    let (_, detail) = get(&app, &format!("/api/v1/jobs/{job}")).await;
    assert_eq!((&detail["summary"]["state"], &detail["slurm"]["state"]), (&json!("pending"), &json!("PENDING")));

    // GitHub knows which jobs a run has.
    let of_run = said(&app, run_of(job));
    assert!(of_run.contains(&format!("Run {}", run_of(job))) && of_run.contains("(build)"), "{of_run}");

    app.gateway.hold(false);
    let done = || said(&app, job).contains("The job ended");
    app.within_seconds(20, "it is explained as done", done).await;
    let (status, page) = get(&app, "/api/v1/jobs?state=finished").await;
    assert_eq!((status, &page["jobs"][0]["job"], &page["next"]), (200, &json!(job), &Value::Null));
    assert_eq!(page["jobs"][0]["conclusion"], "success");
    let (_, summary) = get(&app, "/api/v1/summary").await;
    assert_eq!(summary["states"], json!({"finished": 1}));
    let (status, installed) = get(&app, &format!("/gha/installations?url=https://github.com/{REPOSITORY}")).await;
    assert_eq!((status, installed), (200, json!(true)));
    let (_, installed) = get(&app, "/gha/installations?url=https://github.com/octo-org/elsewhere").await;
    assert_eq!(installed, json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_left_no_fact_is_explained_as_well() {
    let app = App::start().await;
    let (job, delivery) = app.github.queue_job(REPOSITORY, &["self-hosted", "slurm", "gpu"]).await;
    assert_eq!(delivery.unwrap().answer["decision"], "ignored");
    let text = said(&app, job);
    assert!(text.contains("No profile has all of the job's labels: gpu,self-hosted,slurm."), "{text}");
    assert!(text.contains("it lacks gpu"), "{text}");

    let (code, text, _) = explain(&app, &["octo-org/elsewhere", "1", "--json"], ADMIN_TOKEN);
    let explained: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &explained["jobs"][0]["cause"]), (0, &json!("not_installed")));

    app.gateway.fail(Fault::Status(503));
    let (job, _) = app.github.queue_job(REPOSITORY, LABELS).await;
    let text = said(&app, job);
    assert!(
        text.contains("The gateway has not accepted the launch") && text.contains("The gateway answers now"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_what_is_wrong_with_the_question() {
    let app = App::start().await;
    for (arguments, token, status, named) in [
        (&["octo", "1"][..], ADMIN_TOKEN, 2, "owner/name"),
        (&[REPOSITORY, "x"], ADMIN_TOKEN, 2, "RUN_OR_JOB"),
        (&[REPOSITORY, "1"], "", 2, "SPIN_VARIABLE_ADMIN_TOKEN"),
        (&[REPOSITORY, "1"], "a-wrong-token-of-some-length", 2, "does not accept"),
        (&[REPOSITORY, "1", "--admin-token", "@/nowhere/at/all"], "", 2, "/nowhere/at/all"),
    ] {
        let (code, stdout, stderr) = explain(&app, arguments, token);
        assert_eq!((code, stdout.as_str()), (status, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(named), "{arguments:?}: {stderr}");
    }
    let closed = app.url.replace("http://127.0.0.1", "http://127.0.0.2");
    let output =
        program().args(["explain", REPOSITORY, "1", "--url", &closed, "--admin-token", ADMIN_TOKEN]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("--url"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_and_the_metrics_answer_the_admin_token_alone() {
    let app = App::start().await;
    let (job, _) = app.held_launch().await;
    let other = "/gha/installations?url=https://github.com/octo-org/elsewhere";
    for path in [
        "/api/v1/summary",
        "/api/v1/jobs",
        &format!("/api/v1/jobs/{job}"),
        "/metrics",
        &format!("/gha/installations?url=https://github.com/{REPOSITORY}"),
        other,
    ] {
        let of = |token: &str| app.client.get(format!("{}{path}", app.url)).bearer_auth(token).send();
        assert_eq!(app.client.get(format!("{}{path}", app.url)).send().await.unwrap().status(), 401, "{path}");
        assert_eq!(of("wrong").await.unwrap().status(), 401, "{path}");
        assert_eq!(of(ADMIN_TOKEN).await.unwrap().status(), 200, "{path}");
    }
    let (_, detail) = get(&app, &format!("/api/v1/jobs/{job}")).await;
    assert_eq!(detail["summary"]["job"], json!(job), "{detail}");
    assert_eq!(get(&app, other).await.1, json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_the_metrics() {
    let app = App::start().await;
    let (_, start) = app.held_launch().await;
    assert_eq!(app.gateway.redeem(&start).await.0, 200);
    let url = format!("{}/metrics", app.url);
    assert_eq!(app.client.get(&url).send().await.unwrap().status(), 401);
    let response = app.client.get(&url).bearer_auth(ADMIN_TOKEN).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = response.text().await.unwrap();
    assert!(text.contains(&format!("gha_slurm_jobs_waiting{{repository=\"{REPOSITORY}\"}} 1\n")), "{text}");
    assert!(text.contains("gha_slurm_redemptions_total{outcome=\"granted\"} 1\n"), "{text}");
}

const JOBS: u64 = 50_000;
const OPEN: u64 = 200;

/// Fills a store with jobs of the last three days, all over but for the newest ones, which wait in Slurm's queue.
fn fill(folder: &Path) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut store = Connection::open(folder.join("sqlite_key_value.db")).unwrap();
    store.pragma_update(None, "journal_mode", "WAL").unwrap();
    let table = "CREATE TABLE spin_key_value (store TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
                 PRIMARY KEY (store, key))";
    store.execute(table, []).unwrap();
    let transaction = store.transaction().unwrap();
    {
        let mut insert = transaction.prepare("INSERT INTO spin_key_value VALUES ('default', ?1, ?2)").unwrap();
        let mut put = |key: String, value: Vec<u8>| {
            insert.execute(params![format!("gha-slurm/1/{key}"), value]).unwrap();
        };
        let mut slots = std::collections::BTreeMap::<u64, i64>::new();
        for job in 1..=JOBS {
            let at = now - (JOBS - job) * 3 * 24 * 3600 / JOBS;
            let bucket = at / 3600;
            let slot = slots.entry(bucket).or_default();
            *slot += 1;
            let json = |value: Value| value.to_string().into_bytes();
            let repository = format!("octo-org/repository-{}", job % 40);
            put(format!("journal/{bucket}/{slot}"), json(json!({"job": job})));
            let requested = json!({
                "repository_id": job % 40, "repository": repository, "html_url": format!("https://github.com/{repository}"),
                "installation": 7, "labels": LABELS, "run_attempt": 1, "profile": "default", "max_running": null,
                "resources": {}, "created_at": at, "at": at,
            });
            put(format!("job/{job}/requested"), json(requested));
            put(format!("launch/{job}-1/launched"), json(json!({"slurm_job": job.to_string(), "at": at + 1})));
            if job + OPEN > JOBS {
                continue;
            }
            put(format!("launch/{job}-1/redeemed"), json(json!(at + 2)));
            put(format!("launch/{job}-1/took"), json(json!(job)));
            put(format!("job/{job}/started"), json(json!({"runner_name": format!("gha-slurm-{job}-1"), "at": at + 3})));
            put(format!("job/{job}/finished"), json(json!({"conclusion": "success", "at": at + 4})));
        }
        for (bucket, slots) in slots {
            put(format!("journal/{bucket}"), slots.to_le_bytes().to_vec());
        }
    }
    transaction.commit().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_jobs_are_counted_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
    let app = App::start_beside(github, events, folder.path().to_str().unwrap(), &[]).await;
    // The tick makes the digests.
    let begun = Instant::now();
    loop {
        let (status, summary) = get(&app, "/api/v1/summary").await;
        assert_eq!(status, 200, "{summary}");
        if summary["complete"] == true {
            break;
        }
        app.tick().await;
        assert!(begun.elapsed() < Duration::from_secs(300), "the digests are not made in time");
    }
    eprintln!("digested in {:?}", begun.elapsed());
    let last = format!("/api/v1/jobs/{JOBS}");
    for (path, contains) in [
        ("/api/v1/jobs", format!("\"job\":{JOBS},")),
        ("/api/v1/jobs?state=waiting&limit=200", format!("\"job\":{},", JOBS - 100)),
        ("/api/v1/jobs?repository=octo-org/repository-7", "\"repository\":\"octo-org/repository-7\"".to_owned()),
        ("/api/v1/jobs?state=given_up", "\"jobs\":[]".to_owned()),
        (last.as_str(), "\"timeline\"".to_owned()),
        ("/api/v1/summary", format!("\"finished\":{}", JOBS - OPEN)),
        (
            "/metrics",
            format!("gha_slurm_jobs_finished_total{{profile=\"default\",conclusion=\"success\"}} {}", JOBS - OPEN),
        ),
    ] {
        // Told, not held to: what a page takes is for a benchmark on a quiet machine.
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let begun = Instant::now();
            let response = app.client.get(format!("{}{path}", app.url)).bearer_auth(ADMIN_TOKEN).send().await.unwrap();
            let text = response.text().await.unwrap();
            best = best.min(begun.elapsed());
            assert!(text.contains(&contains), "{path}: no {contains} in {text:.2000}");
        }
        println!("{path}: {best:?}");
    }
}
