//! Who calls, and whether it may: the App by its JWT, or an installation token for a repository or an organization that
//! the path names. Each handler names what it takes as an extractor.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use jwt_simple::prelude::{Duration, NoCustomClaims, RSAPublicKeyLike, VerificationOptions};

use super::answer::Refusal;
use super::origin::origin;
use crate::github::state::app::App;
use crate::github::state::limit::Caller;
use crate::github::state::permission::{Level, allows};
use crate::github::state::repository::{Found, Repositories, Repository};
use crate::github::state::runner::Owner;
use crate::github::state::{Shared, State};

/// Seconds that a clock may be ahead of GitHub's.
const CLOCK_TOLERANCE: u64 = 5;
const JWT_SECONDS: u64 = 600;

fn credential(headers: &HeaderMap) -> Result<&str, Refusal> {
    let value = headers.get("authorization").and_then(|value| value.to_str().ok());
    let (scheme, token) = value
        .and_then(|value| value.split_once(' '))
        .ok_or_else(|| Refusal::unauthorized("Requires authentication"))?;
    if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") {
        Ok(token)
    } else {
        Err(Refusal::unauthorized("Bad credentials"))
    }
}

/// Whose rate limit a request counts against.
pub(crate) fn counted(state: &State, headers: &HeaderMap) -> Option<Caller> {
    let credential = credential(headers).ok()?;
    match state.installation_tokens.get(credential) {
        Some(token) => Some(Caller::Installation(token.installation)),
        // A JWT has two dots, a token none.
        None => (credential.split('.').count() == 3).then_some(Caller::App),
    }
}

/// The App by its own JWT: RS256 by its key, its id as `iss`, and GitHub's time rules.
pub(crate) struct AsApp(pub(crate) App);

impl FromRequestParts<Arc<Shared>> for AsApp {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Refusal> {
        let (apps, now) = {
            let state = shared.state();
            (state.apps.clone(), state.now())
        };
        // The time rules are checked below, with GitHub's messages.
        let options =
            VerificationOptions { time_tolerance: Some(Duration::from_days(366)), ..VerificationOptions::default() };
        let jwt = credential(&parts.headers)?;
        let verified = apps.into_iter().find_map(|app| {
            let claims = app.key.public_key().verify_token::<NoCustomClaims>(jwt, Some(options.clone())).ok()?;
            Some((app, claims))
        });
        let refused = Refusal::unauthorized;
        let (app, claims) = verified.ok_or_else(|| refused("A JSON web token could not be decoded"))?;
        if claims.issuer != Some(app.id.to_string()) {
            return Err(refused("Integration not found"));
        }
        let (Some(issued), Some(expires)) = (claims.issued_at, claims.expires_at) else {
            return Err(refused("A JSON web token must have 'iat' and 'exp'"));
        };
        // In this order: a clock that is ahead is told of its `exp` first.
        if expires.as_secs() > now + JWT_SECONDS {
            return Err(refused("'Expiration time' claim ('exp') is too far in the future"));
        }
        if issued.as_secs() > now + CLOCK_TOLERANCE {
            return Err(refused(
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
            ));
        }
        if expires.as_secs() <= now {
            return Err(refused(
                "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the \
                 assertion expires",
            ));
        }
        Ok(Self(app))
    }
}

/// What a call takes, by permission of a repository and, where there is such a call, of an organization.
pub(crate) trait Need: Send {
    const REPOSITORY: (&'static str, Level);
    const ORGANIZATION: Option<Level> = None;
}

/// `actions: read`
pub(crate) struct ReadActions;
impl Need for ReadActions {
    const REPOSITORY: (&'static str, Level) = ("actions", Level::Read);
}

/// `metadata: read`
pub(crate) struct ReadMetadata;
impl Need for ReadMetadata {
    const REPOSITORY: (&'static str, Level) = ("metadata", Level::Read);
}

/// `administration: read`, or `organization_self_hosted_runners: read`
pub(crate) struct ReadRunners;
impl Need for ReadRunners {
    const REPOSITORY: (&'static str, Level) = ("administration", Level::Read);
    const ORGANIZATION: Option<Level> = Some(Level::Read);
}

/// `administration: write`, or `organization_self_hosted_runners: write`
pub(crate) struct WriteRunners;
impl Need for WriteRunners {
    const REPOSITORY: (&'static str, Level) = ("administration", Level::Write);
    const ORGANIZATION: Option<Level> = Some(Level::Write);
}

/// `statuses: read`
pub(crate) struct ReadStatuses;
impl Need for ReadStatuses {
    const REPOSITORY: (&'static str, Level) = ("statuses", Level::Read);
}

/// `statuses: write`
pub(crate) struct WriteStatuses;
impl Need for WriteStatuses {
    const REPOSITORY: (&'static str, Level) = ("statuses", Level::Write);
}

/// An installation token that covers what the path names, and has the permission.
pub(crate) struct Allowed<N> {
    pub(crate) owner: Owner,
    need: PhantomData<N>,
}

impl<N: Need> FromRequestParts<Arc<Shared>> for Allowed<N> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Refusal> {
        let named = Named::of(parts, shared).await?;
        let mut guard = shared.state();
        let state = &mut *guard;
        let now = state.now();
        let token = state.installation_tokens.get_mut(credential(&parts.headers)?);
        let token = token.filter(|token| token.expires_at > now);
        let token = token.ok_or_else(|| Refusal::unauthorized("Bad credentials"))?;
        match token.too_fresh() {
            Some(403) => return Err(Refusal::forbidden("Resource not accessible by integration")),
            Some(404) => return Err(Refusal::not_found()),
            Some(_) => return Err(Refusal::unauthorized("Bad credentials")),
            None => {}
        }
        if state.suspended.contains(&token.installation) {
            return Err(Refusal::forbidden("This installation has been suspended"));
        }
        let (owner, login, permission, level) = match &named {
            Named::Organization(login) => {
                let covers = |repository: &Repository| repository.is_of(login);
                let level = N::ORGANIZATION.filter(|_| state.repositories.of(token.installation).any(covers));
                let level = level.ok_or_else(Refusal::not_found)?;
                (Owner::Organization(login.clone()), login.as_str(), "organization_self_hosted_runners", level)
            }
            named => {
                let repository = named.resolve(&state.repositories, parts, |repository| {
                    token.repositories.contains(&repository.id) && repository.installation == Some(token.installation)
                })?;
                let (permission, level) = N::REPOSITORY;
                (Owner::Repository(repository.id), repository.owner(), permission, level)
            }
        };
        if state.habits.address_blocked {
            return Err(Refusal::forbidden(format!(
                "Although you appear to have the correct authorization credentials, the `{login}` organization has an \
                 IP allow list enabled, and 192.0.2.9 is not permitted to access this resource."
            )));
        }
        if !allows(&token.permissions, permission, level) {
            return Err(Refusal::forbidden("Resource not accessible by integration"));
        }
        Ok(Self { owner, need: PhantomData })
    }
}

/// The repository that the path names, for a call by the App itself.
pub(crate) struct OfApp {
    pub(crate) app: App,
    pub(crate) repository: Repository,
}

impl FromRequestParts<Arc<Shared>> for OfApp {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Refusal> {
        let AsApp(app) = AsApp::from_request_parts(parts, shared).await?;
        let named = Named::of(parts, shared).await?;
        let state = shared.state();
        let installed = state.installed_app == app.id;
        let covered = |repository: &Repository| installed && repository.installation.is_some();
        let repository = named.resolve(&state.repositories, parts, covered)?.clone();
        drop(state);
        Ok(Self { app, repository })
    }
}

/// What a path names.
enum Named {
    /// `/repos/{owner}/{repo}`
    Name(String),
    /// `/repositories/{repository_id}`
    Id(u64),
    /// `/orgs/{org}`
    Organization(String),
}

impl Named {
    async fn of(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Refusal> {
        let params = RawPathParams::from_request_parts(parts, shared).await.map_err(|_| Refusal::not_found())?;
        let value = |wanted| params.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
        let named = match (value("owner"), value("repo"), value("repository_id"), value("org")) {
            (Some(owner), Some(repo), ..) => Some(Self::Name(format!("{owner}/{repo}"))),
            (.., Some(id), _) => id.parse().ok().map(Self::Id),
            (.., Some(org)) => Some(Self::Organization(org.to_owned())),
            _ => None,
        };
        named.ok_or_else(Refusal::not_found)
    }

    /// The repository, when the caller may know of it. A name that was left leads to its id: a read by 301, and anything
    /// else by 307, which keeps method and body.
    fn resolve<'a>(
        &self,
        repositories: &'a Repositories,
        parts: &Parts,
        covered: impl Fn(&Repository) -> bool,
    ) -> Result<&'a Repository, Refusal> {
        let found = match self {
            Self::Name(name) => repositories.find(name),
            Self::Id(id) => repositories.get(*id).map(Found::Here),
            Self::Organization(_) => None,
        };
        match found {
            Some(Found::Here(repository)) if covered(repository) => Ok(repository),
            Some(Found::Moved(repository)) if covered(repository) => {
                let read = matches!(parts.method, Method::GET | Method::HEAD);
                let status = if read { StatusCode::MOVED_PERMANENTLY } else { StatusCode::TEMPORARY_REDIRECT };
                let path_and_query = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
                // After `/repos/{owner}/{repo}`.
                let rest = path_and_query.splitn(5, '/').nth(4).map(|rest| format!("/{rest}")).unwrap_or_default();
                let location = format!("{}/repositories/{}{rest}", origin(&parts.headers), repository.id);
                Err(Refusal::moved(status, &location))
            }
            _ => Err(Refusal::not_found()),
        }
    }
}
