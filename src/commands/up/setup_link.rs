//! The one-time link to the set-up in the browser, for an application without a GitHub App.
//!
//! Whether there is an App is asked of the application itself: it may have been set up by an earlier link.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gha_slurm::host::variables::Provider;
use gha_slurm::loopback;

use crate::commands::random::random_secret;

const LIFETIME: Duration = Duration::from_secs(60 * 60);
const DEADLINE: Duration = Duration::from_secs(30);
/// What names the App, if variables do.
const NAMES: [&str; 3] = ["github_app_id", "github_private_key", "github_webhook_secret"];
/// The set-up's route.
pub(super) const ROUTE: &str = "/setup";

/// A link whose secret the application was given.
pub(super) struct SetupLink {
    secret: String,
    public_url: String,
}

impl SetupLink {
    /// Gives the application a link's secret, where no variable names an App. A secret that the operator chose stays his.
    pub(super) fn prepare(variables: &mut Provider) -> Option<Self> {
        let value = |name| variables.get(name).filter(|value| !value.trim().is_empty());
        let (set, missing): (Vec<&str>, Vec<&str>) = NAMES.into_iter().partition(|name| value(name).is_some());
        if !set.is_empty() {
            if !missing.is_empty() {
                tracing::warn!("{} is set, but not {}", set.join(", "), missing.join(", "));
            }
            return None;
        }
        let Some(public_url) = value("public_url") else {
            tracing::warn!("there is no GitHub App, and no set-up without the variable public_url");
            return None;
        };
        let secret = match value("setup_secret") {
            Some(secret) => secret,
            None => {
                let (secret, ends) = (random_secret().ok()?, SystemTime::now() + LIFETIME);
                variables.set("setup_secret", &secret);
                variables.set("setup_expires", &ends.duration_since(UNIX_EPOCH).ok()?.as_secs().to_string());
                secret
            }
        };
        Some(Self { secret, public_url })
    }

    /// Prints the link unless the application says that it needs none.
    pub(super) async fn announce(self, address: SocketAddr) {
        let asked = loopback::ask(address, hyper::Request::get(ROUTE));
        match tokio::time::timeout(DEADLINE, asked).await {
            Ok(Ok(404)) => {}
            Ok(Ok(403)) => {
                let base = self.public_url.trim().trim_end_matches('/');
                let encoded: String = url::form_urlencoded::byte_serialize(self.secret.as_bytes()).collect();
                let link = format!("{base}{ROUTE}?secret={encoded}");
                let text = "There is no GitHub App yet. Within an hour, set it up in your browser, once:";
                // Nobody may be listening any more.
                let _ = writeln!(std::io::stdout(), "{text}\n  {link}");
            }
            Ok(Ok(status)) => tracing::error!("the set-up answers {status}: its line in the log says why"),
            Ok(Err(error)) => tracing::error!("the set-up cannot be asked: {error:#}"),
            Err(_) => tracing::error!("the set-up does not answer"),
        }
    }
}
