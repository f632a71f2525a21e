//! The operator's orders: `POST /api/v1/stop`, `/api/v1/resume` and `/api/v1/revoke`, with the admin token alone.
//!
//! Stopping and resuming take `{"repository": "OWNER/NAME"}`, or no body for all repositories. Each order may be given
//! again; what it leaves is the same.

use gha_slurm_core::audit::{Record, record};
use gha_slurm_core::launch_keys::revoke_all;
use gha_slurm_core::ledger::{Scope, Stops};
use gha_slurm_core::ports::Platform;
use gha_slurm_core::settings::Settings;
use gha_slurm_edge::admin::{Right, authorize};
use gha_slurm_edge::answer::{Answer, Level};
use gha_slurm_edge::request::Request;
use gha_slurm_protocol::identity::RepositoryName;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// No launches, and no credentials for what is out.
    Stop,
    /// Launches are resumed.
    Resume,
    /// No launch token that was issued so far is honoured any more.
    Revoke,
}

impl Order {
    /// The order of a path below `/api/v1/`.
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "stop" => Some(Self::Stop),
            "resume" => Some(Self::Resume),
            "revoke" => Some(Self::Revoke),
            _ => None,
        }
    }
}

/// The body of an order to stop or to resume.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct About {
    /// OWNER/NAME; null or absent for all repositories.
    #[cfg_attr(test, schemars(skip_serializing_if = "Option::is_none"))]
    repository: Option<String>,
}

/// The answer to an order to stop or to resume.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Switch<'a> {
    /// Whether launches are stopped now.
    stopped: bool,
    /// OWNER/NAME; null for all repositories.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    repository: Option<&'a RepositoryName>,
}

/// The answer to an order to revoke.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Revoked {
    /// True.
    revoked: bool,
}

/// Adds the schemas of orders and of their answers.
#[cfg(test)]
pub(super) fn schemas(generator: &mut schemars::SchemaGenerator) {
    generator.subschema_for::<About>();
    generator.subschema_for::<Switch<'_>>();
    generator.subschema_for::<Revoked>();
}

/// Which repositories a body names.
fn scope(body: &[u8]) -> Result<Scope, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Scope::All);
    }
    let about: About = serde_json::from_slice(body).map_err(|error| format!("the body: {error}"))?;
    match about.repository {
        None => Ok(Scope::All),
        Some(name) => match RepositoryName::try_from(name) {
            Ok(name) => Ok(Scope::Repository(name)),
            Err(_) => Err("repository: must be OWNER/NAME".to_owned()),
        },
    }
}

/// Carries an order out.
pub(super) fn answer<P: Platform>(platform: &P, request: &Request, order: Order) -> Answer {
    if request.method != "POST" {
        return Answer::method_not_allowed("POST");
    }
    let client = match authorize(platform, request, Right::Operate) {
        Ok(client) => client.to_string(),
        Err(refusal) => return refusal.into(),
    };
    let scope = match scope(&request.body) {
        Ok(scope) => scope,
        Err(problem) => return Answer::error(400, problem),
    };
    let repository = match &scope {
        Scope::All => None,
        Scope::Repository(name) => Some(name),
    };
    let (client, stops) = (client.as_str(), Stops(platform));
    // Recorded first: an order may take effect though the store's answer was lost.
    let done = match order {
        Order::Stop => {
            record(platform, &Record::Stop { repository, client });
            stops.stop(&scope)
        }
        Order::Resume => {
            record(platform, &Record::Resume { repository, client });
            stops.resume(&scope)
        }
        Order::Revoke if repository.is_some() => {
            return Answer::error(400, "repository: launch tokens are revoked for all repositories at once");
        }
        Order::Revoke => {
            let clusters = match Settings(platform).cluster_definitions() {
                Ok(clusters) => clusters,
                Err(error) => return error.into(),
            };
            record(platform, &Record::Revocation { client });
            revoke_all(platform, &clusters)
        }
    };
    if let Err(error) = done {
        return error.into();
    }
    let answer = match order {
        Order::Stop => Answer::new(200, json!(Switch { stopped: true, repository })),
        Order::Resume => Answer::new(200, json!(Switch { stopped: false, repository })),
        Order::Revoke => Answer::new(200, json!(Revoked { revoked: true })),
    };
    answer.with_log("client", client).at(Level::Info)
}
