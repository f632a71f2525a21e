//! `gha-slurm demo`: the whole workflow, visible, on this machine.
//!
//! The application runs as it would anywhere: its `.wasm` files in the host's own process. GitHub and the cluster are the
//! simulator's. What is shown is what they saw happen; nothing is shown because it should have happened.

mod application;
mod scenario;
mod screen;
mod story;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use gha_slurm::building;
use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::gateway::Gateway;
use gha_slurm_simulator::github::GitHub;

use self::application::Application;
use self::screen::Screen;

/// The repository of the simulated GitHub.
const REPOSITORY: &str = "octo-org/simulation";
/// A runner ends when no job starts within this time.
const IDLE_LIMIT: Duration = Duration::from_secs(120);

#[derive(Args)]
pub(crate) struct Arguments {
    /// End after the workflow instead of serving on.
    #[arg(long)]
    once: bool,
    /// What to show.
    #[arg(long, value_enum, default_value_t = Scenario::Workflow)]
    scenario: Scenario,
    /// Whether to use colours.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    color: Color,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Scenario {
    /// One job from queued to completed, then what is refused.
    Workflow,
    /// GitHub gives a job's runner to another job; no launch is wasted, and both run.
    StolenRunner,
    /// A webhook does not reach the app; GitHub is asked to repeat it.
    LostWebhook,
    /// The gateway is away while jobs are queued; they are launched when it is back.
    GatewayDown,
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

/// Whether every step was seen.
async fn show(arguments: &Arguments, screen: &Screen) -> anyhow::Result<bool> {
    let manifest = Path::new("spin.toml");
    anyhow::ensure!(manifest.exists(), "there is no spin.toml here: start it in the folder of gha-slurm's repository");
    // Cargo knows what is up to date.
    tokio::task::block_in_place(|| building::build(manifest, &|line| screen.note(line)))?;

    let webhook_secret = application::random_secret()?;
    let gateway_secret = application::random_secret()?;
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY], &webhook_secret, events.clone()).await?;
    let gateway = Gateway::start(&gateway_secret, &github.url(), IDLE_LIMIT, events.clone()).await?;
    let app = Application::start(manifest, &github, &gateway, &webhook_secret, &gateway_secret).await?;
    github.set_webhook_url(&format!("{}/api/github/webhooks", app.url));
    screen.party("GitHub (simulated)", &github.url());
    screen.party("gateway and Slurm (simulated)", &gateway.url());
    screen.party("app: webhook.wasm and runner.wasm", &app.url);

    let complete = match arguments.scenario {
        Scenario::Workflow => story::tell(screen, &github, &gateway, &events, &app.url).await?,
        other => {
            let mut stage = scenario::Stage { screen, github: &github, gateway: &gateway, app: &app };
            stage.play(other, &mut events.subscribe()).await?
        }
    };
    if !complete {
        eprintln!("\nThe application's last lines of log:\n{}", app.last_log_lines());
    }
    if arguments.once {
        return Ok(complete);
    }
    screen.try_it_yourself(&app.url, &webhook_secret);
    // Until Ctrl-C, which ends the demo from outside.
    std::future::pending().await
}
