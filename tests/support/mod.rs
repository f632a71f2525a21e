//! One application with everything around it, for one test. What test targets share; none of them uses all of it.

#![allow(dead_code, reason = "each test target uses its part")]

pub(crate) mod ca;
pub(crate) mod elsewhere;
pub(crate) mod gateway;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::gateway::Gateway;
use gha_slurm_simulator::github::{APP_ID, GitHub, sign};
use reqwest::{Method, Response};
use serde_json::Value;

use self::elsewhere::Elsewhere;

pub(crate) const REPOSITORY: &str = "octo-org/simulation";
pub(crate) const LABELS: &[&str] = &["self-hosted", "slurm"];
pub(crate) const WEBHOOK_SECRET: &str = "It's a Secret to Everybody";
pub(crate) const ADMIN_TOKEN: &str = "an-admin-token-of-32-characters!";
pub(crate) const GATEWAY_SECRET: &str = "gateway-secret-of-the-tests";
const IDLE_LIMIT: Duration = Duration::from_secs(5);

/// The default profile, and two for what it does not show.
pub(crate) const PROFILES: &str = r"
[[profile]]
name = 'default'
labels = ['self-hosted', 'slurm']

[[profile]]
name = 'large'
labels = ['self-hosted', 'slurm', 'large']
partition = 'long'
cpus = 8
memory = '24G'
gpus = 2
time_limit = '1-0'
exclusive = true
[profile.dynamic]
cpus = 16

[[profile]]
name = 'few'
labels = ['self-hosted', 'few']
max_running = 2
";

pub(crate) const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/spin.toml");

/// Where built components are.
pub(crate) const WASM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/wasm32-wasip1/wasm");

/// What races in a test of races.
pub(crate) const AT_ONCE: usize = 64;

/// Times 64 requests; `.ci/run` asks for more.
pub(crate) fn rounds() -> u64 {
    std::env::var("GHA_SLURM_RACES").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(10)
}

/// The program, where no `.env` of a developer is: it would be read.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gha-slurm"));
    command.current_dir(ELSEWHERE);
    command
}

/// A folder without a `.env`.
const ELSEWHERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");

/// Builds a component of tests/components; the path of its file.
pub(crate) fn built_for_tests(name: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap();
    gha_slurm::building::add_target(&|line| eprintln!("{line}")).expect("the Wasm target is there");
    let package = format!("gha-slurm-test-{}", name.replace('_', "-"));
    let build = ["build", "--locked", "--target", "wasm32-wasip1", "--profile", "wasm", "--target-dir", "target", "-p"];
    let cargo = Command::new("cargo").args(build).arg(package).current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(cargo.unwrap().success());
    Path::new(WASM).join(format!("test_{name}.wasm"))
}

/// Builds the components, once per run.
pub(crate) fn built() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        gha_slurm::building::build(Path::new(MANIFEST), &|line| eprintln!("{line}")).expect("the components build");
    });
}

/// The tests of tests/workflow, built as this program was; `--` and its arguments come after.
pub(crate) fn workflow_tests() -> Command {
    // target/PROFILE/deps/PROGRAM
    let program = std::env::current_exe().unwrap();
    let profile = program.ancestors().nth(2).unwrap().file_name().unwrap().to_str().unwrap();
    let profile = if profile == "debug" { "dev" } else { profile };
    let mut tests = Command::new(env!("CARGO"));
    tests.args(["test", "--quiet", "--locked", "--workspace", "--test", "workflow", "--profile", profile, "--"]);
    tests.current_dir(env!("CARGO_MANIFEST_DIR"));
    // Cargo tells a test which package it is of. Build scripts that look there would run again, and all that depends on
    // their crates would be compiled once more.
    for (name, _) in std::env::vars_os() {
        let of_package = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"];
        if name.to_str().is_some_and(|name| of_package.iter().any(|prefix| name.starts_with(prefix))) {
            tests.env_remove(name);
        }
    }
    tests
}

/// Whether the application runs on Spin's own host, as `spin.rs` asks for, instead of ours.
pub(crate) fn on_spin() -> bool {
    std::env::var_os("GHA_SLURM_ON_SPIN").is_some()
}

/// Ends a host at once. Spin's is two processes, one of which would go on.
fn end(host: &mut Option<Child>) {
    let Some(host) = host else { return };
    if on_spin() {
        let group = format!("-{}", host.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
    }
    let _ = host.kill();
    let _ = host.wait();
}

/// Whether a change of a test's is one of the environment, and not of the application's variables.
fn is_environment(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
}

/// The variables of an application between that GitHub and that gateway.
fn variables(private_key: String, github: String, gateway: String, url: String) -> [(&'static str, String); 8] {
    [
        ("github_app_id", APP_ID.to_owned()),
        ("github_private_key", private_key),
        ("github_webhook_secret", WEBHOOK_SECRET.to_owned()),
        ("github_api_url", github),
        ("gateway_url", gateway),
        ("gateway_secret", GATEWAY_SECRET.to_owned()),
        ("public_url", url),
        ("admin_token", ADMIN_TOKEN.to_owned()),
    ]
}

pub(crate) struct App {
    /// `None` where it runs elsewhere.
    host: Option<Child>,
    /// Reads the log as it comes: a full pipe would stop the host.
    log: Option<std::thread::JoinHandle<String>>,
    /// The lines of its stdout.
    lines: Receiver<String>,
    /// What it got, for commands that look at it.
    environment: Vec<(String, String)>,
    pub(crate) url: String,
    pub(crate) github: GitHub,
    pub(crate) gateway: Gateway,
    pub(crate) client: reqwest::Client,
}

impl Drop for App {
    fn drop(&mut self) {
        end(&mut self.host);
        if self.host.is_none() {
            self.github.end();
            self.gateway.end();
        }
        let log = self.log.take().map(|reader| reader.join().unwrap_or_default()).unwrap_or_default();
        if std::thread::panicking() {
            println!("{log}");
        }
        for secret in [WEBHOOK_SECRET, ADMIN_TOKEN, GATEWAY_SECRET, "ghs_", "MIIE"] {
            assert!(std::thread::panicking() || !log.contains(secret), "the log shows a secret: {secret}");
        }
    }
}

impl App {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts with the profiles that all tests share.
    pub(crate) async fn start_with_profiles() -> Self {
        Self::start_with(&[("profiles", PROFILES)]).await
    }

    /// Starts with some variables set otherwise; an empty value leaves one out. A name in capitals is one of the process's
    /// own environment.
    pub(crate) async fn start_with(changes: &[(&str, &str)]) -> Self {
        if let Some(elsewhere) = Elsewhere::asked_for() {
            return elsewhere.app(changes).await;
        }
        let events = Events::default();
        let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
        Self::start_beside(github, events, "", changes).await
    }

    /// Starts with its store in `state`, a folder or the URL of a Redis, beside a GitHub that is there already.
    pub(crate) async fn start_beside(github: GitHub, events: Events, state: &str, changes: &[(&str, &str)]) -> Self {
        Self::start_from(Path::new(MANIFEST), github, events, state, changes).await
    }

    /// Starts another application than the shipped one.
    pub(crate) async fn start_from(
        manifest: &Path,
        github: GitHub,
        events: Events,
        state: &str,
        changes: &[(&str, &str)],
    ) -> Self {
        built();
        let gateway = Gateway::start(GATEWAY_SECRET, &github.url(), IDLE_LIMIT, events).await.unwrap();
        // The application must know its own address before it listens there.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        github.set_webhook_url(&format!("{url}/api/github/webhooks"));
        let mut command = match on_spin() {
            true => Command::new("spin"),
            false => program(),
        };
        command.current_dir(ELSEWHERE).arg("up");
        if !on_spin() && changes.iter().any(|(name, _)| *name == "trusted_proxies") {
            // Our host resolves forwarded addresses itself.
            command.args(["--trusted-proxy", "127.0.0.1"]);
        }
        command
            .args(["--listen", &format!("127.0.0.1:{port}"), "--from"])
            .arg(manifest)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let config = tempfile::NamedTempFile::new().unwrap();
        if state.starts_with("redis") {
            let text = format!("[key_value_store.default]\ntype = \"redis\"\nurl = \"{state}\"\n");
            std::fs::write(config.path(), text).unwrap();
            command.arg("--runtime-config-file").arg(config.path());
        } else {
            command.args(["--state-dir", state]);
        }
        let key = github.private_key().unwrap_or_default();
        let variables = variables(key, github.url(), gateway.url(), url.clone());
        let mut environment = Vec::new();
        for (name, value) in &variables {
            let changed = changes.iter().find(|(changed, _)| changed == name).map(|(_, value)| (*value).to_owned());
            environment.push((*name, changed.unwrap_or_else(|| value.clone())));
        }
        let added = changes.iter().filter(|(name, _)| !variables.iter().any(|(known, _)| known == name));
        environment.extend(added.map(|(name, value)| (*name, (*value).to_owned())));
        let environment: Vec<(String, String)> = environment
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (format!("SPIN_VARIABLE_{}", name.to_uppercase()), value))
            .collect();
        command.envs(environment.clone());
        command.envs(changes.iter().filter(|(name, _)| is_environment(name)).copied());
        if on_spin() {
            command.process_group(0);
        }
        let mut host = command.spawn().unwrap();
        let mut stderr = host.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            let _ = stderr.read_to_string(&mut log);
            log
        });
        let stdout = BufReader::new(host.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let line = lines.recv().unwrap_or_default();
        let (host, log, client) = (Some(host), Some(log), reqwest::Client::new());
        let app = Self { host, log, lines, environment, url, github, gateway, client };
        if on_spin() {
            // It says more than one line, and not when it is ready.
            app.answers().await;
        } else {
            assert!(line.starts_with("listening on"), "the host says {line:?}");
        }
        app
    }

    /// Starts where no variable names an App and GitHub has none; `state` as for [`App::start_beside`].
    pub(crate) async fn start_unconfigured(state: &str, changes: &[(&str, &str)]) -> Self {
        let events = Events::default();
        let github = GitHub::start_without_app(&[REPOSITORY], events.clone()).await.unwrap();
        Self::start_unconfigured_beside(github, events, state, changes).await
    }

    /// The same, beside a GitHub that is there already.
    pub(crate) async fn start_unconfigured_beside(
        github: GitHub,
        events: Events,
        state: &str,
        changes: &[(&str, &str)],
    ) -> Self {
        let mut all = vec![("github_app_id", ""), ("github_private_key", ""), ("github_webhook_secret", "")];
        all.extend(changes);
        Self::start_beside(github, events, state, &all).await
    }

    /// What it printed after its address, once it has ended.
    pub(crate) fn printed(&self) -> String {
        self.lines.iter().collect()
    }

    /// A command of the program that looks at this application, with its store in `state` and some variables set
    /// otherwise.
    pub(crate) fn command(&self, name: &str, state: &Path, changes: &[(&str, &str)]) -> Command {
        let mut command = program();
        command.args([name, "--from", MANIFEST, "--state-dir"]).arg(state).envs(self.environment.clone());
        for (name, value) in changes {
            let name = format!("SPIN_VARIABLE_{}", name.to_uppercase());
            if value.is_empty() {
                command.env_remove(name)
            } else {
                command.env(name, value)
            };
        }
        command
    }

    /// The setup link, as printed.
    pub(crate) fn setup_link(&self) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(30)).expect("a link is printed");
            if line.contains("/setup?secret=") {
                return line.trim().to_owned();
            }
        }
    }

    /// Ends the host; the whole of its log.
    pub(crate) fn end(&mut self) -> String {
        self.kill();
        let log = self.log.take().unwrap().join().unwrap();
        for secret in [WEBHOOK_SECRET, ADMIN_TOKEN, GATEWAY_SECRET, "ghs_", "MIIE"] {
            assert!(!log.contains(secret), "the log shows a secret: {secret}");
        }
        log
    }

    async fn answers(&self) {
        for _ in 0..600 {
            let health = self.client.get(format!("{}/.well-known/spin/health", self.url)).send().await;
            if health.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the host does not answer");
    }

    /// Ends the host as a power cut would end it.
    pub(crate) fn kill(&mut self) {
        end(&mut self.host);
    }

    fn process(&self) -> u32 {
        self.host.as_ref().unwrap().id()
    }

    /// The host's processor time so far, in hundredths of a second.
    pub(crate) fn processor_time(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process())).unwrap();
        // After the name in brackets come the fields from the third on; the 14th and 15th are wanted.
        let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// Asks the host to end, as an init system does.
    pub(crate) fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.process().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.host.as_mut().unwrap().wait().unwrap().code()
    }

    /// A delivery of GitHub's with a right signature.
    pub(crate) async fn deliver(&self, event: &str, body: impl Into<Vec<u8>>) -> Response {
        let body = body.into();
        let signature = sign(WEBHOOK_SECRET, &body);
        self.deliver_signed(event, body, &signature).await
    }

    pub(crate) async fn deliver_signed(&self, event: &str, body: Vec<u8>, signature: &str) -> Response {
        let url = format!("{}/api/github/webhooks", self.url);
        self.client
            .post(url)
            .header("x-github-event", event)
            .header("x-github-delivery", "1")
            .header("x-hub-signature-256", signature)
            .body(body)
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn redeem(&self, authorization: Option<&str>) -> Response {
        let mut request = self.client.post(format!("{}/gha/runner", self.url));
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.send().await.unwrap()
    }

    /// Runs the periodic repair; what it did.
    pub(crate) async fn tick(&self) -> Value {
        let url = format!("{}/internal/tick", self.url);
        let (status, report) = json(self.client.post(url).bearer_auth(ADMIN_TOKEN).send().await.unwrap()).await;
        assert_eq!(status, 200, "{report}");
        report
    }

    pub(crate) async fn request(&self, method: Method, path: &str) -> Response {
        self.client.request(method, format!("{}{path}", self.url)).send().await.unwrap()
    }

    /// Queues a job whose Slurm job stays pending; the launch request that came of it.
    pub(crate) async fn held_launch(&self) -> (u64, Value) {
        self.gateway.hold(true);
        let (job, delivery) = self.github.queue_job(REPOSITORY, LABELS).await;
        let delivery = delivery.unwrap();
        assert_eq!((delivery.status, delivery.answer["decision"].as_str()), (200, Some("launched")), "{delivery:?}");
        (job, self.gateway.starts().pop().unwrap())
    }

    pub(crate) async fn within_seconds(&self, seconds: u64, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..seconds * 20 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not within {seconds} s: {what}");
    }
}

pub(crate) async fn json(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}, not JSON: {text:?}")))
}

/// An id that nobody used before, also where the application and its store are older than the test.
pub(crate) fn fresh(id: u64) -> u64 {
    id + elsewhere::first_id()
}

/// A *queued* payload for the default profile.
pub(crate) fn queued(job: u64) -> Value {
    serde_json::json!({
        "action": "queued",
        "workflow_job": {"id": job, "labels": LABELS, "run_attempt": 1},
        "repository": {"id": fresh(1), "full_name": REPOSITORY, "html_url": format!("https://github.com/{REPOSITORY}")},
        "installation": {"id": 7_654_321},
    })
}

/// Seconds of Unix time.
pub(crate) fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}
