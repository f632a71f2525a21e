//! What the gateway refuses, withstands and writes down.

// Tests fail by panicking, in helpers too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use gha_slurm_gateway::config::Config;
use gha_slurm_gateway::launch::Launch;
use gha_slurm_gateway::service::Service;
use gha_slurm_protocol::messages::StartRunner;
use serde_json::{Value, json};
use support::slurmrestd::{Shared, answer, now, rest, slurmrestd, yaml};
use support::{App, Gateway, ONE, SECRET, TWO, get_json, post_json, runner_folder, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// A gateway that submitted one launch, to a slurmrestd of new versions or of old ones.
async fn submitted(new: bool) -> (tempfile::TempDir, Arc<App>, Gateway, Shared) {
    let folder = tempfile::tempdir().unwrap();
    let (url, slurm) = slurmrestd(new).await;
    let app = App::start().await;
    let gateway = Gateway::start(folder.path(), &yaml(folder.path(), &rest(&url, folder.path())));
    assert_eq!(post_json(&gateway.url, "/runner/start", &app.request(1, ONE, "a")).await.0, 200);
    (folder, app, gateway, slurm)
}

fn address(gateway: &Gateway) -> std::net::SocketAddr {
    gateway.url.trim_start_matches("http://").parse().unwrap()
}

/// What comes back for these bytes, until the other end closes or nothing comes for two seconds.
async fn raw(gateway: &Gateway, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address(gateway)).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut all)).await;
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn what_has_no_secret_or_a_strange_head_is_answered_before_its_body() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &yaml(folder.path(), "backend: local"));
    let head = |more: &str| format!("POST /runner/start HTTP/1.1\r\ncontent-length: 60000\r\n{more}\r\n");
    let token = format!("auth-token: {SECRET}\r\n");
    for (more, status) in [
        ("host: a\r\ncontent-type: application/json\r\n".to_owned(), 401),
        (format!("host: a\r\n{token}{token}"), 401),
        (format!("host: a\r\n{token}"), 415),
        (format!("host: a\r\nhost: b\r\n{token}"), 400),
        (token.clone(), 400),
        (format!("host: a\r\n{token}{}", "x: y\r\n".repeat(100)), 431),
        (format!("host: a\r\n{token}x: {}\r\n", "y".repeat(60_000)), 431),
    ] {
        let begun = Instant::now();
        let answer = raw(&gateway, &head(&more)).await;
        let start = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&start), "{status}: {answer} for {}", more.chars().take(100).collect::<String>());
        assert!(begun.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn one_address_cannot_take_every_connection() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &yaml(folder.path(), "backend: local"));
    let from = async |address: std::net::SocketAddr, from: Ipv4Addr| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(address).await.unwrap()
    };
    let mut held = Vec::new();
    for _ in 0..600 {
        held.push(from(address(&gateway), Ipv4Addr::new(127, 0, 0, 2)).await);
    }
    let mut one_more = held.pop().unwrap();
    let mut byte = [0];
    let closed = tokio::time::timeout(Duration::from_secs(3), one_more.read(&mut byte)).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "beyond an address's share");
    let begun = Instant::now();
    assert_eq!(get_json(&gateway.url, "/healthz").await.0, 200, "others are served");
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn tokens_are_exchanged_only_where_the_configuration_says() {
    let folder = tempfile::tempdir().unwrap();
    let (url, slurm) = slurmrestd(true).await;
    let app = App::start().await;
    let more = format!("app: {{url: ['https://other.example/app', '{}/gha']}}\n{}", app.url, rest(&url, folder.path()));
    let gateway = Gateway::start(folder.path(), &yaml(folder.path(), &more));
    let mut request = app.request(1, ONE, "a");
    for elsewhere in ["https://evil.example/gha/runner", "https://other.example/gha/runner", &app.url] {
        request["tokenURL"] = elsewhere.into();
        let (status, answer) = post_json(&gateway.url, "/runner/start", &request).await;
        assert_eq!((status, &answer["field"]), (422, &json!("tokenURL")), "{elsewhere}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains("app.url"), "{answer}");
    }
    assert!(slurm.lock().unwrap().jobs.is_empty());
    let (status, answer) = post_json(&gateway.url, "/runner/start", &app.request(1, ONE, "a")).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn what_slurm_will_never_start_is_ended_after_a_while_and_not_submitted_again() {
    let folder = tempfile::tempdir().unwrap();
    let (url, slurm) = slurmrestd(true).await;
    let app = App::start().await;
    let path = folder.path().join("gateway.yaml");
    let text = yaml(folder.path(), &format!("impossibleMinutes: 5\n{}", rest(&url, folder.path())));
    let config = Config::parse(&text, &path, &|_| None).unwrap();
    let service = Service::open(config, path).unwrap();
    let launch = |job, cpus: &str| {
        let mut request = app.request(job, ONE, "a");
        request["cpus"] = cpus.into();
        Launch::try_from(serde_json::from_value::<StartRunner>(request).unwrap()).unwrap()
    };
    let (first, second) = (launch(1, "2"), launch(2, "2"));
    assert_eq!(service.start(&first).await.unwrap().job, 1);
    assert_eq!(service.start(&second).await.unwrap().job, 2);
    let says = |job: usize, state: &str, reason: &str| {
        slurm.lock().unwrap().jobs[job - 1]["job_state"] = json!([state]);
        slurm.lock().unwrap().jobs[job - 1]["state_reason"] = json!(reason);
    };
    says(1, "PENDING", "PartitionTimeLimit");
    says(2, "PENDING", "PartitionTimeLimit");
    let at = |seconds| Instant::now() + Duration::from_secs(seconds);
    service.end_hopeless(at(60)).await;
    service.end_hopeless(at(300)).await;
    assert!(slurm.lock().unwrap().cancelled.is_empty());
    // It starts at the last moment: an administrator has changed the partition.
    says(2, "RUNNING", "None");
    service.end_hopeless(at(400)).await;
    assert_eq!(slurm.lock().unwrap().cancelled, [1]);
    let again = service.start(&launch(3, "2")).await.unwrap_err().to_string();
    assert!(again.contains("PartitionTimeLimit: its time limit is longer than the partition's"), "{again}");
    assert_eq!(slurm.lock().unwrap().jobs.len(), 2, "not submitted");
    assert_eq!(service.start(&launch(4, "1")).await.unwrap().job, 3, "what asks for something else is");
}

#[tokio::test]
async fn a_system_user_is_refused_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let (url, slurm) = slurmrestd(true).await;
    let app = App::start().await;
    let more = format!("minUid: 1000\n{}", rest(&url, folder.path()));
    let gateway = Gateway::start(folder.path(), &yaml(folder.path(), &more));
    let (status, answer) = post_json(&gateway.url, "/runner/start", &app.request(1, ONE, "a")).await;
    assert_eq!(status, 403, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("daemon: its uid 1 is below minUid"), "{answer}");
    assert!(slurm.lock().unwrap().jobs.is_empty());
}

/// A command that becomes the gateway where these are the users, if this machine lets a test have its own /etc/passwd.
fn with_users(passwd: &Path) -> Option<Command> {
    let unshare = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(words);
        command
    };
    let works = |words: &&[&str]| unshare(words).arg("true").output().is_ok_and(|output| output.status.success());
    let words = [&["--mount"][..], &["--mount", "--map-root-user"]].into_iter().find(works)?;
    let mut command = unshare(words);
    command.args(["sh", "-c", "mount --bind \"$1\" /etc/passwd && shift && exec \"$@\"", "sh"]);
    command.arg(passwd).arg(env!("CARGO_BIN_EXE_gha-slurm-gateway"));
    Some(command)
}

#[tokio::test]
async fn another_name_of_root_is_refused_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let passwd = folder.path().join("passwd");
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    std::fs::write(&passwd, format!("{}\ntoor:x:0:0:root:/root:/bin/sh\n", users.trim_end())).unwrap();
    let app = App::start().await;
    // Whatever the site says of small uids.
    for uids in ["", "minUid: 0\n"] {
        let Some(command) = with_users(&passwd) else {
            assert!(std::env::var_os("GHA_SLURM_REQUIRE_SLURM").is_none(), "unshare does not work");
            println!("skipped: unshare does not work here");
            return;
        };
        let (url, slurm) = slurmrestd(true).await;
        let text = yaml(folder.path(), &format!("{uids}{}", rest(&url, folder.path())));
        let gateway = Gateway::start_by(command, folder.path(), &text.replace("nobody-at-all:", "toor:"));
        let (status, answer) = post_json(&gateway.url, "/runner/start", &app.request(1, TWO, "a")).await;
        assert_eq!(status, 403, "{answer}");
        assert!(answer["message"].as_str().unwrap().contains("toor: it has uid 0"), "{answer}");
        assert!(slurm.lock().unwrap().jobs.is_empty());
        assert!(!folder.path().join("minted").exists(), "no token of root's was asked for");
        assert_eq!(get_json(&gateway.url, "/runner/1-1").await.0, 404, "nothing is kept of it");
    }
}

#[tokio::test]
async fn a_slurm_job_that_has_the_id_of_ours_by_now_is_left_alone() {
    for new in [false, true] {
        let (_folder, _app, gateway, slurm) = submitted(new).await;
        let states = if new { json!(["NODE_FAIL", "REQUEUED"]) } else { json!("node_fail,requeued") };
        slurm.lock().unwrap().jobs[0]["job_state"] = states;
        assert_eq!(get_json(&gateway.url, "/runner/1-1").await.1["state"], "REQUEUED", "it will run again");
        // The site has reset its Slurm, whose ids start anew.
        let later = now() + 86_400;
        slurm.lock().unwrap().jobs[0]["name"] = "simulation".into();
        slurm.lock().unwrap().jobs[0]["submit_time"] =
            if new { json!({"set": true, "number": later}) } else { json!(later) };
        assert_eq!(get_json(&gateway.url, "/runner/1-1").await.1["state"], "UNKNOWN");
        assert_eq!(post_json(&gateway.url, "/runner/cancel", &json!({"launch": "1-1"})).await.0, 200);
        assert_eq!(slurm.lock().unwrap().cancelled, [0; 0], "a stranger's");
    }
}

#[tokio::test]
async fn a_slurm_job_that_its_own_steps_renamed_is_watched_and_cancelled() {
    for new in [false, true] {
        let (_folder, _app, gateway, slurm) = submitted(new).await;
        let set = |field: &str, value: Value| slurm.lock().unwrap().jobs[0][field] = value;
        let state = async || get_json(&gateway.url, "/runner/1-1").await.1["state"].clone();
        let cancel = async || post_json(&gateway.url, "/runner/cancel", &json!({"launch": "1-1"})).await;
        set("name", "x".into());
        // Requeued, it counts as submitted later: whether it is the same one, nobody can say.
        set("submit_time", json!(now() + 86_400));
        set("restart_cnt", json!(1));
        assert_eq!(state().await, "PENDING");
        let (status, answer) = cancel().await;
        assert!(status == 503 && answer["message"].as_str().unwrap().contains("by hand"), "{status} {answer}");
        assert_eq!(slurm.lock().unwrap().cancelled, [0; 0]);
        set("submit_time", json!(now()));
        set("restart_cnt", json!(0));
        assert_eq!(state().await, "PENDING");
        assert_eq!(cancel().await.0, 200);
        assert_eq!(slurm.lock().unwrap().cancelled, [1]);
    }
}

#[tokio::test]
async fn a_limit_that_passes_is_for_later() {
    let folder = tempfile::tempdir().unwrap();
    let (url, _) = slurmrestd(true).await;
    let app = App::start().await;
    let gateway = Gateway::start(folder.path(), &yaml(folder.path(), &rest(&url, folder.path())));
    let mut request = app.request(1, ONE, "a");
    request["partition"] = "full".into();
    let sent = reqwest::Client::new().post(format!("{}/runner/start", gateway.url)).header("auth-token", SECRET);
    let response = sent.json(&request).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (503, "60"));
    request["partition"] = "gha".into();
    assert_eq!(post_json(&gateway.url, "/runner/start", &request).await.0, 200, "nothing was submitted before");
}

#[tokio::test]
async fn slurmrestd_has_few_connections_however_many_launches_come() {
    let folder = tempfile::tempdir().unwrap();
    let slurm = Shared::default();
    slurm.lock().unwrap().new = true;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let counted = {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        from_fn(move |request: Request, next: Next| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                next.run(request).await
            }
        })
    };
    let router = Router::new().fallback(answer).layer(counted).with_state(Arc::clone(&slurm));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let app = App::start().await;
    let backend = rest(&url, folder.path()).replace("url:", "connections: 3, url:");
    let gateway = Gateway::start(folder.path(), &yaml(folder.path(), &backend));
    let all: Vec<_> = (1..=60)
        .map(|job| {
            let (url, request) = (gateway.url.clone(), app.request(job, ONE, "a"));
            tokio::spawn(async move { post_json(&url, "/runner/start", &request).await.0 })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_eq!(slurm.lock().unwrap().jobs.len(), 60);
    assert!(most.load(Ordering::SeqCst) <= 3, "{}", most.load(Ordering::SeqCst));
}

/// slurmctld takes each submission and dies with the answer; and its queue is slow to read.
#[tokio::test]
async fn many_lost_answers_are_looked_for_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let slurm = Shared::default();
    slurm.lock().unwrap().new = true;
    let reads = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let loses = {
        let reads = Arc::clone(&reads);
        from_fn(move |request: Request, next: Next| {
            let reads = Arc::clone(&reads);
            async move {
                let (submits, path) = (request.method() == "POST", request.uri().path().to_owned());
                if path.ends_with("/jobs") {
                    reads.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                let answer = next.run(request).await;
                if !submits {
                    return answer;
                }
                let error =
                    json!({"errors": [{"error_number": 5005, "error": "Zero Bytes were transmitted or received"}]});
                (axum::http::StatusCode::INTERNAL_SERVER_ERROR, axum::Json(error)).into_response()
            }
        })
    };
    let router = Router::new().fallback(answer).layer(loses).with_state(Arc::clone(&slurm));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let app = App::start().await;
    let gateway = Gateway::start(folder.path(), &yaml(folder.path(), &rest(&url, folder.path())));
    let all: Vec<_> = (1..=20)
        .map(|job| {
            let (url, request) = (gateway.url.clone(), app.request(job, ONE, "a"));
            tokio::spawn(async move { post_json(&url, "/runner/start", &request).await })
        })
        .collect();
    for one in all {
        let (status, answer) = one.await.unwrap();
        assert_eq!(status, 200, "{answer}");
    }
    assert_eq!(slurm.lock().unwrap().jobs.len(), 20, "once each");
    assert!(reads.load(Ordering::SeqCst) <= 8, "one reading serves many: {}", reads.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_slurmrestd_without_jwt_is_told_by_its_401() {
    let folder = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let refuse = async |State(()): State<()>| (axum::http::StatusCode::UNAUTHORIZED, "Authentication failure");
    let router = Router::new().fallback(refuse).with_state(());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let path = folder.path().join("gateway.yaml");
    std::fs::write(&path, yaml(folder.path(), &rest(&url, folder.path()))).unwrap();
    let mut check = tokio::process::Command::new(env!("CARGO_BIN_EXE_gha-slurm-gateway"));
    let output = check.arg("check").arg("--config").arg(&path).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("daemon: Slurm does not answer: the gateway's token is not accepted: status 401"), "{said}");
    for warning in
        ["ghaSharedSecret: warning: shorter than 16", "app.url: warning: not set", "ProctrackType: warning: "]
    {
        assert!(said.contains(warning), "{warning}: {said}");
    }
    assert!(said.contains("daemon: warning: uid 1 is a system user's") || !said.contains("daemon: ok"), "{said}");
}

#[tokio::test]
async fn who_asked_for_what_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let (url, _) = slurmrestd(true).await;
    let app = App::start().await;
    let log = folder.path().join("audit.jsonl");
    let more = format!("auditLog: {}\n{}", log.display(), rest(&url, folder.path()));
    let gateway = Gateway::start(folder.path(), &yaml(folder.path(), &more));
    let mut request = app.request(1, ONE, "a");
    request["profile"] = "small".into();
    for _ in 0..2 {
        assert_eq!(post_json(&gateway.url, "/runner/start", &request).await.0, 200);
    }
    assert_eq!(post_json(&gateway.url, "/runner/start", &app.request(2, TWO, "a")).await.0, 422);
    assert_eq!(post_json(&gateway.url, "/runner/start", &app.request(3, "octo-org/unknown", "a")).await.0, 403);
    assert_eq!(post_json(&gateway.url, "/runner/cancel", &json!({"launch": "1-1"})).await.0, 200);
    let guess = reqwest::Client::new().get(format!("{}/runner/1-1", gateway.url)).header("auth-token", "guess");
    assert_eq!(guess.send().await.unwrap().status(), 401);
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> =
        lines.iter().map(|line| (line["event"].as_str().unwrap(), line["outcome"].as_str().unwrap())).collect();
    let expected = [
        ("launch", "submitted"),
        ("launch", "known"),
        ("launch", "refused"),
        ("launch", "refused"),
        ("cancel", "done"),
        ("request", "unauthorized"),
    ];
    assert_eq!(told, expected);
    let first = &lines[0];
    for (key, value) in [
        ("v", json!(1)),
        ("address", json!("127.0.0.1")),
        ("launch", json!("1-1")),
        ("repository", json!(format!("https://github.com/{ONE}"))),
        ("profile", json!("small")),
        ("slurm_user", json!("daemon")),
        ("slurm_job", json!(1)),
        ("status", json!(200)),
    ] {
        assert_eq!(first[key], value, "{key}: {first}");
    }
    assert!(lines[2]["reason"].as_str().unwrap().contains("no user nobody-at-all"), "{}", lines[2]);
    assert!(!text.contains("eyJ") && !text.contains(SECRET), "{text}");
    assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Slurm's commands as a site may have them: each greets, and sbatch runs the script at once with what it is told to
/// export and nothing else.
fn commands(folder: &Path) -> String {
    let at = folder.display();
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/bash\necho '** Welcome to the cluster, user 4 of 7 **'\n{text}"))
            .unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    };
    write(
        "sbatch",
        format!(
            "printf '%s\\n' \"$@\" >{at}/argv\ncat >{at}/script\nchmod +x {at}/script\n\
             for word; do case $word in --export=*) name=${{word#*=}} ;; esac; done\n\
             env -i SLURM_JOB_ID=17 \"$name=${{!name}}\" {at}/script >{at}/out 2>&1 </dev/null &\necho 17\n"
        ),
    );
    write(
        "squeue",
        // Of a site whose sudo drops SLURM_TIME_FORMAT.
        "case \" $* \" in\n\
         *' --user=daemon --jobs=17 --Format='*) echo '17|2026-11-27T12:00:00|0|RUNNING|2026-11-27T12:00:01|gha|None' ;;\n\
         *' --user=daemon --jobs=17 --format=%A --name=gha-slurm-1-1 '*) echo 17 ;;\n\
         esac\n"
            .to_owned(),
    );
    write("scancel", format!("printf '%s\\n' \"$@\" >{at}/cancelled\n"));
    format!("backend: sbatch\nsbatch: {{sbatch: [{at}/sbatch], squeue: [{at}/squeue], scancel: [{at}/scancel]}}")
}

#[tokio::test]
async fn by_sbatch_the_token_is_in_no_script_and_no_argv() {
    let folder = tempfile::tempdir().unwrap();
    runner_folder(folder.path());
    let app = App::start().await;
    // This sbatch changes no user, which the node's check would find out.
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    let id = folder.path().join("bin/id");
    std::fs::write(&id, "#!/bin/bash\necho daemon\n").unwrap();
    std::fs::set_permissions(&id, PermissionsExt::from_mode(0o755)).unwrap();
    let environment = format!(
        ", scratch: {0}, environment: {{STAND_IN_GITHUB: '{1}', PATH: '{0}/bin:/usr/bin:/bin'}}}}",
        folder.path().display(),
        app.github.url()
    );
    let text = yaml(folder.path(), &commands(folder.path())).replace("/runner}", &format!("/runner{environment}"));
    let gateway = Gateway::start(folder.path(), &text);
    let (job, _) = app.github.queue_job(ONE, &["a"]).await;
    let mut request = app.request(1, ONE, "a");
    request["runnerName"] = "r".into();
    assert_eq!(post_json(&gateway.url, "/runner/start", &request).await.1["job_id"], "17");
    assert_eq!(get_json(&gateway.url, "/runner/1-1").await.1["state"], "RUNNING");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let token = request["launcherToken"].as_str().unwrap();
    for name in ["argv", "script"] {
        assert!(!read(name).contains(token) && !read(name).contains("eyJ"), "{name}");
    }
    assert!(read("argv").lines().any(|word| word == "--export=GHA_SLURM_EXPORTS"), "{}", read("argv"));
    let done =
        || app.github.job(job).unwrap().status == gha_slurm_simulator::github::JobStatus::Completed("success".into());
    within(20, "the runner has its environment and does its job", async || done()).await;
    assert_eq!(post_json(&gateway.url, "/runner/cancel", &json!({"launch": "1-1"})).await.0, 200);
    assert_eq!(read("cancelled"), "--user=daemon\n17\n");
}

#[tokio::test]
async fn by_sbatch_a_template_keeps_its_token_out_of_the_script() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("words");
    let template = format!(
        "jobTemplate: |\n  #!/bin/bash\n  #SBATCH --constraint=fast\n  TOKEN='%LAUNCH_TOKEN%'\n  echo \"$TOKEN $USER\" >{}\n{}",
        out.display(),
        commands(folder.path())
    );
    let gateway = Gateway::start(folder.path(), &yaml(folder.path(), &template));
    let request = App::start().await.request(1, ONE, "a");
    assert_eq!(post_json(&gateway.url, "/runner/start", &request).await.0, 200);
    let token = request["launcherToken"].as_str().unwrap();
    within(10, "it runs", async || std::fs::read_to_string(&out).is_ok_and(|text| text == format!("{token} daemon\n")))
        .await;
    let script = std::fs::read_to_string(folder.path().join("script")).unwrap();
    assert!(!script.contains(token) && script.contains("\n#SBATCH --constraint=fast\n"), "{script}");
}

#[test]
fn plain_http_beyond_loopback_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.yaml");
    std::fs::write(&path, yaml(folder.path(), "backend: local").replace("127.0.0.1:0", "0.0.0.0:0")).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_gha-slurm-gateway")).arg("--config").arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.code() == Some(2) && said.contains("insecureHttp: true"), "{said}");
}
