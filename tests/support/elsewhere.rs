//! An application that runs elsewhere: on `spin up`, on Kubernetes, or another one with the same contract. The tests are
//! told its base URL; around it they put their own GitHub and gateway, each test new ones at the same two addresses.
//!
//! Its store is older than the tests, so every test takes ids that were not there before: they begin with the time.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use gha_slurm_simulator::Place;
use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::gateway::Gateway;
use gha_slurm_simulator::github::GitHub;
use jwt_simple::prelude::RS256KeyPair;

use super::{App, GATEWAY_SECRET, IDLE_LIMIT, PROFILES, REPOSITORY, WEBHOOK_SECRET, variables};

/// What names it in the environment of tests.
pub(crate) const VARIABLE: &str = "GHA_SLURM_ELSEWHERE";

/// Ids of one test; a millisecond has room for them.
const IDS: u64 = 10_000;

static FIRST_ID: AtomicU64 = AtomicU64::new(0);

/// Where this test's ids begin; 0 with an application of its own.
pub(super) fn first_id() -> u64 {
    FIRST_ID.load(Ordering::Relaxed)
}

/// An application that runs elsewhere, and where it looks for the parties around it.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Elsewhere {
    pub(crate) base_url: String,
    pub(crate) github: SocketAddr,
    pub(crate) gateway: SocketAddr,
    /// The App's private key, PEM.
    pub(crate) key_file: PathBuf,
}

impl Elsewhere {
    /// The one that the environment names.
    pub(crate) fn asked_for() -> Option<Self> {
        Some(serde_json::from_str(&std::env::var(VARIABLE).ok()?).unwrap())
    }

    /// What it must be configured with.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let key = std::fs::read_to_string(&self.key_file).unwrap();
        let (github, gateway) = (format!("http://{}", self.github), format!("http://{}", self.gateway));
        let mut all = Vec::from(variables(key, github, gateway, self.base_url.clone()));
        all.push(("profiles", PROFILES.to_owned()));
        all
    }

    /// It, with a new GitHub and a new gateway around it.
    pub(super) async fn app(self, changes: &[(&str, &str)]) -> App {
        let as_it_is = changes.iter().all(|change| *change == ("profiles", PROFILES));
        assert!(as_it_is, "this test needs variables of its own, and cannot run against an application elsewhere");
        let milliseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let first = u64::try_from(milliseconds).unwrap() * IDS;
        FIRST_ID.store(first, Ordering::Relaxed);

        let events = Events::default();
        let key = RS256KeyPair::from_pem(&std::fs::read_to_string(&self.key_file).unwrap()).unwrap();
        // Jobs that a test makes by itself have lower ids than GitHub's.
        let place = Place { listen: self.github, after: first + IDS / 2 };
        let github =
            freed(async || GitHub::start_at(place, key.clone(), &[REPOSITORY], WEBHOOK_SECRET, events.clone()).await);
        let github = github.await;
        github.set_webhook_url(&format!("{}/api/github/webhooks", self.base_url));
        let place = Place { listen: self.gateway, after: first };
        let url = github.url();
        let gateway =
            freed(async || Gateway::start_at(place, GATEWAY_SECRET, &url, IDLE_LIMIT, events.clone()).await).await;
        let (_, lines) = std::sync::mpsc::channel();
        App {
            host: None,
            log: None,
            lines,
            environment: Vec::new(),
            url: self.base_url,
            github,
            gateway,
            client: reqwest::Client::new(),
        }
    }
}

/// Listens as soon as the test before has freed the address.
async fn freed<T>(start: impl AsyncFn() -> std::io::Result<T>) -> T {
    for _ in 0..50 {
        match start().await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            other => return other.unwrap(),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the address of GitHub or of the gateway is in use: choose others by --github-listen and --gateway-listen");
}
