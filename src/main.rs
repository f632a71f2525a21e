//! The `gha-slurm` command.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// GitHub Actions runners as Slurm jobs.
#[derive(Parser)]
#[command(version, about, after_help = "Exit status: 0 success, 1 failure, 2 wrong usage or configuration.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the application on the minimal Spin-compatible host.
    Up(commands::up::Arguments),
    /// Show the whole workflow here: the app and the gateway as shipped, against a simulated GitHub.
    Demo(commands::demo::Arguments),
    /// The gateway, for the demo; a cluster installs `gha-slurm-gateway`.
    #[command(hide = true)]
    Gateway(gha_slurm_gateway::cli::Arguments),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Up(arguments) => commands::up::run(arguments),
        Command::Demo(arguments) => commands::demo::run(arguments),
        Command::Gateway(arguments) => commands::gateway::run(arguments),
    }
}
