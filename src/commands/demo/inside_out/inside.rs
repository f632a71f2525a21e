//! What runs on the compute side: a process that starts app and gateway there, and the end of the way to GitHub.
//!
//! Its orders come on its standard input, secrets included, so that none stands in an argument or in the environment of a
//! part that it is not for. When that input ends, its owner has gone, and it ends with all that it started.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::pending;
use std::process::ExitCode;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::network::Network;
use super::relay::Way;
use crate::commands::demo::process::{Log, Part, Process};
use crate::commands::demo::{application, cluster};

/// What is to run, as one line of JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct Orders {
    /// Where GitHub is not reached as it is.
    pub(super) way: Option<Way>,
    pub(super) app: Program,
    pub(super) gateway: Program,
}

/// A command of this program.
#[derive(Serialize, Deserialize)]
pub(super) struct Program {
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: BTreeMap<String, String>,
}

/// Carries out the orders until the owner goes. What it prints is the network as it is then, once, as JSON.
pub(crate) fn run() -> ExitCode {
    let ran = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        let ran = runtime.block_on(serve());
        // Somebody may still wait for input.
        runtime.shutdown_background();
        ran
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> anyhow::Result<()> {
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let orders = input.next_line().await?.context("this command is the demo's own")?;
    let orders: Orders = serde_json::from_str(&orders).context("these are no orders of the demo")?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ran = carry_out(orders) => ran,
        () = end(&mut input) => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Until there is no more input.
async fn end(input: &mut Lines<BufReader<Stdin>>) {
    while let Ok(Some(_)) = input.next_line().await {}
}

async fn carry_out(Orders { way, app, gateway }: Orders) -> anyhow::Result<()> {
    let _end = match way {
        Some(way) => Some(way.begin().await?),
        None => None,
    };
    let _app = app.start("application", application::START_DEADLINE).await?;
    // It ends before the application, which it tells of its end.
    let _gateway = gateway.start("gateway", cluster::START_DEADLINE).await?;
    println!("{}", serde_json::to_string(&Network::here()?)?);
    pending().await
}

impl Program {
    async fn start(self, name: &'static str, deadline: std::time::Duration) -> anyhow::Result<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(self.arguments).envs(self.environment);
        let part = Part { log: Log::Inherited, ..Part::new(command, name, deadline) };
        Ok(part.start().await?.0)
    }
}
