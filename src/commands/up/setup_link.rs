//! The one-time link for the setup in the browser, if the application has no GitHub App.
//!
//! The application itself is asked whether it has one: it may have been set up with an earlier link.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gha_slurm::host::variables::Provider;
use gha_slurm::loopback;

use crate::commands::random::random_secret;

const LIFETIME: Duration = Duration::from_secs(60 * 60);
const DEADLINE: Duration = Duration::from_secs(30);
/// The variables that name the App.
const NAMES: [&str; 3] = ["github_app_id", "github_private_key", "github_webhook_secret"];
/// The route of the setup.
pub(super) const ROUTE: &str = "/setup";

/// A link whose secret was passed to the application.
pub(super) struct SetupLink {
    secret: String,
    public_url: String,
}

impl SetupLink {
    /// Passes the secret of a link to the application, unless a variable names an App. A secret that the operator chose is
    /// kept.
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
            tracing::warn!("there is no GitHub App, and the setup in the browser needs the variable public_url");
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

    /// Prints the link, unless the application says that it needs none.
    pub(super) async fn announce(self, address: SocketAddr) {
        let asked = loopback::ask(address, hyper::Request::get(ROUTE));
        match tokio::time::timeout(DEADLINE, asked).await {
            Ok(Ok(404)) => {}
            Ok(Ok(403)) => {
                let base = self.public_url.trim().trim_end_matches('/');
                let encoded: String = url::form_urlencoded::byte_serialize(self.secret.as_bytes()).collect();
                let link = format!("{base}{ROUTE}?secret={encoded}");
                let text = "There is no GitHub App yet. To set it up, open this link in your browser. It works once, for an hour:";
                // The reader may have gone.
                let _ = writeln!(std::io::stdout(), "{text}\n  {link}");
            }
            Ok(Ok(status)) => tracing::error!("the setup page answers {status}: see its line in the log"),
            Ok(Err(error)) => tracing::error!("the setup page cannot be reached: {error:#}"),
            Err(_) => tracing::error!("the setup page does not answer"),
        }
    }
}
