//! Runner credentials, and the tokens on the way to them, which are kept until shortly before they expire.
//!
//! Signing an App JWT costs most of a redemption's time, and GitHub limits the rate of calls; with warm caches a
//! redemption makes no call at all. What is kept is sealed: of the components that share the store, only those that have
//! the App's key can read it. What does not open, or an earlier build kept in clear, is fetched anew.

use chrono::DateTime;
use gha_slurm_protocol::identity::{JobId, RepositoryName};
use gha_slurm_protocol::labels::LabelSet;
use gha_slurm_protocol::secret::Secret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::client::{ExpiringToken, GitHub, GitHubError, JitConfig, JobInfo, Permission};
use crate::identity::{InstallationId, RepositoryId, RunnerId};
use crate::ledger::{Requested, keys, read_sealed, write_sealed};
use crate::ports::{Clock, Http, Random, Store, StoreError, Variables};
use crate::settings::{AppSigner, Settings};

/// A JWT is used at once.
const APP_JWT_MARGIN_SECONDS: i64 = 60;
/// An installation token is used at once; the margin is for clocks and a slow call.
const INSTALLATION_MARGIN_SECONDS: i64 = 5 * 60;
/// A registration token must still be valid when the runner's configuration gets to it.
const REGISTRATION_MARGIN_SECONDS: i64 = 15 * 60;

/// A kept App JWT. One of another App or key is not used: who has just mended the key must not wait for its end.
#[derive(Serialize, Deserialize)]
struct AppJwt {
    /// As [`AppSigner`] names it.
    signer: String,
    jwt: ExpiringToken,
}

/// A repository as the App reaches it.
#[derive(Debug, Clone, Copy)]
pub struct Reach<'a> {
    /// Its id.
    pub id: RepositoryId,
    /// Its name.
    pub name: &'a RepositoryName,
    /// The installation that a webhook named, if it did.
    pub installation: Option<InstallationId>,
}

impl<'a> From<&'a Requested> for Reach<'a> {
    fn from(requested: &'a Requested) -> Self {
        Self { id: requested.repository_id, name: &requested.repository, installation: requested.installation }
    }
}

/// Gets what needs an installation token, and keeps tokens.
pub struct Credentials<'a, P> {
    platform: &'a P,
    github: &'a GitHub<'a, P>,
}

impl<'a, P: Store + Http + Clock + Random + Variables> Credentials<'a, P> {
    /// Credentials from `github`, with the caches in `platform`'s store.
    pub fn new(platform: &'a P, github: &'a GitHub<'a, P>) -> Self {
        Self { platform, github }
    }

    /// The registration token for a repository that is at hand, if one is.
    pub fn kept_registration_token(&self, reach: Reach<'_>) -> Option<ExpiringToken> {
        self.cached(&keys::cache("registration", reach.id), REGISTRATION_MARGIN_SECONDS)
    }

    /// A registration token for a repository.
    pub fn registration_token(&self, reach: Reach<'_>) -> Result<ExpiringToken, GitHubError> {
        if let Some(token) = self.kept_registration_token(reach) {
            return Ok(token);
        }
        let key = keys::cache("registration", reach.id);
        let token = self.with_installation(reach, Permission::AdministrationWrite, |token| {
            self.github.registration_token(token, reach.name)
        })?;
        self.keep(&key, &token);
        Ok(token)
    }

    /// A JIT config for one runner, which is good for one job.
    pub fn jit_config(&self, reach: Reach<'_>, name: &str, labels: &LabelSet) -> Result<JitConfig, GitHubError> {
        self.with_installation(reach, Permission::AdministrationWrite, |token| {
            self.github.jit_config(token, reach.name, name, labels)
        })
    }

    /// Takes a runner out of GitHub's list.
    pub fn remove_runner(&self, reach: Reach<'_>, runner: RunnerId) -> Result<(), GitHubError> {
        self.with_installation(reach, Permission::AdministrationWrite, |token| {
            self.github.remove_runner(token, reach.name, runner)
        })
    }

    /// What GitHub says of a job.
    pub fn job(&self, reach: Reach<'_>, job: JobId) -> Result<JobInfo, GitHubError> {
        self.with_installation(reach, Permission::ActionsRead, |token| self.github.job(token, reach.name, job))
    }

    /// The App JWT for calls that need no installation.
    pub fn app_jwt(&self) -> Result<Secret, GitHubError> {
        match self.kept_app_jwt()? {
            Some(kept) => Ok(kept),
            None => self.sign_app_jwt(&self.first_signer()?),
        }
    }

    /// Makes a call as the App. Where GitHub does not accept the key, the other one signs, if there are two, and goes on
    /// to sign while its JWT lasts.
    pub fn as_app<T>(&self, call: impl Fn(&Secret) -> Result<T, GitHubError>) -> Result<T, GitHubError> {
        let refused = match call(&self.app_jwt()?) {
            Err(refused @ GitHubError::Unauthorized(_)) => refused,
            other => return other,
        };
        let signers = Settings(self.platform).app_signers()?;
        if signers.len() < 2 {
            return Err(refused);
        }
        for signer in &signers {
            match call(&self.sign_app_jwt(signer)?) {
                Err(GitHubError::Unauthorized(_)) => {}
                other => return other,
            }
        }
        Err(refused)
    }

    /// The JWT that is at hand, if one of the keys that are set now signed it.
    fn kept_app_jwt(&self) -> Result<Option<Secret>, GitHubError> {
        let kept = self.opened::<AppJwt>(&keys::cache_app_jwt());
        let signers = Settings(self.platform).app_signer_digests()?;
        let kept = kept.filter(|kept| signers.contains(&kept.signer) && self.lasts(&kept.jwt, APP_JWT_MARGIN_SECONDS));
        Ok(kept.map(|kept| kept.jwt.token))
    }

    fn first_signer(&self) -> Result<AppSigner, GitHubError> {
        let settings = Settings(self.platform);
        let digest = settings.app_signer_digests()?.into_iter().next().unwrap_or_default();
        Ok(AppSigner { key: settings.app_key()?, digest })
    }

    fn sign_app_jwt(&self, signer: &AppSigner) -> Result<Secret, GitHubError> {
        let (token, expires) = self.github.app_jwt(&signer.key)?;
        let expires_at = DateTime::from_timestamp(i64::try_from(expires).unwrap_or(0), 0).unwrap_or_default();
        let jwt = ExpiringToken { token, expires_at: expires_at.to_rfc3339() };
        let kept = AppJwt { signer: signer.digest.clone(), jwt };
        self.keep(&keys::cache_app_jwt(), &kept);
        Ok(kept.jwt.token)
    }

    /// Makes a call with an installation token: a kept one, and once more with a fresh one when that is refused.
    fn with_installation<T>(
        &self,
        reach: Reach<'_>,
        permission: Permission,
        call: impl Fn(&Secret) -> Result<T, GitHubError>,
    ) -> Result<T, GitHubError> {
        let key = keys::cache(kind_of(permission), reach.id);
        if let Some(kept) = self.cached(&key, INSTALLATION_MARGIN_SECONDS) {
            match call(&kept.token) {
                // Revoked, or the App was installed anew.
                Err(GitHubError::Unauthorized(_) | GitHubError::NotFound(_)) => {}
                other => return other,
            }
        }
        let fresh = self.installation_token(reach, permission)?;
        self.keep(&key, &fresh);
        call(&fresh.token)
    }

    fn installation_token(&self, reach: Reach<'_>, permission: Permission) -> Result<ExpiringToken, GitHubError> {
        self.as_app(|jwt| {
            let of = |installation| self.github.installation_token(jwt, installation, reach.name, permission);
            match reach.installation.map(of) {
                // A payload may name another App's installation: ask for ours.
                None | Some(Err(GitHubError::NotFound(_))) => of(self.github.installation(jwt, reach.name)?),
                Some(other) => other,
            }
        })
    }

    /// A token that is valid for `margin` seconds more. A cache that cannot be read is an empty one.
    fn cached(&self, key: &str, margin: i64) -> Option<ExpiringToken> {
        let token = self.opened::<ExpiringToken>(key)?;
        self.lasts(&token, margin).then_some(token)
    }

    fn opened<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let seal = Settings(self.platform).token_seal().ok()?;
        read_sealed(self.platform, &seal, key).ok()?
    }

    fn lasts(&self, token: &ExpiringToken, margin: i64) -> bool {
        let expires = DateTime::parse_from_rfc3339(&token.expires_at).map_or(0, |expires| expires.timestamp());
        let now = i64::try_from(self.platform.unix_seconds()).unwrap_or(i64::MAX);
        expires.saturating_sub(now) > margin
    }

    /// A token that could not be kept is still a token.
    fn keep(&self, key: &str, token: &impl Serialize) {
        if let Ok(seal) = Settings(self.platform).token_seal() {
            let _ = write_sealed(self.platform, &seal, key, token);
        }
    }
}

/// Forgets the tokens that are kept for repositories.
pub fn forget<S: Store>(store: &S, repositories: &[RepositoryId]) -> Result<(), StoreError> {
    let kinds = ["registration", kind_of(Permission::AdministrationWrite), kind_of(Permission::ActionsRead)];
    let keys = |id: &RepositoryId| kinds.map(|kind| keys::cache(kind, *id));
    store.delete_many(&repositories.iter().flat_map(keys).collect::<Vec<_>>())
}

fn kind_of(permission: Permission) -> &'static str {
    match permission {
        Permission::AdministrationWrite => "installation",
        Permission::ActionsRead => "installation-actions",
    }
}
