//! What the host has done at intervals, as the application's variables say.

use std::net::SocketAddr;
use std::time::Duration;

use gha_slurm::host::manifest::Manifest;
use gha_slurm::host::variables::Provider;
use gha_slurm::ticking;
use gha_slurm_core::ports::{VariableError, Variables};
use gha_slurm_core::settings::{SettingError, Settings, Webhooks};
use tokio::task::JoinSet;

/// The variables of an application, as its components have them.
struct Resolved<'a>(&'a Manifest, &'a Provider);

impl Variables for Resolved<'_> {
    fn variable(&self, name: &str) -> Result<Option<String>, VariableError> {
        Ok(self.0.variable(name, self.1).ok())
    }
}

/// What is to be done.
pub(super) struct Intervals {
    /// The token that it takes, if there is one.
    token: Option<String>,
    /// How often GitHub's list of deliveries is read, where webhooks are not received.
    poll: Option<Duration>,
}

impl Intervals {
    pub(super) fn read(manifest: &Manifest, variables: &Provider) -> Result<Self, SettingError> {
        let resolved = Resolved(manifest, variables);
        let settings = Settings(&resolved);
        // What no gateway could be admitted by is told now, and not with the first one's request.
        settings.cluster_definitions()?;
        let poll = match settings.webhooks()? {
            Webhooks::Receive => None,
            Webhooks::Poll => Some(settings.poll_interval()?),
        };
        let value = |name| variables.get(name).map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        Ok(Self { token: ["tick_token", "admin_token"].into_iter().find_map(value), poll })
    }

    /// Begins with it, as far as the application has the routes.
    pub(super) fn begin(self, address: SocketAddr, serves: impl Fn(&str) -> bool, beside: &mut JoinSet<()>) {
        let Some(token) = self.token else {
            if serves(ticking::ROUTE) {
                tracing::warn!("no periodic repair: neither the variable admin_token nor tick_token is set");
            }
            if self.poll.is_some() {
                tracing::error!("no webhooks: to read them takes the variable admin_token or tick_token");
            }
            return;
        };
        if serves(ticking::ROUTE) {
            tracing::info!("periodic repair: {} every {} s", ticking::ROUTE, ticking::INTERVAL.as_secs());
            beside.spawn(ticking::run(address, token.clone()));
        }
        match self.poll {
            None => {}
            Some(interval) if serves(ticking::DELIVERIES) => {
                tracing::info!("webhooks are read from GitHub's list every {} s", interval.as_secs());
                beside.spawn(ticking::read_deliveries(address, token, interval));
            }
            Some(_) => tracing::error!("no webhooks: the manifest has no route {}", ticking::DELIVERIES),
        }
    }
}
