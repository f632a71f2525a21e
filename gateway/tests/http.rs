//! The gateway over HTTP, with a strict fake slurmrestd that answers as 22.05 or 24.11, and without any Slurm.

// Tests fail by panicking, in helpers too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::process::Command;
use std::sync::Arc;

use axum::Router;
use serde_json::{Value, json};
use support::slurmrestd::{Shared, answer, rest, slurmrestd, yaml};
use support::{App, Gateway, ONE, SECRET, TWO, get_json, post_json, runner_folder, within};

#[tokio::test]
async fn both_generations_of_slurmrestd_are_spoken() {
    for new in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (url, slurm) = slurmrestd(new).await;
        let app = App::start().await;
        let mut gateway = Gateway::start(folder.path(), &yaml(folder.path(), &rest(&url, folder.path())));
        let mut request = app.request(1, ONE, "a,b");
        let start = async |url: &str, body: &Value| post_json(url, "/runner/start", body).await;
        let first = start(&gateway.url, &request).await;
        assert_eq!(first, (200, json!({"status": "OK!", "job_id": "1"})), "{new}");
        assert_eq!(start(&gateway.url, &request).await, first, "the same launch, the same Slurm job");
        // Ten at once, and after a restart without the answer in the index.
        request["launch"] = "2-1".into();
        let all: Vec<_> = (0..10)
            .map(|_| {
                let (url, request) = (gateway.url.clone(), request.clone());
                tokio::spawn(async move { post_json(&url, "/runner/start", &request).await })
            })
            .collect();
        for one in all {
            assert_eq!(one.await.unwrap().1["job_id"], "2");
        }
        drop(gateway);
        let index = rusqlite::Connection::open(folder.path().join("launches.sqlite")).unwrap();
        index.execute("UPDATE launches SET job = NULL", []).unwrap();
        drop(index);
        gateway = Gateway::start(folder.path(), &yaml(folder.path(), &rest(&url, folder.path())));
        assert_eq!(start(&gateway.url, &request).await.1["job_id"], "2");
        assert_eq!(slurm.lock().unwrap().jobs.len(), 2);
        assert_eq!(get_json(&gateway.url, "/runner/2-1").await.1["state"], "PENDING");

        slurm.lock().unwrap().refuse_tokens = 1;
        assert_eq!(get_json(&gateway.url, "/runner/2-1").await.0, 200, "once more with a new token");
        assert!(
            slurm.lock().unwrap().tokens.iter().all(|token| token.starts_with("daemon-")),
            "for the mapped user only"
        );
        slurm.lock().unwrap().refuse_tokens = 2;
        assert_eq!(get_json(&gateway.url, "/runner/2-1").await.0, 503);

        slurm.lock().unwrap().confused = true;
        assert_eq!(get_json(&gateway.url, "/runner/2-1").await.0, 503, "not forgotten: Slurm could not be asked");
        slurm.lock().unwrap().confused = false;

        let mut refused = app.request(3, ONE, "a");
        refused["partition"] = "nowhere".into();
        let (status, answer) = start(&gateway.url, &refused).await;
        assert_eq!(
            (status, answer["message"].as_str().unwrap()),
            (422, "Slurm refused: Invalid partition name specified (2000)")
        );
        refused["partition"] = "gha".into();
        refused["cpus"] = "999".into();
        assert_eq!(start(&gateway.url, &refused).await.0, 422, "pending for ever is a refusal");
        assert_eq!(slurm.lock().unwrap().cancelled, [3], "and does not stay in the queue");
        let (status, answer) = start(&gateway.url, &app.request(5, TWO, "a")).await;
        assert!(status == 422 && answer["message"].as_str().unwrap().contains("no user nobody-at-all"), "{answer}");

        let cancel = async |body: Value| post_json(&gateway.url, "/runner/cancel", &body).await.0;
        assert_eq!((cancel(json!({"launch": "2-1"})).await, cancel(json!({"job_id": "2"})).await), (200, 200));
        assert_eq!((cancel(json!({"launch": "9-1"})).await, cancel(json!({"job_id": "4711"})).await), (404, 404));
        assert_eq!(start(&gateway.url, &app.request(9, ONE, "a")).await.0, 410, "a cancel that came first");
    }
}

#[tokio::test]
async fn a_submission_whose_answer_is_unclear_is_looked_for_before_it_is_repeated() {
    for new in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (url, slurm) = slurmrestd(new).await;
        let app = App::start().await;
        let gateway = Gateway::start(folder.path(), &yaml(folder.path(), &rest(&url, folder.path())));
        slurm.lock().unwrap().dies = true;
        let answer = post_json(&gateway.url, "/runner/start", &app.request(1, ONE, "a")).await;
        assert_eq!(answer, (200, json!({"status": "OK!", "job_id": "1"})));
        assert_eq!(slurm.lock().unwrap().jobs.len(), 1, "it was taken");
        // A token that is not accepted looks the same to a submission at 22.05; then nothing is found, and it is repeated.
        slurm.lock().unwrap().refuse_tokens = 1;
        let answer = post_json(&gateway.url, "/runner/start", &app.request(2, ONE, "a")).await;
        assert_eq!(answer, (200, json!({"status": "OK!", "job_id": "2"})));
        // Questions have no number there.
        assert_eq!(get_json(&gateway.url, "/runner/2-1").await.0, 200);
    }
}

#[tokio::test]
async fn bad_input_is_told_and_nothing_is_submitted() {
    let folder = tempfile::tempdir().unwrap();
    let (url, slurm) = slurmrestd(false).await;
    let app = App::start().await;
    let path = folder.path().join("gateway.yaml");
    let good = yaml(folder.path(), &rest(&url, folder.path()));
    let gateway = Gateway::start(folder.path(), &good);
    let client = reqwest::Client::new();
    let send = async |path: &str, token: Option<&str>, body: Vec<u8>| {
        let mut request = client.post(format!("{}{path}", gateway.url)).header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("auth-token", token);
        }
        let response = request.body(body).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap_or_default())
    };
    let request = app.request(1, ONE, "a");
    for token in [None, Some(""), Some("gateway-secre"), Some("gateway-secret2")] {
        for path in ["/runner/start", "/runner/cancel", "/api/reload", "/runner/1-1", "/metrics", "/nowhere"] {
            let answer = send(path, token, request.to_string().into_bytes()).await;
            assert_eq!(answer, (401, json!({"message": "auth-token missing"})), "{path} {token:?}");
        }
    }
    let post = async |body: Value| send("/runner/start", Some(SECRET), body.to_string().into_bytes()).await;
    assert_eq!(send("/runner/start", Some(SECRET), vec![b' '; 10_000_000]).await.0, 413);
    assert_eq!(send("/runner/start", Some(SECRET), b"{".to_vec()).await.0, 400);
    assert_eq!(post(app.request(1, "octo-org/unknown", "a")).await.0, 403);
    for (field, value) in [
        ("runnerLabels", json!("x$`\";touch /tmp/x;#")),
        ("launcherToken", json!("not a jwt")),
        ("launcherToken", json!(5)),
        ("launch", json!("1-01")),
        ("cpus", json!("1000")),
        ("partition", json!("--wrap=id")),
    ] {
        let mut bad = request.clone();
        bad[field] = value.clone();
        let (status, answer) = post(bad).await;
        assert!(status == 422 && answer["message"].as_str().unwrap().contains(field), "{value}: {status} {answer}");
    }
    let mut missing = request.clone();
    missing.as_object_mut().unwrap().remove("tokenURL");
    assert!(post(missing).await.1["message"].as_str().unwrap().contains("tokenURL"));
    assert_eq!(slurm.lock().unwrap().jobs.len(), 0);

    let reload = async || send("/api/reload", Some(SECRET), Vec::new()).await;
    std::fs::write(&path, "ghaSharedSecret: other\nrepositories: [").unwrap();
    let (status, answer) = reload().await;
    assert!(status == 422 && answer["message"].as_str().unwrap().contains(":2:"), "{answer}");
    assert_eq!(post(request.clone()).await.0, 200, "the old configuration stays");
    std::fs::write(&path, good.replace("listen: 127.0.0.1:0", "listen: 127.0.0.1:1")).unwrap();
    assert_eq!(reload().await, (200, json!({"status": "OK!", "needs_restart": ["listen"]})));
    let metrics = client.get(format!("{}/metrics", gateway.url)).header("auth-token", SECRET).send().await.unwrap();
    let text = metrics.text().await.unwrap();
    assert!(text.contains("gha_slurm_gateway_answers_total{route=\"start\",status=\"413\"} 1"), "{text}");
    assert_eq!(get_json(&gateway.url, "/healthz").await.0, 200);
}

#[tokio::test]
async fn a_shared_secret_follows_the_other_while_both_are_accepted() {
    const NEW: &str = "the-secret-that-follows";
    const LAST: &str = "the-secret-after-that";
    let folder = tempfile::tempdir().unwrap();
    let write = |lines: &[&str]| std::fs::write(folder.path().join("secrets"), lines.join("\n") + "\n").unwrap();
    let text = yaml(folder.path(), "backend: local");
    write(&[SECRET, NEW]);
    let text = text.replace(&format!("ghaSharedSecret: {SECRET}"), "ghaSharedSecretFile: secrets");
    let gateway = Gateway::start(folder.path(), &text);
    let client = reqwest::Client::new();
    let launch = App::start().await.request(1, "octo-org/unknown", "a");
    // What each of them gets for a question and for a launch that is none.
    let answers = async |token: &str| {
        let asked = client.get(format!("{}/runner/1-1", gateway.url)).header("auth-token", token);
        let started = client.post(format!("{}/runner/start", gateway.url)).header("auth-token", token).json(&launch);
        [asked.send().await.unwrap().status().as_u16(), started.send().await.unwrap().status().as_u16()]
    };
    let reload = async |token: &str| {
        let sent = client.post(format!("{}/api/reload", gateway.url)).header("auth-token", token).send().await;
        sent.unwrap().status().as_u16()
    };
    let (admitted, refused) = ([404, 403], [401, 401]);
    for (token, expected) in [(SECRET, admitted), (NEW, admitted), (LAST, refused)] {
        assert_eq!(answers(token).await, expected, "{token}");
    }
    assert_eq!(answers(&format!("{SECRET} {NEW}")).await, refused, "each alone");

    write(&[NEW]);
    assert_eq!(answers(SECRET).await, admitted, "the file is read when it is told");
    assert_eq!(reload(NEW).await, 200);
    for (token, expected) in [(SECRET, refused), (NEW, admitted), ("", refused)] {
        assert_eq!(answers(token).await, expected, "{token:?}");
    }
    assert_eq!(reload(SECRET).await, 401);

    // Three are a mistake, which changes nothing.
    write(&[NEW, LAST, SECRET]);
    assert_eq!((reload(NEW).await, answers(NEW).await, answers(LAST).await), (422, admitted, refused));

    write(&[LAST]);
    let hang_up = Command::new("kill").args(["-HUP", &gateway.child.id().to_string()]).status().unwrap();
    assert!(hang_up.success());
    within(5, "the last one is read", async || answers(LAST).await == admitted).await;
    assert_eq!((answers(NEW).await, answers(SECRET).await), (refused, refused));
    for secret in [NEW, LAST] {
        assert!(!gateway.log().contains(secret), "the log shows a secret");
    }
}

#[tokio::test]
async fn a_slurmrestd_that_is_away_is_an_outage() {
    let folder = tempfile::tempdir().unwrap();
    let app = App::start().await;
    let gateway = Gateway::start(folder.path(), &yaml(folder.path(), &rest("http://127.0.0.1:1", folder.path())));
    let (status, answer) = post_json(&gateway.url, "/runner/start", &app.request(1, ONE, "a")).await;
    assert!(status == 503 && answer["message"].as_str().unwrap().contains("refused"), "{status} {answer}");
}

#[tokio::test]
async fn without_slurm_the_script_runs_here() {
    let folder = tempfile::tempdir().unwrap();
    runner_folder(folder.path());
    let app = App::start().await;
    let text = yaml(folder.path(), "backend: local")
        .replace("/runner}", &format!("/runner, environment: {{STAND_IN_GITHUB: '{}'}}}}", app.github.url()));
    let gateway = Gateway::start(folder.path(), &text);
    app.launch_at(&gateway.url, json!({}));
    let (job, status, answer) = app.queue(ONE).await;
    assert_eq!(status, 200, "{answer}");
    let state = async || get_json(&gateway.url, &format!("/runner/{job}-1")).await.1["state"].clone();
    within(20, "it completes", async || state().await == "COMPLETED").await;
    assert_eq!(
        app.github.job(job).unwrap().status,
        gha_slurm_simulator::github::JobStatus::Completed("success".into())
    );
}

#[tokio::test]
async fn the_originals_template_still_works() {
    let folder = tempfile::tempdir().unwrap();
    let words = folder.path().join("words");
    let template = format!(
        "jobTemplate: |\n  #!/bin/bash\n  GHTOKEN=g\n  # it's a comment with one apostrophe\n  printf '%s\\n' %RUNNER_CONFIG_LINE% \"%LAUNCH_TOKEN%\" %LOG_FILE% \"$USER\" >{}\nbackend: local",
        words.display()
    );
    let gateway = Gateway::start(folder.path(), &yaml(folder.path(), &template));
    let request = App::start().await.request(1, ONE, "a,b=1");
    assert_eq!(post_json(&gateway.url, "/runner/start", &request).await.0, 200);
    let state = async || get_json(&gateway.url, "/runner/1-1").await.1["state"].clone();
    within(10, "it completes", async || state().await == "COMPLETED").await;
    let text = std::fs::read_to_string(&words).unwrap();
    let url = format!("https://github.com/{ONE}");
    let start = ["--unattended", "--replace", "--url", &url, "--token", "g", "--ephemeral", "--work", "gha_work"];
    let end = ["--name", "gha-slurm-1-1", "--labels", "a,b=1", request["launcherToken"].as_str().unwrap()];
    let log = format!("{}/local/gha-slurm-1.out", folder.path().display());
    let all: Vec<&str> = start.into_iter().chain(end).chain([log.as_str(), "daemon"]).collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), all);
}

#[tokio::test]
async fn slurmrestd_may_listen_on_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("slurmrestd.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let router = Router::new().fallback(answer).with_state(Shared::default());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let path = folder.path().join("gateway.yaml");
    std::fs::write(&path, yaml(folder.path(), &rest(&format!("unix:{}", socket.display()), folder.path()))).unwrap();
    let mut check = tokio::process::Command::new(env!("CARGO_BIN_EXE_gha-slurm-gateway"));
    let output = check.arg("check").arg("--config").arg(&path).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("daemon: ok, slurmrestd of unknown release speaks v0.0.38"), "{said}");
    assert!(output.status.code() == Some(1) && said.contains("nobody-at-all: there is no user"), "{said}");
}

#[tokio::test]
async fn it_speaks_tls_and_ends_when_told() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, pki_types::ServerName};

    let folder = tempfile::tempdir().unwrap();
    let certify = || {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    };
    let mut certificate = certify();
    let tls = format!("tls: {{certificate: {0}/cert.pem, key: {0}/key.pem}}\nbackend: local", folder.path().display());
    let mut gateway = Gateway::start(folder.path(), &yaml(folder.path(), &tls));
    let address = gateway.url.trim_start_matches("http://").to_owned();
    let id = gateway.child.id().to_string();

    let asked_with = async |trusted: rustls::pki_types::CertificateDer<'static>| {
        let mut roots = RootCertStore::empty();
        roots.add(trusted).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.ok()?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        Some(text)
    };
    let text = asked_with(certificate.clone()).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    certificate = certify();
    assert_eq!(asked_with(certificate.clone()).await, None, "renewed on disk only");
    assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    within(5, "the renewed certificate is used", async || asked_with(certificate.clone()).await.is_some()).await;

    let silent = tokio::net::TcpStream::connect(&address).await.unwrap();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    within(5, "it ends", async || gateway.child.try_wait().unwrap().is_some_and(|status| status.success())).await;
    drop(silent);
}

#[test]
fn mistakes_at_start_end_it_with_2_and_the_example_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.yaml");
    std::fs::write(&path, "ghaSharedSecret: hunter2\nlisten: [\n").unwrap();
    let run = |words: &[&str]| Command::new(env!("CARGO_BIN_EXE_gha-slurm-gateway")).args(words).output().unwrap();
    let output = run(&["--config", path.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("bad.yaml:2:") && !said.contains("hunter2"), "{said}");
    let text = "ghaSharedSecret: x\nbackend: local\ntls: {certificate: /nowhere/cert.pem, key: /nowhere/key.pem}\n\
                repositories: [{gitHubURL: 'https://github.com/o/r', slurmUser: daemon}]\n\
                job: {runner: /opt/runner}\nstateDirectory: ";
    std::fs::write(&path, format!("{text}{}\n", folder.path().display())).unwrap();
    for words in [vec!["--config", path.to_str().unwrap()], vec!["check", "--config", path.to_str().unwrap()]] {
        let output = run(&words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(2) && said.contains("tls: cannot read /nowhere/cert.pem"),
            "{words:?}: {said}"
        );
    }
    assert!(run(&["script"]).stdout.starts_with(b"#!/bin/bash"));
    for example in [include_str!("../../deploy/gateway.example.yaml").to_owned(), uncommented()] {
        std::fs::write(&path, example).unwrap();
        let config =
            gha_slurm_gateway::config::Config::load(&path, &|_| Some("4d1f0a2b9c8e7f60a1b2c3d4e5f60718".to_owned()));
        assert!(config.is_ok(), "{}", config.unwrap_err());
    }
}

/// The example with every key that it shows as a default.
fn uncommented() -> String {
    let example = include_str!("../../deploy/gateway.example.yaml");
    let key = |line: &str| {
        let rest = line.trim_start().strip_prefix("# ")?;
        let (name, value) = rest.trim_start().split_once(':')?;
        let plain = name.chars().all(|letter| letter.is_ascii_alphanumeric()) && name.starts_with(char::is_lowercase);
        let shown = plain && (value.is_empty() || value.starts_with(' '));
        (shown && !rest.contains("# not set")).then(|| line.replacen("# ", "", 1))
    };
    let lines = example.lines().map(|line| key(line).unwrap_or_else(|| line.to_owned()));
    lines.collect::<Vec<_>>().join("\n")
}
