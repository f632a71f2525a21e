//! `gha-slurm gateway`: the gateway in this program, so that the demo needs no second one.

use std::process::ExitCode;

use gha_slurm_gateway::cli;

pub(crate) fn run(arguments: cli::Arguments) -> ExitCode {
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(cli::run(arguments)),
        Err(error) => {
            eprintln!("gha-slurm gateway: {error}");
            ExitCode::FAILURE
        }
    }
}
