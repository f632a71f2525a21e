//! `gha-slurm up`: serves the application. Flags have the same names as Spin's.

mod intervals;
mod setup_link;

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use gha_slurm::building;
use gha_slurm::host::client_address::{IpNet, TrustedProxies};
use gha_slurm::host::manifest::Manifest;
use gha_slurm::host::precompiled::Precompiled;
use gha_slurm::host::{self, Options};
use gha_slurm::logging::{self, Format};

use self::intervals::Intervals;
use self::setup_link::SetupLink;
use super::application::Application;
use super::limits::LimitArguments;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    application: Application,
    /// Where to listen; port 0 picks a free one.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Build the components first, with the commands in the manifest.
    #[arg(long)]
    build: bool,
    /// Do not log what components print.
    #[arg(short, long)]
    quiet: bool,
    /// The cache of compiled code [default: gha-slurm in the user's cache folder]; empty turns it off.
    #[arg(long, value_name = "FOLDER")]
    compiled_dir: Option<OsString>,
    /// A reverse proxy, as an address or a network, whose X-Forwarded-For is believed; may be given more than once. From
    /// anybody else such headers are removed.
    #[arg(long, value_name = "CIDR", value_parser = TrustedProxies::parse)]
    trusted_proxy: Vec<IpNet>,
    #[command(flatten)]
    limits: LimitArguments,
    /// The format of the log on stderr [default: human on a terminal, otherwise json].
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Human,
    Json,
}

const USAGE: u8 = 2;

pub(crate) fn run(arguments: Arguments) -> ExitCode {
    logging::start(match arguments.log_format {
        Some(LogFormat::Human) => Format::human(),
        Some(LogFormat::Json) => Format::Json,
        None => Format::of_stderr(),
    });
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, status }) => {
            eprintln!("gha-slurm up: {message}");
            ExitCode::from(status)
        }
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
    let application = arguments.application;
    let mut variables = application.variables().map_err(usage)?;
    if arguments.build {
        building::build(&application.from, &|line| tracing::info!("{line}"))
            .map_err(|error| failed(error.to_string()))?;
    }
    let config = application.runtime_config().map_err(usage)?;
    let state = application.state(&config);
    for file in application.open_secrets(&config) {
        tracing::warn!("{file}: run `chmod go=` on it");
    }
    let setup_link = SetupLink::prepare(&mut variables);
    let manifest = Manifest::read(&application.from).map_err(|error| Failure::from(host::Error::from(error)))?;
    let intervals = Intervals::read(&manifest, &variables).map_err(|error| usage(error.to_string()))?;
    let compiled = match arguments.compiled_dir {
        Some(folder) if folder.is_empty() => None,
        Some(folder) => Some(folder.into()),
        None => Precompiled::default_folder(),
    };
    let options = Options {
        manifest: application.from,
        listen: arguments.listen,
        variables,
        state,
        quiet: arguments.quiet,
        limits: arguments.limits.into(),
        compiled,
        client_tls: config.client_tls,
        trusted_proxies: TrustedProxies::new(arguments.trusted_proxy),
    };
    let runtime = tokio::runtime::Runtime::new().map_err(|error| failed(error.to_string()))?;
    runtime.block_on(async {
        let server = host::start(options).await?;
        println!("listening on http://{}", server.address());
        let _ = std::io::stdout().flush();
        let mut beside = tokio::task::JoinSet::new();
        if let Some(link) = setup_link
            && server.serves(setup_link::ROUTE)
        {
            beside.spawn(link.announce(server.address()));
        }
        intervals.begin(server.address(), |route| server.serves(route), &mut beside);
        server.run(stop_signal()).await;
        beside.abort_all();
        tracing::info!("stopped");
        Ok(())
    })
}

/// The first Ctrl-C or SIGTERM; a second one ends the process at once.
async fn stop_signal() {
    signal().await;
    tracing::info!("stopping once running requests have ended; press Ctrl-C again to stop immediately");
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
