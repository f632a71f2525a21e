//! `gha-slurm up`: serves the application here. Flags have Spin's names.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use gha_slurm::host::precompiled::Precompiled;
use gha_slurm::host::variables::Provider;
use gha_slurm::host::{self, Options, State};
use gha_slurm::{building, ticking};
use tracing_subscriber::EnvFilter;

use super::limits::LimitArguments;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The application's manifest.
    #[arg(short, long, value_name = "FILE", default_value = "spin.toml")]
    from: PathBuf,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Build the components first, by the commands in the manifest.
    #[arg(long)]
    build: bool,
    /// A variable, as NAME=VALUE or NAME=@FILE. Secrets belong in a file or in SPIN_VARIABLE_NAME: other users can read
    /// a command line.
    #[arg(long, value_name = "NAME=VALUE")]
    variable: Vec<String>,
    /// The folder of the key-value store [default: .spin beside the manifest]; empty keeps it in memory.
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<OsString>,
    /// Where the key-value store is, in Spin's form: `[key_value_store.default]` with `type = "redis"` and `url`.
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,
    /// Leave out what components print.
    #[arg(short, long)]
    quiet: bool,
    /// Where compiled code is kept for the next start [default: gha-slurm in the user's cache folder]; empty keeps none.
    #[arg(long, value_name = "FOLDER")]
    compiled_dir: Option<OsString>,
    #[command(flatten)]
    limits: LimitArguments,
    /// How the log on stderr looks.
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Human,
    Json,
}

const USAGE: u8 = 2;

pub(crate) fn run(arguments: Arguments) -> ExitCode {
    log_to_stderr(arguments.log_format);
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, status }) => {
            eprintln!("gha-slurm up: {message}");
            ExitCode::from(status)
        }
    }
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_env("GHA_SLURM_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Human => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
}

struct Failure {
    message: String,
    status: u8,
}

impl From<host::Error> for Failure {
    fn from(error: host::Error) -> Self {
        Self { status: if error.is_configuration() { USAGE } else { 1 }, message: error.to_string() }
    }
}

fn serve(arguments: Arguments) -> Result<(), Failure> {
    let usage = |message| Failure { message, status: USAGE };
    let failed = |message| Failure { message, status: 1 };
    let variables = Provider::new(&arguments.variable, Path::new(".")).map_err(usage)?;
    if arguments.build {
        building::build(&arguments.from, &|line| tracing::info!("{line}"))
            .map_err(|error| failed(error.to_string()))?;
    }
    let state = match arguments.state_dir {
        Some(folder) if folder.is_empty() => State::Memory,
        Some(folder) => State::Folder(folder.into()),
        None => State::Folder(arguments.from.with_file_name(".spin")),
    };
    let state = match (&arguments.runtime_config_file, state) {
        (Some(file), State::Folder(folder)) => host::runtime_config::state(file, folder).map_err(usage)?,
        (_, state) => state,
    };
    let admin_token = variables.get("admin_token").filter(|token| !token.is_empty());
    let compiled = match arguments.compiled_dir {
        Some(folder) if folder.is_empty() => None,
        Some(folder) => Some(folder.into()),
        None => Precompiled::default_folder(),
    };
    let options = Options {
        manifest: arguments.from,
        listen: arguments.listen,
        variables,
        state,
        quiet: arguments.quiet,
        limits: arguments.limits.into(),
        compiled,
    };
    let runtime = tokio::runtime::Runtime::new().map_err(|error| failed(error.to_string()))?;
    runtime.block_on(async {
        let server = host::start(options).await?;
        println!("listening on http://{}", server.address());
        let _ = std::io::stdout().flush();
        match admin_token {
            Some(token) if server.serves(ticking::ROUTE) => {
                tracing::info!("{} every {} s", ticking::ROUTE, ticking::INTERVAL.as_secs());
                let ticking = tokio::spawn(ticking::run(server.address(), token));
                server.run(stop_signal()).await;
                ticking.abort();
            }
            None if server.serves(ticking::ROUTE) => {
                tracing::warn!("no periodic repair: the variable admin_token is not set");
                server.run(stop_signal()).await;
            }
            _ => server.run(stop_signal()).await,
        }
        tracing::info!("stopped");
        Ok(())
    })
}

/// The first Ctrl-C or SIGTERM; a second one ends the process at once.
async fn stop_signal() {
    signal().await;
    tracing::info!("stopping: running requests may end; once more to stop at once");
    tokio::spawn(async {
        signal().await;
        std::process::exit(130);
    });
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
