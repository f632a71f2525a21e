//! Runner credentials, and the tokens on the way to them, which are kept until shortly before they expire.
//!
//! Signing an App JWT costs most of a redemption's time, and GitHub limits the rate of calls; with warm caches a
//! redemption makes no call at all. The caches hold secrets: they are in the store that also holds the signing keys,
//! and nowhere else.

use chrono::DateTime;

use super::client::{ExpiringToken, GitHub, GitHubError};
use crate::identity::RepositoryId;
use crate::launch_token::Launch;
use crate::ledger::{PREFIX, read, write};
use crate::ports::{Clock, Http, Store, Variables};
use crate::settings::Settings;

/// An installation token is used at once; the margin is for clocks and a slow call.
const INSTALLATION_MARGIN_SECONDS: i64 = 5 * 60;
/// A registration token must still be valid when the runner's configuration gets to it.
const REGISTRATION_MARGIN_SECONDS: i64 = 15 * 60;

/// Gets credentials for launches.
pub struct Credentials<'a, P> {
    platform: &'a P,
    github: GitHub<'a, P>,
}

impl<'a, P: Store + Http + Clock + Variables> Credentials<'a, P> {
    /// Credentials from `github`, with the caches in `platform`'s store.
    pub fn new(platform: &'a P, github: GitHub<'a, P>) -> Self {
        Self { platform, github }
    }

    /// A registration token for the launch's repository.
    pub fn registration_token(&self, launch: &Launch) -> Result<ExpiringToken, GitHubError> {
        let cached = cache_key("registration", launch.repository_id);
        if let Some(token) = self.cached(&cached, REGISTRATION_MARGIN_SECONDS) {
            return Ok(token);
        }
        let installation_cache = cache_key("installation", launch.repository_id);
        let token = match self.cached(&installation_cache, INSTALLATION_MARGIN_SECONDS) {
            Some(installation) => match self.github.registration_token(&installation.token, &launch.repository) {
                // Revoked, or the App was installed anew: once more with a fresh one.
                Err(GitHubError::Unauthorized(_) | GitHubError::NotFound(_)) => {
                    let fresh = self.installation_token(launch)?;
                    self.github.registration_token(&fresh.token, &launch.repository)
                }
                other => other,
            },
            None => {
                let fresh = self.installation_token(launch)?;
                self.github.registration_token(&fresh.token, &launch.repository)
            }
        }?;
        self.keep(&cached, &token);
        Ok(token)
    }

    fn installation_token(&self, launch: &Launch) -> Result<ExpiringToken, GitHubError> {
        let jwt = self.github.app_jwt(&Settings(self.platform).app_key()?)?;
        let lookup = || self.github.installation(&jwt, &launch.repository);
        let token = match launch.installation {
            Some(named) => match self.github.installation_token(&jwt, named, &launch.repository) {
                // A payload may name another App's installation: ask for ours.
                Err(GitHubError::NotFound(_)) => self.github.installation_token(&jwt, lookup()?, &launch.repository),
                other => other,
            },
            None => self.github.installation_token(&jwt, lookup()?, &launch.repository),
        }?;
        self.keep(&cache_key("installation", launch.repository_id), &token);
        Ok(token)
    }

    /// A token that is valid for `margin` seconds more. A cache that cannot be read is an empty one.
    fn cached(&self, key: &str, margin: i64) -> Option<ExpiringToken> {
        let token = read::<ExpiringToken>(self.platform, key).ok()??;
        let expires = DateTime::parse_from_rfc3339(&token.expires_at).ok()?.timestamp();
        let now = i64::try_from(self.platform.unix_seconds()).ok()?;
        (expires.saturating_sub(now) > margin).then_some(token)
    }

    /// A token that could not be kept is still a token.
    fn keep(&self, key: &str, token: &ExpiringToken) {
        let _ = write(self.platform, key, token);
    }
}

fn cache_key(kind: &str, repository: RepositoryId) -> String {
    format!("{PREFIX}/cache/{kind}/{}", repository.0)
}
