//! `gha-slurm doctor`: checks one thing after the other, from the variables to the gateway, and says how to mend what is
//! wrong.
//!
//! It looks from where the application runs, with the same variables and the same store, and by the same code. It changes
//! nothing but a counter of its own in the store. No check prints a secret, and each ends in seconds.

mod app;
mod here;
mod report;
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
    /// Print JSON: `ok`, and `checks` with `check`, `outcome` (ok, wrong, skipped), `found` and `mend`.
    #[arg(long)]
    json: bool,
}

/// For one answer of another server.
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
            // Whoever reads may have gone.
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
    let state = application.state()?;
    let manifest = Manifest::read(&application.from).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let native = Native::new(runtime.handle().clone(), manifest, variables);
    let progress = Progress::new();
    let mut findings = Vec::new();
    let mut check = |what: &str, check: &dyn Fn() -> Vec<Finding>| {
        progress.say(what);
        findings.extend(check());
    };
    check("variables", &|| here::variables(&native));
    check("profiles", &|| here::profiles(&native));
    check("store", &|| vec![store::check(&native, &state)]);
    check("secrets", &|| here::weak_secrets(&native).into_iter().chain(here::app_key(&native)).collect());
    check("GitHub", &|| app::check(&native));
    check("gateway", &|| vec![here::gateway(&native)]);
    check("public URL", &|| vec![here::public_url(&native)]);
    drop(progress);
    Ok(Report::new(findings))
}
