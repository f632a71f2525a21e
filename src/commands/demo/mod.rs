//! `gha-slurm demo`: the whole workflow on this machine, step by step.
//!
//! The application and the gateway run as they do in production, each in its own process: the `.wasm` files in the host,
//! the job script under the gateway's `local` backend. GitHub and its runner program are simulated. Everything that is
//! shown was observed on the wire or at GitHub.

mod application;
mod cluster;
pub(crate) mod inside_out;
mod policy;
mod process;
mod scenario;
mod screen;
mod story;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use gha_slurm::building;
use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::GitHub;
use gha_slurm_simulator::wire::Wire;

use self::application::Application;
use self::cluster::Gateway;
use self::screen::Screen;
use super::random::random_secret;

/// The repository of the simulated GitHub.
const REPOSITORY: &str = "octo-org/simulation";
/// A runner exits if no job starts within this time.
const IDLE_LIMIT: Duration = Duration::from_secs(120);

#[derive(Args)]
pub(crate) struct Arguments {
    /// Exit after the workflow instead of continuing to serve.
    #[arg(long)]
    once: bool,
    /// What to show.
    #[arg(long, value_enum, default_value_t = Scenario::Workflow)]
    scenario: Scenario,
    /// Whether to use colors.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    color: Color,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Scenario {
    /// One job from queued to completed, then requests that must be refused.
    Workflow,
    /// GitHub gives a job's runner to another job; both run, and no launch is wasted.
    StolenRunner,
    /// A webhook does not reach the app; GitHub is asked to send it again.
    LostWebhook,
    /// The gateway is down while jobs are queued; they are launched when it is back.
    GatewayDown,
    /// A pull request of a fork gets no runner, and is ended on the node where the app alone allows it.
    Fork,
    /// No open port: the app reads what GitHub would send, the gateway fetches its launches, and nothing reaches either.
    InsideOut,
    /// A job runs as the Slurm user of the person who started it, and as nobody else's.
    People,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let screen = Screen::new(arguments.color);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("gha-slurm demo: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        tokio::select! {
            shown = show(&arguments, &screen) => match shown {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::FAILURE,
                Err(error) => {
                    eprintln!("gha-slurm demo: {error:#}");
                    ExitCode::FAILURE
                }
            },
            _ = tokio::signal::ctrl_c() => {
                eprintln!("\nstopped");
                ExitCode::from(130)
            }
        }
    })
}

/// Writes a file that no other user can read, into a folder that none can.
fn private_file(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

/// All parties of the demo.
struct Stage<'a> {
    screen: &'a Screen,
    github: &'a GitHub,
    wire: &'a Wire,
    app: &'a Application,
    gateway_secret: String,
    /// Once it was started.
    gateway: Option<Gateway>,
}

impl Stage<'_> {
    async fn start_gateway(&mut self) -> anyhow::Result<()> {
        let gateway = Gateway::start(&self.gateway_secret, self.github).await?;
        let name = match cluster::missing() {
            None => "gateway (job script runs here)".to_owned(),
            Some(what) => format!("gateway (simulated: no {what} here)"),
        };
        self.screen.party(&name, gateway.url());
        self.wire.connect_gateway(gateway.url());
        self.gateway = Some(gateway);
        Ok(())
    }
}

/// Whether every step was seen.
async fn show(arguments: &Arguments, screen: &Screen) -> anyhow::Result<bool> {
    let manifest = Path::new("spin.toml");
    anyhow::ensure!(manifest.exists(), "there is no spin.toml here: run this in the root of the gha-slurm repository");
    // Cargo knows what is up to date.
    tokio::task::block_in_place(|| building::build(manifest, &|line| screen.note(line)))?;

    if arguments.scenario == Scenario::InsideOut {
        return inside_out::show(manifest, screen, arguments.once).await;
    }
    let webhook_secret = random_secret()?;
    let gateway_secret = random_secret()?;
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY], &webhook_secret, events.clone()).await?;
    let wire = Wire::start(events.clone()).await?;
    let profiles = policy::profiles(arguments.scenario);
    let app = Application::start(manifest, &github, &wire, profiles, &webhook_secret, &gateway_secret).await?;
    github.set_webhook_url(&format!("{}/api/github/webhooks", app.url));
    screen.party("GitHub (simulated)", &github.url());
    screen.party("app (.wasm files on the host)", &app.url);

    let mut stage = Stage { screen, github: &github, wire: &wire, app: &app, gateway_secret, gateway: None };
    let mut happening = events.subscribe();
    let complete = match arguments.scenario {
        Scenario::Workflow => stage.workflow(&mut happening).await?,
        Scenario::Fork => stage.fork(&mut happening).await?,
        Scenario::People => stage.people(&mut happening).await?,
        other => stage.play(other, &mut happening).await?,
    };
    if !complete {
        eprintln!("\nThe last lines of the application's log:\n{}", app.last_log_lines());
        if let Some(gateway) = &stage.gateway {
            eprintln!("\nThe last lines of the gateway's log:\n{}", gateway.last_log_lines());
        }
    }
    if arguments.once {
        return Ok(complete);
    }
    screen.try_it_yourself(&app.url, &webhook_secret);
    // Until Ctrl-C, which ends the demo from outside.
    std::future::pending().await
}
