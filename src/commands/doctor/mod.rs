//! `gha-slurm doctor`: checks the setup step by step, from the variables to the gateway, and says how to fix what is
//! wrong.
//!
//! It checks from where the application runs, with the same variables, the same store and the same code. It changes
//! nothing except a counter of its own in the store, which it deletes. No check prints a secret, and each ends within
//! seconds.

mod app;
mod gateway;
mod public_url;
mod report;
mod settings;
mod store;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use gha_slurm::host::manifest::Manifest;

use self::report::{Finding, Report};
use super::application::Application;
use super::native::Native;
use super::progress::Progress;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    application: Application,
    /// Print JSON: `ok`, and `checks` with `check`, `outcome` (ok, wrong, skipped), `found` and `fix`.
    #[arg(long)]
    json: bool,
}

/// For one answer from another server.
const DEADLINE: Duration = Duration::from_secs(8);

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match examine(&arguments.application) {
        Ok(report) => {
            let mut stdout = std::io::stdout();
            let text = if arguments.json {
                format!("{}\n", report.json())
            } else {
                report.text(stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none())
            };
            // The reader may have gone.
            let _ = stdout.write_all(text.as_bytes());
            if report.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(message) => {
            eprintln!("gha-slurm doctor: {message}");
            ExitCode::from(2)
        }
    }
}

fn examine(application: &Application) -> Result<Report, String> {
    let variables = application.variables()?;
    let config = application.runtime_config()?;
    let state = application.state(&config);
    let open = application.open_secrets(&config);
    let manifest = Manifest::read(&application.from).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let native = Native::new(runtime.handle().clone(), manifest, variables, config.client_tls)?;
    let progress = Progress::new();
    let mut findings = Vec::new();
    let mut check = |what: &str, check: &dyn Fn() -> Vec<Finding>| {
        progress.say(what);
        findings.extend(check());
    };
    check("variables", &|| settings::variables(&native));
    check("files", &|| open.iter().map(settings::open_file).collect());
    check("profiles", &|| settings::profiles(&native));
    check("store", &|| store::check(&native, &state));
    check("secrets", &|| settings::weak_secrets(&native).into_iter().chain(settings::app_key(&native)).collect());
    check("GitHub", &|| app::check(&native));
    check("gateway", &|| gateway::check(&native));
    check("public URL", &|| vec![public_url::check(&native)]);
    drop(progress);
    Ok(Report::new(findings))
}
