//! No open port: the app reads GitHub's deliveries, the gateway fetches its launches, and both are in a network that has
//! nothing but loopback, so that no connection from outside can reach them.
//!
//! The simulated GitHub stays outside. From the compute side there is one way to it, which is used from the inside out.

mod compute_side;
pub(crate) mod inside;
mod lines;
mod namespace;
mod network;
mod relay;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use gha_slurm_simulator::event::{Event, Events};
use gha_slurm_simulator::github::GitHub;
use tokio::net::TcpStream;
use tokio::sync::broadcast::Receiver;

use self::compute_side::{CLUSTER, ComputeSide};
use self::lines::{AppLine, Audited};
use self::network::Network;
use super::screen::Screen;
use super::story::Watcher;
use super::{REPOSITORY, cluster};
use crate::commands::random::random_secret;

const DEADLINE: Duration = Duration::from_secs(60);
/// How often the audit log is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// A name that is nobody's (RFC 2606): what GitHub sends there cannot arrive.
const NOBODY: &str = "https://gha-slurm.invalid/api/github/webhooks";

const STEPS: [&str; 7] = [
    "GitHub keeps the delivery that a job is queued, and the app reads it",
    "a gateway asks for work, and the app answers with a launch",
    "the gateway submits the runner as a Slurm job",
    "the Slurm job redeems its launch token at the app, once",
    "the app gets a fresh credential from GitHub",
    "the runner registers as ephemeral and takes the job",
    "the app reads that the job is in progress, and completed",
];

/// Whether every step was seen. Without `once`, it serves until it is dropped.
pub(super) async fn show(manifest: &Path, screen: &Screen, once: bool) -> anyhow::Result<bool> {
    if let Some(what) = cluster::missing() {
        anyhow::bail!("this scenario runs the job script here, which needs {what}");
    }
    let webhook_secret = random_secret()?;
    let events = Events::default();
    let mut happening = events.subscribe();
    let github = GitHub::start(&[REPOSITORY], &webhook_secret, events).await?;
    github.set_webhook_url(NOBODY);
    let mut side = ComputeSide::start(manifest, &github, &webhook_secret).await?;
    screen.party("GitHub (simulated)", &github.url());
    screen.party("app (.wasm files on the host)", &format!("http://{}", side.app));
    screen.party("gateway (job script runs here)", &format!("listens nowhere, fetches as cluster {CLUSTER}"));
    let separation = Separation::of(&side, screen, &github).await;

    let begun = Instant::now();
    screen.heading("A workflow asks for `runs-on: [self-hosted, slurm]`");
    github.queue_job(REPOSITORY, &["self-hosted", "slurm"]).await;
    let mut seen = Seen::new(screen);
    match tokio::time::timeout(DEADLINE, seen.watch(&mut happening, &mut side)).await {
        Ok(watched) => watched?,
        Err(_) => screen.note("some steps did not happen in time"),
    }
    screen.heading(&format!("Summary (the job took {:.1} s)", begun.elapsed().as_secs_f32()));
    let complete = seen.summary() & separation.verdict(screen);
    if !complete {
        eprintln!("\nThe last lines of the logs of app and gateway:\n{}", side.last_log_lines());
    }
    if once {
        return Ok(complete);
    }
    try_it_yourself(screen, &side);
    std::future::pending().await
}

fn try_it_yourself(screen: &Screen, side: &ComputeSide) {
    screen.heading("It keeps running until you press Ctrl-C. Try it from another terminal:");
    let ask = format!("curl -i -X POST http://{}/gha/runner", side.app);
    match side.id().filter(|_| side.shared.is_none()) {
        Some(id) => println!(
            "  {ask}\n  and inside:\n  nsenter --target {id} --user --net --preserve-credentials {ask}\n  \
             nsenter --target {id} --user --net --preserve-credentials ss --listening --tcp"
        ),
        None => println!("  {ask}"),
    }
}

/// How the compute side is kept apart.
enum Separation {
    /// By a network of its own; whether that has nothing but what it should, and cannot be reached.
    Network { bare: bool, unreachable: bool },
    /// Not at all, for this reason.
    None(String),
}

impl Separation {
    /// Looks, tries, and shows what there is.
    async fn of(side: &ComputeSide, screen: &Screen, github: &GitHub) -> Self {
        if let Some(why) = &side.shared {
            screen.note(&format!("The compute side has no network of its own here: {why}"));
            return Self::None(why.clone());
        }
        let Network { interfaces, listening } = &side.network;
        let of_github = |address: &SocketAddr| github.url() == format!("http://{address}");
        let whose = |address: &SocketAddr| match address {
            address if *address == side.app => "the app",
            address if of_github(address) => "the way out to GitHub",
            _ => "of nobody that is known",
        };
        screen.heading("The compute side is a network of its own");
        screen.party("  interfaces", &interfaces.join(", "));
        for address in listening {
            screen.party(&format!("  listening: {}", whose(address)), &address.to_string());
        }
        let tried = TcpStream::connect(side.app).await;
        let told = tried.as_ref().map_or_else(ToString::to_string, |_| "connected".to_owned());
        screen.party(&format!("  from outside to {}", side.app), &told);
        let known = listening.iter().all(|address| *address == side.app || of_github(address));
        Self::Network {
            bare: side.network.is_loopback_only() && known && listening.contains(&side.app),
            unreachable: tried.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused),
        }
    }

    fn verdict(&self, screen: &Screen) -> bool {
        match self {
            Self::Network { bare, unreachable } => {
                screen.verdict(*bare, "- there is nothing but loopback, and nobody listens but the app");
                screen
                    .verdict(*unreachable, "- from outside the app cannot be reached, and the gateway listens nowhere");
                *bare && *unreachable
            }
            Self::None(why) => {
                screen.skipped(&format!("- not isolated here: {why}"));
                true
            }
        }
    }
}

/// What was seen, by GitHub and in what app and gateway write.
struct Seen<'a> {
    screen: &'a Screen,
    watcher: Watcher<'a>,
    steps: BTreeSet<u8>,
    /// The actions that close a job and were read.
    closed: BTreeSet<String>,
    /// Whether GitHub tried to reach the app.
    called: bool,
}

impl<'a> Seen<'a> {
    fn new(screen: &'a Screen) -> Self {
        let watcher = Watcher::new(screen);
        Self { screen, watcher, steps: BTreeSet::new(), closed: BTreeSet::new(), called: false }
    }

    /// Until all steps were seen.
    async fn watch(&mut self, happening: &mut Receiver<Event>, side: &mut ComputeSide) -> anyhow::Result<()> {
        let mut look = tokio::time::interval(LOOK);
        while self.steps.len() < STEPS.len() {
            tokio::select! {
                event = happening.recv() => self.at_github(event?),
                Some(line) = side.log.recv() => self.at_the_app(AppLine::parse(&line)),
                _ = look.tick() => side.audit.news().into_iter().for_each(|line| self.at_the_gateway(line)),
            }
        }
        Ok(())
    }

    fn at_github(&mut self, event: Event) {
        match &event {
            Event::DeliveryRead { action, .. } if action == "queued" => drop(self.steps.insert(1)),
            Event::DeliveryRead { action, .. } => {
                self.closed.insert(action.clone());
                if ["in_progress", "completed"].iter().all(|action| self.closed.contains(*action)) {
                    self.steps.insert(7);
                }
            }
            Event::JitConfig { .. } | Event::RegistrationToken { .. } => drop(self.steps.insert(5)),
            Event::JobAssigned { .. } => drop(self.steps.insert(6)),
            Event::WebhookSent { .. } => self.called = true,
            _ => {}
        }
        self.watcher.show(event);
    }

    fn at_the_app(&mut self, line: Option<AppLine>) {
        match line {
            Some(AppLine::Exchange { cluster, launches, reports }) => {
                if reports > 0 {
                    let what = format!("POST /clusters/{cluster}/exchange, {reports} reports");
                    self.screen.step(3, "gateway → app", &what);
                }
                for launch in launches {
                    self.steps.insert(2);
                    self.screen.step(2, "gateway → app", &format!("POST /clusters/{cluster}/exchange"));
                    self.screen.step(2, "app → gateway", &format!("launch {launch}, under a lease"));
                }
            }
            Some(AppLine::Redeem { status, launch }) => {
                if status == 200 {
                    self.steps.insert(4);
                }
                self.screen.step(4, "Slurm job → app", &format!("POST /gha/runner for launch {launch}: {status}"));
            }
            None => {}
        }
    }

    fn at_the_gateway(&mut self, line: Audited) {
        if let Audited::Submitted { launch, slurm_job, slurm_user } = line {
            self.steps.insert(3);
            let what = format!("launch {launch} is Slurm job {slurm_job} of {slurm_user}");
            self.screen.step(3, "gateway → Slurm", &what);
        }
    }

    fn summary(&self) -> bool {
        for (number, step) in (1u8..).zip(STEPS) {
            self.screen.verdict(self.steps.contains(&number), &format!("{number} {step}"));
        }
        self.screen.verdict(!self.called, "- GitHub opened no connection: its webhook leads to nobody");
        self.steps.len() == STEPS.len() && !self.called
    }
}
