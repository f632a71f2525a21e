//! Three hosts on one Redis: what holds on one holds across them, also while the server is away.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::{GitHub, sign};
use tokio::task::JoinSet;

use crate::support::ca::Ca;
use crate::support::{AT_ONCE, App, MANIFEST, REPOSITORY, WEBHOOK_SECRET, json, program, queued, rounds};

struct Redis {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Redis {
    /// A real server of our own.
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let process = spawn(port, folder.path()).unwrap();
        await_server(port);
        Self { process, port, folder }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Says something to it; what it answers.
    fn say(&self, command: &str) -> String {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        answer
    }

    fn start_again(&mut self) {
        self.process = spawn(self.port, self.folder.path()).unwrap();
        await_server(self.port);
    }
}

fn spawn(port: u16, folder: &Path) -> std::io::Result<Child> {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--dir"])
        .arg(folder)
        .args(["--port", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

fn await_server(port: u16) {
    for _ in 0..100 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("redis-server does not listen");
}

/// Hosts that share a store, a gateway, a GitHub, and one public address, that of the first.
async fn replicas(redis: &Redis, count: usize) -> Vec<App> {
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
    let mut apps = vec![App::start_beside(github.clone(), events.clone(), &redis.url(), &[]).await];
    let (public, gateway) = (apps[0].url.clone(), apps[0].gateway.url());
    github.set_webhook_url(&format!("{public}/api/github/webhooks"));
    for _ in 1..count {
        let changes = [("public_url", public.as_str()), ("gateway_url", gateway.as_str())];
        apps.push(App::start_beside(github.clone(), events.clone(), &redis.url(), &changes).await);
        github.set_webhook_url(&format!("{public}/api/github/webhooks"));
    }
    apps
}

fn delivery(app: &App, job: u64) -> reqwest::RequestBuilder {
    let body = queued(job).to_string();
    app.client
        .post(format!("{}/api/github/webhooks", app.url))
        .header("x-github-event", "workflow_job")
        .header("x-github-delivery", "1")
        .header("x-hub-signature-256", sign(WEBHOOK_SECRET, body.as_bytes()))
        .timeout(Duration::from_secs(8))
        .body(body)
}

pub(crate) async fn of_64_redemptions_at_once_on_three_hosts_one_gets_the_credential() {
    let redis = Redis::start();
    let apps = replicas(&redis, 3).await;
    for round in 0..rounds() {
        let (_, start) = apps[0].held_launch().await;
        let token = start["launcherToken"].as_str().unwrap().to_owned();
        let mut attempts = JoinSet::new();
        for number in 0..AT_ONCE {
            let app = &apps[number % apps.len()];
            let request = app.client.post(format!("{}/gha/runner", app.url)).header("authorization", &token);
            attempts.spawn(async move { request.send().await.unwrap().status().as_u16() });
        }
        let statuses = attempts.join_all().await;
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "round {round}: {statuses:?}");
        assert!(statuses.iter().all(|status| [200, 409, 503].contains(status)), "round {round}: {statuses:?}");
    }
}

pub(crate) async fn of_64_deliveries_at_once_on_three_hosts_one_launches() {
    let redis = Redis::start();
    let apps = replicas(&redis, 3).await;
    apps[0].gateway.hold(true);
    for round in 0..rounds() {
        let mut deliveries = JoinSet::new();
        for number in 0..AT_ONCE {
            let request = delivery(&apps[number % apps.len()], 1000 + round);
            deliveries.spawn(async move { json(request.send().await.unwrap()).await });
        }
        let answers = deliveries.join_all().await;
        let launched = answers.iter().filter(|(_, body)| body["decision"] == "launched").count();
        assert_eq!(launched, 1, "round {round}: {answers:?}");
    }
    let expected = usize::try_from(rounds()).unwrap();
    assert_eq!(apps[0].gateway.starts().len(), expected);
}

pub(crate) async fn a_server_that_was_away_has_lost_nothing_and_hung_nobody() {
    let mut redis = Redis::start();
    let apps = replicas(&redis, 2).await;
    apps[0].gateway.hold(true);
    let mut accepted = BTreeSet::new();
    for job in 0..10 {
        if delivery(&apps[0], 1 + job).send().await.unwrap().status().is_success() {
            accepted.insert(1 + job);
        }
    }
    assert_eq!(accepted.len(), 10);
    redis.stop();
    for job in 11..14 {
        let begun = Instant::now();
        let status = delivery(&apps[1], job).send().await.unwrap().status().as_u16();
        // GitHub lists it as failed, and is asked to repeat it.
        assert_eq!(status, 503);
        assert!(begun.elapsed() < Duration::from_secs(8), "design's bound, not a benchmark");
    }
    redis.start_again();
    let back = async |job| {
        for _ in 0..50 {
            let answered = delivery(&apps[1], job).send().await.unwrap();
            if answered.status().is_success() {
                return json(answered).await.1["decision"].clone();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("the store did not come back");
    };
    assert_eq!(back(11).await, "launched");
    for job in accepted {
        assert_eq!(back(job).await, "duplicate", "job {job} is known after the restart");
    }
}

pub(crate) async fn an_idle_connection_that_the_server_ends_costs_nobody_an_answer() {
    let redis = Redis::start();
    let app = replicas(&redis, 1).await.pop().unwrap();
    app.gateway.hold(true);
    let decision = async |job| json(delivery(&app, job).send().await.unwrap()).await;
    assert_eq!(decision(1).await.1["decision"], "launched");
    for round in 0..3 {
        tokio::time::sleep(Duration::from_millis(1300)).await;
        assert!(redis.say("CLIENT KILL TYPE normal SKIPME yes").starts_with(':'));
        let mut at_once = JoinSet::new();
        for job in 0..10 {
            let request = delivery(&app, 100 * (round + 1) + job);
            at_once.spawn(async move { json(request.send().await.unwrap()).await });
        }
        for (status, answer) in at_once.join_all().await {
            assert_eq!((status, &answer["decision"]), (200, &"launched".into()), "round {round}: {answer}");
        }
    }
    // A failover: what was the master refuses to write, and is it again soon.
    assert!(redis.say("REPLICAOF 127.0.0.1 1").starts_with("+OK"));
    assert_eq!(decision(2).await.0, 503);
    assert!(redis.say("REPLICAOF NO ONE").starts_with("+OK"));
    assert_eq!(decision(2).await.1["decision"], "launched");
}

pub(crate) async fn redis_with_tls_a_private_ca_and_a_user_of_its_own() {
    let ca = Ca::new();
    let (certificate, key) = ca.issue("localhost", 30);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let mut server = Command::new("redis-server");
    server.args(["--bind", "127.0.0.1", "--port", "0", "--tls-port", &port.to_string(), "--tls-auth-clients", "no"]);
    server
        .arg("--tls-cert-file")
        .arg(certificate)
        .arg("--tls-key-file")
        .arg(key)
        .args(["--tls-ca-cert-file", &ca.root()]);
    server.args(["--save", "", "--user", "default", "off", "--user", "app", "on", ">hunter2", "~*", "+@all", "--dir"]);
    let process = server.arg(folder.path()).stdout(Stdio::null()).spawn().unwrap();
    let redis = Redis { process, port, folder };
    await_server(port);
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
    let url = format!("rediss://app:hunter2@localhost:{port}");
    let mut app = App::start_beside(github, events, &url, &[("SSL_CERT_FILE", &ca.root())]).await;
    app.held_launch().await;
    assert!(!app.end().contains("hunter2"));

    let file = redis.folder.path().join("runtime-config.toml");
    for (url, expected) in [
        (url.as_str(), "nknownIssuer"),
        (&url.replace("rediss", "redis"), "Redis"),
        (&url.replace("hunter2", "hunter3"), "nknownIssuer"),
    ] {
        std::fs::write(&file, format!("[key_value_store.default]\ntype = \"redis\"\nurl = {url:?}\n")).unwrap();
        let refused = program().args(["up", "--from", MANIFEST, "--runtime-config-file"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains(expected) && !said.contains("hunter"), "{said}");
    }
}
