//! The `gha-slurm` command.

mod commands;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// GitHub Actions runners as Slurm jobs.
#[derive(Parser)]
#[command(version, about, after_help = "Exit status: 0 success, 1 failure, 2 wrong usage or configuration.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the application on the built-in Spin-compatible host.
    Up(commands::up::Arguments),
    /// Check variables, App, webhook, store, gateway and public URL, and say how to fix what is wrong.
    Doctor(commands::doctor::Arguments),
    /// Say why a job does not run, and what to do about it.
    Explain(commands::explain::Arguments),
    /// Stop launches of one repository, or of all, and refuse the launch tokens that are out.
    Stop(commands::order::Arguments),
    /// Let launches continue after a stop.
    Resume(commands::order::Arguments),
    /// Revoke every launch token that was issued so far: the key that signed them is deleted.
    Revoke(commands::order::Target),
    /// Show the whole workflow on this machine: the real app and gateway, with a simulated GitHub.
    Demo(commands::demo::Arguments),
    /// The gateway, for the demo; on a cluster, install `gha-slurm-gateway`.
    #[command(hide = true)]
    Gateway(gha_slurm_gateway::cli::Arguments),
    /// The demo's own: app and gateway in a network of their own, by orders on standard input.
    #[command(hide = true)]
    ComputeSide,
    /// Print a shell completion script.
    Completions(commands::shell::Completions),
    /// Print the manual page, for `man -l -`.
    Man,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Up(arguments) => commands::up::run(arguments),
        Command::Doctor(arguments) => commands::doctor::run(&arguments),
        Command::Explain(arguments) => commands::explain::run(&arguments),
        Command::Stop(arguments) => commands::order::stop(&arguments),
        Command::Resume(arguments) => commands::order::resume(&arguments),
        Command::Revoke(target) => commands::order::revoke(&target),
        Command::Completions(arguments) => commands::shell::completions(&arguments, Cli::command()),
        Command::Man => commands::shell::man(Cli::command()),
        Command::Demo(arguments) => commands::demo::run(arguments),
        Command::ComputeSide => commands::demo::inside_out::inside::run(),
        Command::Gateway(arguments) => commands::gateway::run(arguments),
    }
}
