//! A load generator for gha-slurm and for whatever else speaks its contract.
//!
//! By itself it starts `gha-slurm up` with the shipped components and one that only answers, beside a gateway and a
//! GitHub that answer at once, and measures each scenario. With `--base-url` it measures what runs there.

mod fill;
mod instant;
mod load;
mod payload;
mod program;
mod report;
mod scenario;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::GitHub;

use crate::instant::Gateway;
use crate::report::Report;
use crate::scenario::{Scenario, World};
use crate::server::{Process, Setup};

/// Measures requests per second, latency, CPU time per request and memory of a server.
#[derive(Parser)]
struct Arguments {
    /// What to measure; all of them when none is named.
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Seconds per scenario.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// A server that runs already, instead of one that is started here. Its gateway must be the one of --gateway-listen.
    #[arg(long)]
    base_url: Option<url::Url>,
    /// That server's process, to measure its CPU time and memory.
    #[arg(long)]
    pid: Option<u32>,
    /// The webhook secret of that server.
    #[arg(long, env = "BENCH_WEBHOOK_SECRET", default_value = "a webhook secret for benchmarks")]
    webhook_secret: String,
    /// Where the instant gateway listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    gateway_listen: std::net::SocketAddr,
    /// Jobs that are in the store before the server starts.
    #[arg(long, default_value_t = 0)]
    jobs: u64,
    /// Where the store is [default: a temporary folder].
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// The program to start [default: gha-slurm beside this one].
    #[arg(long)]
    program: Option<PathBuf>,
    /// Further flags for the program, after `--`.
    #[arg(last = true)]
    flags: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let gateway = Gateway::start(arguments.gateway_listen).await.context("the gateway")?;
    let github = GitHub::start(&[payload::REPOSITORY], &arguments.webhook_secret, Events::default()).await?;
    payload::REPOSITORY_ID.get_or_init(|| github.repository_id(payload::REPOSITORY).unwrap_or(1));
    let temporary = tempfile::tempdir()?;
    let state = arguments.state_dir.clone().unwrap_or_else(|| temporary.path().to_path_buf());
    if arguments.jobs > 0 {
        fill::fill(&state, arguments.jobs)?;
    }
    let (base, process) = match &arguments.base_url {
        Some(url) => (url.clone(), arguments.pid.map(Process::of)),
        None => {
            let setup = Setup {
                program: arguments.program.clone(),
                state: &state,
                webhook_secret: &arguments.webhook_secret,
                gateway: &gateway,
                github: &github,
                flags: &arguments.flags,
            };
            let (url, process) = server::start(&setup)?;
            (url, Some(process))
        }
    };
    let mut report = Report::new(arguments.connections);
    report.idle(process.as_ref());
    let world = World { base, secret: arguments.webhook_secret, gateway };
    let own = arguments.base_url.is_none();
    let all = || Scenario::ALL.iter().copied().filter(|scenario| own || *scenario != Scenario::Floor).collect();
    let scenarios: Vec<Scenario> = if arguments.scenarios.is_empty() { all() } else { arguments.scenarios };
    for scenario in scenarios {
        let requests = scenario.requests(&world)?;
        let before = process.as_ref().and_then(Process::cpu);
        let period = Duration::from_secs_f64(arguments.seconds);
        let load = load::run(&world.base, arguments.connections, period, requests).await?;
        let cpu = process.as_ref().and_then(Process::cpu).zip(before).map(|(after, before)| after - before);
        report.row(scenario, &load, cpu, process.as_ref());
    }
    report.end();
    Ok(())
}
