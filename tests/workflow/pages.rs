//! The console's pages over HTTP: what a browser is told, who gets in, and how long a page takes with many jobs.

use std::time::{Duration, Instant};

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::GitHub;
use reqwest::{Client, RequestBuilder, Response, redirect};
use serde_json::json;

use crate::support::{ADMIN_TOKEN, App, REPOSITORY, WEBHOOK_SECRET, unix_seconds};

/// Somebody who follows no redirect by himself.
fn client() -> Client {
    Client::builder().redirect(redirect::Policy::none()).build().unwrap()
}

fn log_in(client: &Client, app: &App, token: &str) -> RequestBuilder {
    let form = client.post(format!("{}/login", app.url)).header("sec-fetch-site", "same-origin");
    form.header("content-type", "application/x-www-form-urlencoded").body(format!("next=%2F&token={token}"))
}

/// The session's cookie, as a browser sends it back.
async fn session(client: &Client, app: &App) -> String {
    let welcome = log_in(client, app, ADMIN_TOKEN).send().await.unwrap();
    assert_eq!((welcome.status().as_u16(), header(&welcome, "location")), (303, "/"));
    let cookies: Vec<&str> =
        welcome.headers().get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    for cookie in &cookies {
        assert!(cookie.contains("; HttpOnly; SameSite=Strict") && cookie.contains("; Path=/;"), "{cookie}");
    }
    cookies[0].split(';').next().unwrap().to_owned()
}

async fn get(client: &Client, app: &App, path: &str, cookie: &str) -> (u16, String) {
    let response = client.get(format!("{}{path}", app.url)).header("cookie", cookie).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_of_the_right_status_and_under_the_policy() {
    let app = App::start().await;
    let client = client();
    let cookie = session(&client, &app).await;
    app.held_launch().await;
    for (method, path, cookie, status) in [
        ("GET", "/", "", 401),
        ("GET", "/jobs/1", "", 401),
        ("GET", "/", &*cookie, 200),
        ("HEAD", "/", &cookie, 200),
        ("GET", "/jobs/1", &cookie, 404),
        ("GET", "/jobs/x", &cookie, 404),
        ("GET", "/?state=nonsense&before=nonsense&repository=nobody%2Fnothing", &cookie, 200),
        ("GET", "/login", "", 303),
        ("POST", "/login", "", 403),
        ("POST", "/logout", &cookie, 403),
        ("GET", "/assets/console.css", "", 200),
        ("GET", "/assets/none", "", 404),
        ("DELETE", "/", &cookie, 405),
        ("PUT", "/login", &cookie, 405),
    ] {
        let request = client.request(method.parse().unwrap(), format!("{}{path}", app.url)).header("cookie", cookie);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        if status != 405 {
            let policy = header(&response, "content-security-policy");
            assert!(
                policy.starts_with("default-src 'none';") && !policy.contains("unsafe"),
                "{method} {path}: {policy}"
            );
            assert_eq!(header(&response, "x-content-type-options"), "nosniff", "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_cookie_gets_the_log_in_and_one_of_another_admin_token_too() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
    let client = client();
    let cookie = {
        let app = App::start_beside(github.clone(), events.clone(), state, &[]).await;
        let cookie = session(&client, &app).await;
        assert_eq!(get(&client, &app, "/", &cookie).await.0, 200);
        let (name, value) = cookie.split_once('=').unwrap();
        let (begun, rest) = value.split_once('.').unwrap();
        let begun: u64 = begun.parse().unwrap();
        for forged in [format!("{name}={}.{rest}", begun + 1), format!("{name}={begun}.{rest}0"), format!("{name}=")] {
            let (status, page) = get(&client, &app, "/", &forged).await;
            assert!(status == 401 && page.contains("Admin token"), "{forged}: {status}");
        }
        cookie
    };
    // The same store after a restart: the session goes on, until the token is another one.
    let app = App::start_beside(github.clone(), events.clone(), state, &[]).await;
    assert_eq!(get(&client, &app, "/", &cookie).await.0, 200);
    drop(app);
    let app = App::start_beside(github, events, state, &[("admin_token", "another-admin-token-of-some-size")]).await;
    assert_eq!(get(&client, &app, "/", &cookie).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_are_slowed_down_and_the_right_one_gets_in_from_elsewhere() {
    let app = App::start_with(&[("trusted_proxies", "127.0.0.0/8")]).await;
    let client = client();
    let guess = |address: &'static str, token: &str| log_in(&client, &app, token).header("x-forwarded-for", address);
    // A minute may end in between.
    let mut limited = None;
    for _ in 0..11 {
        let response = guess("192.0.2.1", "wrong").send().await.unwrap();
        match response.status().as_u16() {
            401 => {}
            429 => {
                limited = Some(header(&response, "retry-after").parse::<u64>().unwrap());
                break;
            }
            other => panic!("{other}"),
        }
    }
    assert!((1..=60).contains(&limited.expect("too many")));
    assert_eq!(guess("192.0.2.4", ADMIN_TOKEN).send().await.unwrap().status(), 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_limiter_bears_ten_wrong_tokens_a_minute_and_believes_no_forwarded_address() {
    let app = App::start().await;
    let mut limited = 0;
    // A minute may end in between.
    for (number, path) in ["/api/v1/jobs", "/metrics", "/gha/installations"].iter().cycle().take(30).enumerate() {
        let request = app.client.get(format!("{}{path}", app.url)).bearer_auth("wrong");
        let response = request.header("x-forwarded-for", format!("192.0.2.{number}")).send().await.unwrap();
        match response.status().as_u16() {
            401 => {}
            429 => limited += 1,
            other => panic!("{other}"),
        }
    }
    assert!(limited >= 10, "{limited} of 30");
    // Not from the proxy's clients, whom nobody vouches for, but from the machine itself.
    let right = app.client.get(format!("{}/api/v1/jobs", app.url)).bearer_auth(ADMIN_TOKEN).send().await.unwrap();
    assert_eq!(right.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_admin_token_nobody_gets_in() {
    let app = App::start_with(&[("admin_token", "")]).await;
    let (status, page) = get(&client(), &app, "/", "").await;
    assert!(status == 503 && page.contains("SPIN_VARIABLE_ADMIN_TOKEN"), "{status} {page}");
    let response = log_in(&client(), &app, "").send().await.unwrap();
    assert_eq!((response.status().as_u16(), header(&response, "set-cookie")), (503, ""));
}

const JOBS: u64 = 50_000;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_jobs_fit_on_a_page() {
    let folder = tempfile::tempdir().unwrap();
    fill(&folder.path().join("sqlite_key_value.db"));
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
    let app = App::start_beside(github, events, folder.path().to_str().unwrap(), &[]).await;
    let client = client();
    let cookie = session(&client, &app).await;
    let counted = format!("0 running, {JOBS} succeeded");
    let mut looks = 0;
    while !get(&client, &app, "/", &cookie).await.1.contains(&counted) {
        looks += 1;
        assert!(looks < 100, "all are counted in the end");
    }
    let mut took: Vec<Duration> = Vec::new();
    let before = app.processor_time();
    for _ in 0..20 {
        let begun = Instant::now();
        let (status, page) = get(&client, &app, "/", &cookie).await;
        took.push(begun.elapsed());
        assert!(status == 200 && page.contains(&counted) && page.len() < 100_000, "{status}, {} bytes", page.len());
    }
    // Of a busy machine the processor's time says more than the clock.
    let processor = (app.processor_time() - before) * 10 / 20;
    took.sort();
    println!(
        "{JOBS} jobs: a page takes {:?} (median of 20), {processor} ms of the processor; {looks} looks before",
        took[10]
    );
}

/// Writes jobs that are over into a store's file, spread over sixty hours.
fn fill(file: &std::path::Path) {
    let mut connection = rusqlite::Connection::open(file).unwrap();
    connection.execute_batch(
        "CREATE TABLE spin_key_value (store TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (store, key));",
    ).unwrap();
    let transaction = connection.transaction().unwrap();
    {
        let insert = "INSERT INTO spin_key_value VALUES ('default', 'gha-slurm/1/' || ?1, ?2)";
        let mut insert = transaction.prepare(insert).unwrap();
        let mut put =
            |key: String, value: Vec<u8>| assert_eq!(insert.execute(rusqlite::params![key, value]).unwrap(), 1);
        let newest = unix_seconds() / 3600 - 1;
        let hours = 60;
        let mut slots = vec![0i64; hours];
        for number in 0..JOBS {
            let hour = usize::try_from(number).unwrap() % hours;
            let bucket = newest - hour as u64;
            let at = bucket * 3600 + number / hours as u64 % 3000;
            let job = 1_000_000 + number;
            slots[hour] += 1;
            let json = |value: serde_json::Value| serde_json::to_vec(&value).unwrap();
            put(format!("journal/{bucket}/{}", slots[hour]), json(json!({ "job": job })));
            put(
                format!("job/{job}/requested"),
                json(json!({
                    "repository_id": 1, "repository": REPOSITORY, "html_url": format!("https://github.com/{REPOSITORY}"),
                    "installation": 1, "labels": ["self-hosted", "slurm"], "run_attempt": 1, "profile": "default",
                    "max_running": null, "resources": gha_slurm_protocol::resources::Resources::default(), "created_at": at, "at": at,
                })),
            );
            let runner = format!("gha-slurm-{job}-1");
            put(format!("launch/{job}-1/launched"), json(json!({"slurm_job": number.to_string(), "at": at + 1})));
            put(format!("launch/{job}-1/redeemed"), json(json!(at + 20)));
            put(format!("launch/{job}-1/took"), json(json!(job)));
            put(format!("job/{job}/started"), json(json!({"runner_name": runner, "at": at + 25})));
            put(format!("job/{job}/finished"), json(json!({"conclusion": "success", "at": at + 60})));
        }
        for (hour, slots) in slots.into_iter().enumerate() {
            let bucket = newest - hour as u64;
            put(format!("journal/{bucket}"), slots.to_le_bytes().to_vec());
            put(format!("journal/{bucket}/settled"), i64::MAX.to_string().into_bytes());
        }
    }
    transaction.commit().unwrap();
}
