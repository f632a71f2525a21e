//! The command line of `gha-slurm-gateway`.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use gha_slurm_protocol::identity::{Login, MalformedName};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::check::{self, Verdict};
use crate::config::{self, Config};
use crate::fetching::{Fetcher, Timing};
use crate::http;
use crate::runner;
use crate::script;
use crate::secret_file;
use crate::service::Service;

/// Takes launch requests from gha-slurm, or fetches them, and submits GitHub Actions runners as Slurm jobs.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// The configuration file.
    #[arg(long, short, global = true, default_value = "/etc/gha-slurm/gateway.yaml", env = "GHA_SLURM_GATEWAY_CONFIG")]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take launches: where `listen` says, and from the app as `app.cluster` (what is done without a command).
    Serve,
    /// Check the configuration, ask Slurm something as each mapped user, without submitting anything, and with
    /// app.cluster ask the app, without fetching anything.
    Check {
        /// Ask only which Slurm users this person may be: a GitHub login, or LOGIN:ID.
        #[arg(long, value_name = "LOGIN[:ID]", requires = "repository", value_parser = person)]
        person: Option<(Login, Option<u64>)>,
        /// … in this repository (its page).
        #[arg(long, value_name = "URL", requires = "person")]
        repository: Option<String>,
    },
    /// Print the built-in job script.
    Script,
    /// Keep GitHub's runner current. Needs no configuration.
    Runner {
        #[command(subcommand)]
        command: RunnerCommand,
    },
    /// Make the secret of a cluster whose gateway fetches its launches, and print what the app is told of it.
    ///
    /// The secret goes into FILE, for its owner alone to read. A FILE that exists is kept, and its lines are printed again.
    /// Run it as the user that the gateway runs as, or do what it says when root runs it. What is printed belongs into the app's
    /// variable `clusters` and is no secret; it has the names that the configuration has, if there is one.
    Secret {
        /// The file to write, named as app.secretFile in the configuration.
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum RunnerCommand {
    /// Install a release of GitHub's runner, and lead FOLDER/current to it.
    ///
    /// The archive for this machine is checked by its SHA-256, unpacked into FOLDER/X, and only then the link is switched.
    /// Slurm jobs that run keep the version that they started with: it stays for a month. Run it as the owner of FOLDER,
    /// which needs no right but to write there; nothing of the runner is run. HTTPS_PROXY and NO_PROXY mean what curl makes
    /// of them.
    ///
    /// GitHub Enterprise Server names the runners that it takes, with URLs and sums, to an administrator of a repository:
    /// GET /api/v3/repos/OWNER/REPO/actions/runners/downloads. Give one of them as --from and --sha256.
    Update(Box<runner::Arguments>),
}

/// A mistake in the configuration.
const MISTAKE: u8 = 2;

/// Does what the command line says.
pub async fn run(arguments: Arguments) -> ExitCode {
    let command = arguments.command.unwrap_or(Command::Serve);
    match &command {
        Command::Script => return print(script::BUILT_IN),
        Command::Secret { file } => return secret(file, &arguments.config),
        Command::Runner { command: RunnerCommand::Update(arguments) } => return update_runner(arguments).await,
        Command::Serve | Command::Check { .. } => {}
    }
    let config = match Config::load(&arguments.config, &config::environment) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(MISTAKE);
        }
    };
    let default = if matches!(command, Command::Check { .. }) { "warn" } else { "info" };
    let logging = config.logging.clone().unwrap_or_else(|| default.to_owned());
    let filter = Targets::new().with_default(LevelFilter::WARN).with_target("gha_slurm_gateway", level(&logging));
    let log = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // For people where somebody may be reading, for machines elsewhere.
    if std::io::stderr().is_terminal() {
        log.with(lines).init()
    } else {
        log.with(lines.json()).init()
    }
    if let Command::Check { person, repository } = command {
        return match (person, repository) {
            (Some(person), Some(page)) => who(&config, person, &page).await,
            _ => check(&config).await,
        };
    }
    let service = match Service::open(config, arguments.config) {
        Ok(service) => Arc::new(service),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(MISTAKE);
        }
    };
    let fetcher = match Fetcher::new(&service, Timing::default()) {
        Ok(fetcher) => fetcher,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(MISTAKE);
        }
    };
    match serve(service, fetcher).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn secret(file: &Path, config: &Path) -> ExitCode {
    match secret_file::make(file, config::names(config)) {
        Ok(made) => {
            if made.kept {
                eprintln!("{} was there, and is kept", file.display());
            }
            print(&made.to_string())
        }
        Err(error) => {
            eprintln!("{}: {error}", file.display());
            ExitCode::FAILURE
        }
    }
}

async fn update_runner(arguments: &runner::Arguments) -> ExitCode {
    match runner::update(arguments).await {
        Ok(said) => print(&said),
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// The original's levels; what it does not know was DEBUG there.
fn level(logging: &str) -> LevelFilter {
    match logging.to_ascii_lowercase().as_str() {
        "error" => LevelFilter::ERROR,
        "warn" | "warning" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    }
}

fn person(text: &str) -> Result<(Login, Option<u64>), String> {
    let (login, id) = text.split_once(':').map_or((text, None), |(login, id)| (login, Some(id)));
    let id = id.map(|id| id.parse().map_err(|_| "the id is a number".to_owned())).transpose()?;
    Ok((login.parse().map_err(|error: MalformedName| error.to_string())?, id))
}

async fn who(config: &Config, (login, id): (Login, Option<u64>), page: &str) -> ExitCode {
    match check::who(config, &login, id, page).await {
        Ok(users) if users.is_empty() => {
            println!("{login}: no Slurm user for {page}");
            ExitCode::FAILURE
        }
        Ok(users) => {
            println!("{login}: {} for {page}", users.join(", "));
            ExitCode::SUCCESS
        }
        Err(problem) => {
            println!("{login}: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn check(config: &Config) -> ExitCode {
    let findings = match check::check(config).await {
        Ok(findings) => findings,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(MISTAKE);
        }
    };
    let mut code = ExitCode::SUCCESS;
    for check::Finding { subject, verdict, line } in findings {
        match verdict {
            Verdict::Ok if line.is_empty() => println!("{subject}: ok"),
            Verdict::Ok => println!("{subject}: ok, {line}"),
            Verdict::Warning => println!("{subject}: warning: {line}"),
            Verdict::Wrong => {
                println!("{subject}: {line}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

async fn serve(service: Arc<Service>, fetcher: Option<Fetcher>) -> std::io::Result<()> {
    service.config().tell_weaknesses();
    raise_file_limit();
    let listener = match service.config().listen {
        Some(listen) => Some(TcpListener::bind(listen).await?),
        None => None,
    };
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    match (&listener, &fetcher) {
        (Some(listener), _) => println!("listening on {}", listener.local_addr()?),
        (None, Some(fetcher)) => println!("{}", fetcher.describe()),
        (None, None) => {}
    }
    let housekeeper = Arc::clone(&service);
    tokio::spawn(async move {
        let mut hourly = tokio::time::interval(Duration::from_secs(3600));
        loop {
            tokio::select! {
                _ = hourly.tick() => {
                    housekeeper.tidy().await;
                    housekeeper.learn_slurm_user().await;
                }
                // Nobody waits for an answer; the log has it.
                _ = hangup.recv() => drop(housekeeper.reload()),
            }
        }
    });
    let ender = Arc::clone(&service);
    tokio::spawn(async move { ender.end_what_never_starts().await });
    let (ending, mut ended) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        ending.send_replace(true);
    });
    let mut told = ended.clone();
    let serving = async {
        if let Some(listener) = listener {
            let tls = Arc::clone(&service);
            let shutdown = async move { drop(ended.wait_for(|ended| *ended).await) };
            http::serve(listener, move || tls.tls(), http::router(service), shutdown).await;
        }
    };
    let fetching = async {
        if let Some(fetcher) = fetcher {
            fetcher.run(async move { drop(told.wait_for(|ended| *ended).await) }).await;
        }
    };
    tokio::join!(serving, fetching);
    Ok(())
}

/// Each connection takes a file descriptor, and what is usual (1024) is fewer than are allowed.
fn raise_file_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let wanted = hard.min(8192);
    if soft < wanted
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
    {
        tracing::warn!(%error, soft, "few connections are possible");
    }
}
