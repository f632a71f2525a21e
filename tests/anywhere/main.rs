//! The tests of the main flow and of the state model against an application that runs already, wherever it does:
//!
//! ```sh
//! cargo test --workspace --test anywhere -- --base-url https://app.example --key-file app.pem \
//!     --github-listen 192.0.2.7:9001 --gateway-listen 192.0.2.7:9002
//! ```
//!
//! The simulated GitHub and the simulated gateway listen at these two addresses, which the application must reach; how it
//! must be configured is what `--write-variables FILE` writes. Without `--base-url` the application is this project's own, on
//! its own host, so that plain `cargo test` proves this way of testing. The tests themselves are those of
//! `tests/workflow` that ask nothing of the host around the application.

// clippy.toml lets tests panic; what they share is part of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};

use clap::Parser;
use jwt_simple::prelude::RS256KeyPair;
use support::elsewhere::{Elsewhere, VARIABLE};
use url::Url;

/// Modules of tests/workflow whose tests need an application between a GitHub and a gateway, and nothing else. Those
/// after which launches wait for the gateway come last.
const MODULES: &[&str] = &[
    "happy::",
    "webhook_bad_input::",
    "redeem_bad_input::",
    "github_faults::",
    "repair::",
    "races::",
    "pages::",
    "console::",
    "gateway_faults::",
];

/// Their tests that cannot run here, and why.
const LEFT_OUT: &[(&str, &[&str])] = &[
    (
        "it needs variables or a host of its own",
        &[
            "without_an_admin_token",
            "a_gateway_that_is_not_there",
            "a_token_of_another_app",
            "a_forged_cookie",
            "the_host_repairs_by_itself",
        ],
    ),
    (
        "it looks into the store, or fills it",
        &[
            "expired_early_and_foreign_tokens",
            "garbage_in_the_store",
            "a_runner_whose_job_was_cancelled",
            "fifty_thousand_jobs",
            "a_job_is_followed_from_its_webhook",
            "prometheus_reads_the_metrics",
        ],
    ),
    ("it asks the command `explain`", &["what_left_no_fact", "explain_says"]),
    (
        "it would have the application refuse secrets for a minute",
        &["one_limiter_bears", "wrong_tokens_are_slowed_down"],
    ),
    (
        "it would keep the application from asking GitHub for a minute",
        &["while_github_limits_the_rate", "the_wait_that_github_names"],
    ),
];

/// Runs the tests of the main flow and of the state model against an application at any base URL.
#[derive(Parser)]
#[command(
    name = "anywhere",
    bin_name = "cargo test --workspace --test anywhere --",
    after_help = "Exit status: 0 success, 101 a test failed, 2 wrong usage."
)]
struct Arguments {
    /// Where the application is; without it, one is started for the time of the tests.
    #[arg(long)]
    base_url: Option<Url>,
    /// Write the variables that the application at --base-url needs into a new file, as `.env` has them, and end.
    #[arg(long, value_name = "FILE", requires = "base_url")]
    write_variables: Option<PathBuf>,
    /// The App's private key, made where there is none.
    #[arg(long, value_name = "FILE", default_value = "anywhere.pem")]
    key_file: PathBuf,
    /// Where the simulated GitHub listens; as the application reaches it.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9001")]
    github_listen: SocketAddr,
    /// Where the simulated gateway listens; as the application reaches it.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9002")]
    gateway_listen: SocketAddr,
    /// Only this module, or this test: `repair`, or the beginning of `repair::a_cancelled_jobs_slurm_job_is_cancelled`.
    #[arg(default_value = "")]
    filter: String,
    /// As the other tests have it: show what the tests print.
    #[arg(long)]
    nocapture: bool,
    /// As the other tests have it; these run one after the other.
    #[arg(long, hide = true)]
    test_threads: Option<u32>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir().unwrap();
    let (elsewhere, host) = match &arguments.base_url {
        Some(url) => {
            let key_file = std::path::absolute(&arguments.key_file).unwrap();
            let base_url = url.as_str().trim_end_matches('/').to_owned();
            let (github, gateway) = (arguments.github_listen, arguments.gateway_listen);
            (Elsewhere { base_url, github, gateway, key_file }, None)
        }
        None => {
            let [app, github, gateway] = std::array::from_fn(|_| free_address());
            let key_file = folder.path().join("app.pem");
            (Elsewhere { base_url: format!("http://{app}"), github, gateway, key_file }, Some(app))
        }
    };
    if let Err(why) = make_key(&elsewhere.key_file) {
        eprintln!("anywhere: {}: {why}; name another file by --key-file", elsewhere.key_file.display());
        return ExitCode::from(2);
    }
    if let Some(file) = &arguments.write_variables {
        return match write_variables(file, &elsewhere) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("anywhere: {}: {error}; a file that is there is left as it is", file.display());
                ExitCode::from(2)
            }
        };
    }
    let chosen = chosen(&arguments.filter);
    if chosen.is_empty() {
        println!("no module or test is called {}", arguments.filter);
        return ExitCode::SUCCESS;
    }
    let _host = host.map(|listen| OwnHost::start(listen, &elsewhere, folder.path()));
    for (why, tests) in LEFT_OUT {
        println!("skipped, because {why}: {}", tests.join(", "));
    }
    match run(&elsewhere, &chosen, arguments.nocapture) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(101),
    }
}

/// Secrets are among them, and an operator's own `.env` may have the same name.
fn write_variables(file: &Path, elsewhere: &Elsewhere) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    for (name, value) in elsewhere.variables() {
        writeln!(file, "SPIN_VARIABLE_{}=\"{}\"", name.to_uppercase(), value.trim().replace('\n', "\\n"))?;
    }
    Ok(())
}

/// What is to run of each module.
fn chosen(filter: &str) -> Vec<&str> {
    let of = |module: &&'static str| match module.starts_with(filter) {
        true => Some(*module),
        false => filter.starts_with(module).then_some(filter),
    };
    MODULES.iter().filter_map(of).collect()
}

/// Runs what was chosen one after the other, also after a failure.
fn run(elsewhere: &Elsewhere, chosen: &[&str], nocapture: bool) -> bool {
    let described = serde_json::to_string(elsewhere).unwrap();
    let mut passed = true;
    for tests_of in chosen {
        println!("\n{tests_of} on {}", elsewhere.base_url);
        let mut tests = support::workflow_tests();
        tests.args(["--test-threads", "1", "--format", "pretty", tests_of]);
        for (_, left_out) in LEFT_OUT {
            tests.args(left_out.iter().flat_map(|test| ["--skip", test]));
        }
        if nocapture {
            tests.arg("--nocapture");
        }
        let status =
            tests.env(VARIABLE, &described).env_remove("GHA_SLURM_ON_SPIN").env("GHA_SLURM_RACES", "2").status();
        passed &= status.unwrap().success();
    }
    passed
}

fn make_key(file: &Path) -> Result<(), String> {
    if !file.exists() {
        let pem = RS256KeyPair::generate(2048).and_then(|key| key.to_pem()).map_err(|error| error.to_string())?;
        std::fs::write(file, pem).map_err(|error| error.to_string())?;
    }
    let pem = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    RS256KeyPair::from_pem(&pem).map(|_| ()).map_err(|_| "it is no RSA private key".to_owned())
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// This project's application on its own host, until it is dropped.
struct OwnHost(Child);

impl OwnHost {
    fn start(listen: SocketAddr, elsewhere: &Elsewhere, state: &Path) -> Self {
        support::built();
        let variables = elsewhere.variables().into_iter();
        let mut host = support::program()
            .args(["up", "--quiet", "--listen", &listen.to_string(), "--from", support::MANIFEST, "--state-dir"])
            .arg(state)
            .envs(variables.map(|(name, value)| (format!("SPIN_VARIABLE_{}", name.to_uppercase()), value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(host.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("listening on"), "the host says {line:?}");
        Self(host)
    }
}

impl Drop for OwnHost {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
