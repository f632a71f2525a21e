//! One exchange with a gateway that fetches.
//!
//! The secret first: who lacks it learns nothing, not even whether there is such a cluster. Then what the gateway reports,
//! in its order, because what it asks for depends on it; then what its cluster is to do. An idle exchange is one step of the
//! store.

use std::time::Duration;

use gha_slurm_core::audit::Door;
use gha_slurm_core::cluster::{Definition, digest};
use gha_slurm_core::ledger::{Asking, Ledger};
use gha_slurm_core::lifecycle::{Destination, Fault, Leaser, Reporter, Taken, hand_out, take_reports};
use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_core::settings::{SettingError, Settings};
use gha_slurm_edge::answer::{Answer, Level};
use gha_slurm_edge::client::Client;
use gha_slurm_edge::guesses::{Checked, Giver, Guesses};
use gha_slurm_edge::request::Request;
use gha_slurm_protocol::exchange::{Exchange, MOST_REPORTS};
use gha_slurm_protocol::secret::Secret;
use gha_slurm_protocol::values::is_plain;
use serde_json::json;
use thiserror::Error;

/// Reports are short, and there is a limit on them.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// A gateway waits for 20 s.
const BUDGET: Duration = Duration::from_secs(15);
/// The part of it for what is reported; the rest is for what is to be done. What was not taken by then is told again.
const REPORTING: Duration = Duration::from_secs(10);

/// Why an exchange did not come about.
#[derive(Debug, Error)]
enum Failed {
    #[error("no such route: it is POST /clusters/NAME/exchange")]
    NoRoute,
    #[error("Authorization must carry the secret of this cluster: Bearer SECRET")]
    Unauthorized(Client),
    #[error("too many wrong secrets came from this address; try again in {seconds} s")]
    Limited { seconds: u64, client: Client },
    #[error("send application/json")]
    MediaType,
    #[error("{0}")]
    Malformed(String),
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<Failed> for Answer {
    fn from(failed: Failed) -> Self {
        let message = failed.to_string();
        match failed {
            Failed::NoRoute => Self::error(404, message),
            Failed::Unauthorized(client) => Self::error(401, message)
                .with_header("www-authenticate", "Bearer realm=\"gha-slurm\"")
                .with_log("client", &client.to_string()),
            Failed::Limited { seconds, client } => Self::error(429, message)
                .with_header("retry-after", seconds.to_string())
                .with_log("client", &client.to_string()),
            Failed::MediaType => Self::error(415, message),
            Failed::Malformed(_) => Self::error(400, message),
            Failed::Setting(error) => error.into(),
            Failed::Store(error) => error.into(),
            Failed::Fault(fault) => fault.into(),
        }
    }
}

/// Answers one exchange.
pub fn exchange<P: Platform>(platform: &P, request: &Request) -> Answer {
    if request.method != "POST" {
        return Answer::method_not_allowed("POST");
    }
    answer(platform, request).unwrap_or_else(Answer::from)
}

fn answer<P: Platform>(platform: &P, request: &Request) -> Result<Answer, Failed> {
    let name = request.path().strip_prefix("/clusters/").and_then(|rest| rest.strip_suffix("/exchange"));
    let name = name.ok_or(Failed::NoRoute)?;
    let definitions = Settings(platform).cluster_definitions()?;
    let (definition, secret) = authorize(platform, request, definitions.get(name))?;
    let said = read(request)?;
    let destination = Destination::without_gateways(platform, &definitions, BUDGET)?;
    let cluster = &definition.name;

    let reporter = Reporter { cluster, gateway: &said.gateway };
    let until = platform.now() + REPORTING;
    let Taken { unknown, not_taken, mut fault } = take_reports(platform, &destination, reporter, &said.reports, until);
    let asking = Asking::of(platform, cluster)?;
    let heard = &asking.heard;
    let leaser = Leaser { cluster, secret: &secret, gateway: &said.gateway, heard };
    let mut orders = hand_out(platform, &destination, leaser, &asking, said.room)?;
    let now = platform.unix_seconds();
    if heard.is_news(&said.gateway, said.queue, now)
        // A hint, for which nothing that was leased is kept back.
        && let Err(error) =
            Ledger(platform).record_heard(cluster, &heard.clone().with(&said.gateway, said.queue, now))
    {
        fault.get_or_insert(error.into());
    }
    (orders.unknown, orders.not_taken) = (unknown, not_taken);
    // So that a gateway with another `app.url` knows before it has a launch.
    orders.public_url = Settings(platform).public_url().ok().map(String::from);

    let launches: Vec<_> = orders.launches.iter().filter_map(|leased| leased.start.launch).collect();
    let idle = launches.is_empty() && orders.cancel.is_empty() && said.reports.is_empty();
    let log = json!({
        "cluster": cluster, "gateway": said.gateway, "launches": launches, "cancel": orders.cancel,
        "reports": said.reports.len(), "unknown": orders.unknown, "not_taken": orders.not_taken,
    });
    let answer = Answer::confidential(200, json!(orders), log);
    let answer = if idle { answer.at(Level::Debug) } else { answer };
    Ok(match fault {
        Some(fault) => answer.with_detail(fault.to_string()).at(Level::Error),
        None => answer,
    })
}

/// The cluster that a request is of, with the secret that it gave. A right one costs no step of the store.
fn authorize<'d, P: Platform>(
    platform: &P,
    request: &Request,
    definition: Option<&'d Definition>,
) -> Result<(&'d Definition, Secret), Failed> {
    let given = request.bearer().filter(|given| !given.is_empty());
    if let (Some(definition), Some(given)) = (definition, given)
        && definition.admits(given)
    {
        return Ok((definition, Secret::new(given)));
    }
    let client = Client::of(platform, request)?;
    let Some(given) = given else { return Err(Failed::Unauthorized(client)) };
    let right = definition.map(Definition::digests).unwrap_or_default();
    let right: Vec<&Secret> = right.iter().collect();
    match Guesses::of(platform, client, Door::Cluster).check(Giver::Program, None, &right, &digest(given))? {
        Checked::Limited { seconds } => Err(Failed::Limited { seconds, client }),
        Checked::Right | Checked::Wrong => Err(Failed::Unauthorized(client)),
    }
}

fn read(request: &Request) -> Result<Exchange, Failed> {
    let kind = request.header("content-type").unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Failed::MediaType);
    }
    let said: Exchange = serde_json::from_slice(&request.body)
        .map_err(|error| Failed::Malformed(format!("the body is not an exchange: {error}")))?;
    if !said.gateway.is_empty() && !is_plain(&said.gateway, b"-_.", 64) {
        return Err(Failed::Malformed("gateway: up to 64 letters, digits and -_.".to_owned()));
    }
    if said.reports.len() > MOST_REPORTS {
        return Err(Failed::Malformed(format!("reports: {MOST_REPORTS} at the most")));
    }
    Ok(said)
}
