//! The command `gha-slurm-gateway`.

use std::process::ExitCode;

use clap::Parser;
use gha_slurm_gateway::cli;

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(cli::Arguments::parse()).await
}
