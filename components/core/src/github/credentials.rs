//! Runner credentials, and the tokens on the way to them, which are kept until shortly before they expire.
//!
//! Signing an App JWT costs most of a redemption's time, and GitHub limits the rate of calls; with warm caches a
//! redemption makes one call, for a credential that is this launch's alone, and one more for the first job of a workflow run. What is kept is sealed: of the components that
//! share the store, only those that have the App's key can read it. What does not open, or an earlier build kept in clear,
//! is fetched anew.
//!
//! An access token that GitHub has just made is not known everywhere at GitHub: for a second or two it may be refused as if
//! the App had no business there. Such an answer is final only when a token that is old enough gets it as well.

use std::time::Duration;

use chrono::DateTime;
use gha_slurm_protocol::identity::{JobId, LaunchId, RepositoryName};
use gha_slurm_protocol::labels::LabelSet;
use gha_slurm_protocol::secret::Secret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::app_jwt::LONGEST_SECONDS;
use super::client::{
    At, CommitStatus, ExpiringToken, GitHub, GitHubError, InstallationToken, JitConfig, JobInfo, Permission, Reason,
    Refusal, Until,
};
use super::groups::{DEFAULT_GROUP, GroupOf, needs_jit};
pub use super::reach::Reach;
use crate::identity::{CommitSha, RepositoryId, RunId, RunnerId};
use crate::ledger::{keys, read_sealed, write_sealed};
use crate::policy::Run;
use crate::ports::{Clock, Http, Random, Store, StoreError, Variables};
use crate::profile::RegisteredAt;
use crate::settings::{AppSigner, Settings};

/// A JWT is used at once.
const APP_JWT_MARGIN_SECONDS: i64 = 60;
/// An installation token is used at once; the margin is for clocks and a slow call.
const INSTALLATION_MARGIN_SECONDS: i64 = 5 * 60;
/// All of GitHub knows a token by then.
const FRESH_SECONDS: u64 = 10;
/// A refused token of this age is asked to be replaced: since it was made, much may have changed.
const STALE_SECONDS: u64 = 60;
/// How long a fresh token is waited for, one time after the other.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// A kept App JWT. One of another App or key is not used: a corrected key takes effect at once.
#[derive(Serialize, Deserialize)]
struct AppJwt {
    /// As [`AppSigner`] names it.
    signer: String,
    jwt: ExpiringToken,
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

    /// A registration token. It is not kept: each launch asks for its own.
    pub fn registration_token(&self, reach: Reach<'_>) -> Result<ExpiringToken, GitHubError> {
        if let RegisteredAt::Organization { group: Some(group) } = reach.registered_at {
            return Err(needs_jit(group));
        }
        self.about_runners(reach, |token, name| self.github.registration_token(token, reach.runners_at(name)))
    }

    /// A JIT config for a launch's one runner, which is good for one job. A name that is taken is cleared, or another one
    /// of the launch's names serves.
    pub fn jit_config(&self, reach: Reach<'_>, launch: LaunchId, labels: &LabelSet) -> Result<JitConfig, GitHubError> {
        let mut names = launch.runner_names();
        loop {
            let name = names.next().unwrap_or_else(|| launch.runner_name());
            let made = self
                .about_runners(reach, |token, repository| self.make_runner(token, reach, repository, &name, labels));
            match made {
                Err(error) if error.reason() == Some(Reason::NameTaken) && names.len() > 0 => {}
                made => return made,
            }
        }
    }

    /// `repository` is the name that it has now.
    fn make_runner(
        &self,
        token: &InstallationToken,
        reach: Reach<'_>,
        repository: &RepositoryName,
        name: &str,
        labels: &LabelSet,
    ) -> Result<JitConfig, GitHubError> {
        let at = reach.runners_at(repository);
        let make =
            |group| self.make_named_runner(token, at, name, || self.github.jit_config(token, at, group, name, labels));
        let RegisteredAt::Organization { group } = reach.registered_at else {
            return match make(DEFAULT_GROUP) {
                // The repository is there and the call is not.
                Err(GitHubError::NotFound(refusal)) if self.github.reaches(token, at)? => Err(no_jit(refusal)),
                made => made,
            };
        };
        let (wanted, repository) = (group.as_deref(), (reach.id, repository));
        let group = GroupOf { platform: self.platform, github: self.github, token, repository, wanted };
        if let Some(kept) = group.kept() {
            match make(kept) {
                Err(GitHubError::NotFound(_)) => {}
                Err(GitHubError::Refused(Refusal { reason: Reason::Other | Reason::Permission, .. })) => {}
                made => return made,
            }
            // Perhaps it is the group that is not there any more.
        }
        match make(group.ask()?) {
            Err(GitHubError::NotFound(refusal)) => Err(no_jit(refusal)),
            made => made,
        }
    }

    fn make_named_runner(
        &self,
        token: &InstallationToken,
        at: At<'_>,
        name: &str,
        make: impl Fn() -> Result<JitConfig, GitHubError>,
    ) -> Result<JitConfig, GitHubError> {
        match make() {
            Err(error) if error.reason() == Some(Reason::NameTaken) => {
                // Left by an attempt for this very launch that died before anybody got the secret of its runner. One that
                // is online is somebody else's.
                match self.github.runner_named(token, at, name) {
                    Ok(Some(stale)) if stale.status == "offline" && !stale.busy => {
                        match self.github.remove_runner(token, at, stale.id) {
                            Ok(()) | Err(GitHubError::NotFound(_)) => make(),
                            Err(_) => Err(error),
                        }
                    }
                    // It is gone by itself.
                    Ok(None) => make(),
                    _ => Err(error),
                }
            }
            made => made,
        }
    }

    /// Takes a runner out of GitHub's list.
    pub fn remove_runner(&self, reach: Reach<'_>, runner: RunnerId) -> Result<(), GitHubError> {
        self.about_runners(reach, |token, name| self.github.remove_runner(token, reach.runners_at(name), runner))
    }

    /// Makes a call where runners are registered, by the name that the repository has: the one that the webhook named, or,
    /// where an organization of that name is not found, the one that it has now.
    fn about_runners<T>(
        &self,
        reach: Reach<'_>,
        call: impl Fn(&InstallationToken, &RepositoryName) -> Result<T, GitHubError>,
    ) -> Result<T, GitHubError> {
        if *reach.registered_at == RegisteredAt::Repository {
            return self.with_installation(reach, reach.permission(), |token| call(token, reach.name));
        }
        let made = self.with_installation(reach, reach.permission(), |token| match call(token, reach.name) {
            Err(GitHubError::NotFound(mut refusal)) => match self.github.name_of(token, reach.at())? {
                Some(now) if now != *reach.name => call(token, &now),
                Some(_) => {
                    // The repository is there, and an organization that owns it is not.
                    refusal.reason = Reason::OrganizationPermission;
                    Err(GitHubError::NotFound(refusal))
                }
                None => Err(GitHubError::NotFound(refusal)),
            },
            made => made,
        });
        made.map_err(GitHubError::of_organization)
    }

    /// What GitHub says of a job.
    pub fn job(&self, reach: Reach<'_>, job: JobId) -> Result<JobInfo, GitHubError> {
        self.with_installation(reach, Permission::ActionsRead, |token| self.github.job(token, reach.at(), job))
    }

    /// What GitHub says of an attempt of a workflow run; `None` where it shows the repository and not the run.
    pub fn run(&self, reach: Reach<'_>, run: RunId, attempt: u64) -> Result<Option<Run>, GitHubError> {
        self.with_installation(reach, Permission::ActionsRead, |token| {
            let ask = || self.github.run(token, reach.at(), run, attempt);
            match ask() {
                Err(GitHubError::NotFound(refusal)) => match self.github.reaches(token, reach.at())? {
                    // Once more: the token may not have been known everywhere before.
                    true => match ask() {
                        Err(GitHubError::NotFound(_)) => Ok(None),
                        said => said.map(Some),
                    },
                    false => Err(GitHubError::NotFound(refusal)),
                },
                said => said.map(Some),
            }
        })
    }

    /// Tells the author of a commit.
    pub fn commit_status(&self, reach: Reach<'_>, sha: &CommitSha, status: &CommitStatus) -> Result<(), GitHubError> {
        let tell = |token: &InstallationToken| self.github.commit_status(token, reach.at(), sha, status);
        self.with_installation(reach, Permission::StatusesWrite, tell)
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
        let good = |kept: &AppJwt| {
            signers.contains(&kept.signer)
                && self.lasts(&kept.jwt.expires_at, APP_JWT_MARGIN_SECONDS)
                // Made by a clock that was ahead, it would be refused until then.
                && !self.lasts(&kept.jwt.expires_at, LONGEST_SECONDS)
        };
        let kept = kept.filter(good);
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

    /// Makes a call with an installation token: a kept one, or a fresh one where there is none or that one is refused.
    fn with_installation<T>(
        &self,
        reach: Reach<'_>,
        permission: Permission,
        call: impl Fn(&InstallationToken) -> Result<T, GitHubError>,
    ) -> Result<T, GitHubError> {
        let key = keys::cache(kind_of(permission), reach.id);
        let mut refused_before = false;
        if let Some(kept) = self.cached(&key) {
            let age = self.platform.unix_seconds().saturating_sub(kept.made_at);
            match call(&kept) {
                // Revoked, or the App was installed anew, or got a permission.
                Err(error) if may_be_of_its_token(&error) => match age {
                    ..FRESH_SECONDS => return Err(not_known_yet(error, FRESH_SECONDS - age)),
                    ..STALE_SECONDS if !matches!(error, GitHubError::Unauthorized(_)) => return Err(error),
                    _ => refused_before = true,
                },
                other => return other,
            }
        }
        let fresh = self.installation_token(reach, permission)?;
        self.keep(&key, &fresh);
        let mut answered = call(&fresh);
        for pause in PAUSES {
            match &answered {
                Err(error) if may_be_of_its_token(error) && self.github.pause(pause) => answered = call(&fresh),
                _ => return answered,
            }
        }
        match answered {
            // Two tokens are refused, and one of them is old enough.
            Err(error) if may_be_of_its_token(&error) && !refused_before => Err(not_known_yet(error, FRESH_SECONDS)),
            answered => answered,
        }
    }

    fn installation_token(&self, reach: Reach<'_>, permission: Permission) -> Result<InstallationToken, GitHubError> {
        self.as_app(|jwt| {
            let of = |installation| self.github.installation_token(jwt, installation, reach.id, permission);
            let Some(named) = reach.installation else { return of(self.github.installation(jwt, reach.at())?) };
            match of(named) {
                // A payload may name another App's installation, and a repository may have moved to another one: ask for
                // ours.
                Err(error) if error.reason() == Some(Reason::NotInstalled) => {
                    of(self.github.installation(jwt, reach.at())?)
                }
                made => made,
            }
        })
    }

    /// A token that is valid for a while. A cache that cannot be read is an empty one.
    fn cached(&self, key: &str) -> Option<InstallationToken> {
        let token = self.opened::<InstallationToken>(key)?;
        self.lasts(&token.expires_at, INSTALLATION_MARGIN_SECONDS).then_some(token)
    }

    fn opened<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let seal = Settings(self.platform).token_seal().ok()?;
        read_sealed(self.platform, &seal, key).ok()?
    }

    /// A token that could not be kept is still a token.
    fn keep(&self, key: &str, token: &impl Serialize) {
        if let Ok(seal) = Settings(self.platform).token_seal() {
            let _ = write_sealed(self.platform, &seal, key, token);
        }
    }

    /// Whether something that ends then is valid for `margin` seconds more.
    fn lasts(&self, expires_at: &str, margin: i64) -> bool {
        let expires = DateTime::parse_from_rfc3339(expires_at).map_or(0, |expires| expires.timestamp());
        let now = i64::try_from(self.platform.unix_seconds()).unwrap_or(i64::MAX);
        expires.saturating_sub(now) > margin
    }
}

/// The call is not there, though what it is about is: an older Enterprise Server.
fn no_jit(refusal: Refusal) -> GitHubError {
    GitHubError::Refused(Refusal { reason: Reason::NoJit, ..refusal })
}

/// Whether another token might be answered otherwise.
fn may_be_of_its_token(error: &GitHubError) -> bool {
    match error {
        GitHubError::Unauthorized(_) | GitHubError::NotFound(_) => true,
        GitHubError::Refused(refusal) => {
            matches!(refusal.reason, Reason::Permission | Reason::NoJit)
        }
        GitHubError::Unavailable { .. } | GitHubError::Setting(_) => false,
    }
}

/// A refusal that may pass by itself within some seconds.
fn not_known_yet(error: GitHubError, seconds: u64) -> GitHubError {
    let detail = error.to_string();
    match error {
        GitHubError::Unauthorized(refusal) | GitHubError::NotFound(refusal) | GitHubError::Refused(refusal)
            if refusal.reason != Reason::NoJit =>
        {
            let until = Until::TokenKnown(refusal);
            GitHubError::Unavailable { retry_after: seconds.max(1), until, detail }
        }
        other => other,
    }
}

/// Forgets the tokens that are kept for repositories, and their runner groups.
pub fn forget<S: Store>(store: &S, repositories: &[RepositoryId]) -> Result<(), StoreError> {
    use Permission::{ActionsRead, AdministrationWrite, OrganizationRunnersWrite, StatusesWrite};
    let kinds = [AdministrationWrite, ActionsRead, OrganizationRunnersWrite, StatusesWrite].map(kind_of);
    let tokens = |id: &RepositoryId| kinds.map(|kind| keys::cache(kind, *id));
    let mut all: Vec<String> = repositories.iter().flat_map(tokens).collect();
    all.extend(repositories.iter().map(|id| keys::runner_groups(*id)));
    store.delete_many(&all)
}

fn kind_of(permission: Permission) -> &'static str {
    match permission {
        Permission::AdministrationWrite => "installation",
        Permission::OrganizationRunnersWrite => "installation-organization",
        Permission::ActionsRead => "installation-actions",
        Permission::StatusesWrite => "installation-statuses",
    }
}

#[cfg(test)]
mod tests;
