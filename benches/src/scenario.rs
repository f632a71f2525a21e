//! What is asked of the server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clap::ValueEnum;
use gha_slurm_simulator::github::sign;
use http_body_util::Full;
use hyper::Request;
use url::Url;

use crate::instant::Gateway;
use crate::load::Requests;
use crate::payload::payload;

const OURS: &[&str] = &["self-hosted", "slurm"];
/// No job of another scenario has this number, nor one of another run in the same store.
static JOB: LazyLock<AtomicU64> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    AtomicU64::new(now.as_secs() * 100_000)
});

/// A kind of load.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// A component that only answers.
    Floor,
    /// A delivery with a signature that does not match.
    BadSignature,
    /// A job with a label that no profile has.
    Ignored,
    /// A queued job that nobody has seen.
    Queued,
    /// The same queued job again.
    Duplicate,
    /// A launch token, once.
    Redeem,
    /// Of ten: six new jobs, two ignored, one duplicate, one with a bad signature.
    Mixed,
}

/// Where it is asked, and with what.
pub(crate) struct World {
    pub(crate) base: Url,
    pub(crate) secret: String,
    pub(crate) gateway: Gateway,
}

impl Scenario {
    pub(crate) const ALL: &[Self] =
        &[Self::Floor, Self::BadSignature, Self::Ignored, Self::Queued, Self::Duplicate, Self::Redeem, Self::Mixed];

    /// As the command line and the table call it.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The status of a request that went as it should.
    pub(crate) fn expects(self, status: u16) -> bool {
        match self {
            Self::BadSignature => status == 401,
            Self::Mixed => matches!(status, 200 | 401),
            _ => status == 200,
        }
    }

    /// Where its requests come from.
    pub(crate) fn requests(self, world: &World) -> anyhow::Result<Requests> {
        let sender = Sender { secret: world.secret.clone(), host: host(&world.base) };
        let ignored = sender.fixed(&payload("queued", 1, &["ubuntu-latest"]));
        let duplicate = sender.fixed(&payload("queued", JOB.fetch_add(1, Ordering::Relaxed), OURS));
        let mut forged = sender.fixed(&payload("queued", 1, OURS));
        forged.signature = sign("another secret", &forged.body);
        let floor = host(&world.base);
        let gateway = world.gateway.clone();
        Ok(match self {
            Self::Floor => {
                Arc::new(move || Request::post("/floor").header("host", &floor).body(Full::new(Bytes::new())).ok())
            }
            Self::BadSignature => Arc::new(move || forged.request()),
            Self::Ignored => Arc::new(move || ignored.request()),
            Self::Duplicate => Arc::new(move || duplicate.request()),
            Self::Queued => Arc::new(move || sender.new_job()),
            Self::Redeem => Arc::new(move || {
                let token = gateway.token()?;
                let request = Request::post("/gha/runner").header("host", &floor).header("authorization", token);
                request.body(Full::new(Bytes::new())).ok()
            }),
            Self::Mixed => {
                let turn = AtomicU64::new(0);
                Arc::new(move || match turn.fetch_add(1, Ordering::Relaxed) % 10 {
                    0..6 => sender.new_job(),
                    6 | 7 => ignored.request(),
                    8 => duplicate.request(),
                    _ => forged.request(),
                })
            }
        })
    }
}

struct Sender {
    secret: String,
    host: String,
}

/// A delivery that is signed once and sent many times.
struct Fixed {
    host: String,
    signature: String,
    body: Bytes,
}

impl Sender {
    fn fixed(&self, payload: &str) -> Fixed {
        let body = Bytes::from(payload.to_owned());
        Fixed { host: self.host.clone(), signature: sign(&self.secret, &body), body }
    }

    fn new_job(&self) -> Option<Request<Full<Bytes>>> {
        self.fixed(&payload("queued", JOB.fetch_add(1, Ordering::Relaxed), OURS)).request()
    }
}

impl Fixed {
    fn request(&self) -> Option<Request<Full<Bytes>>> {
        Request::post("/api/github/webhooks")
            .header("host", &self.host)
            .header("content-type", "application/json")
            .header("user-agent", "GitHub-Hookshot/bench")
            .header("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
            .header("x-github-event", "workflow_job")
            .header("x-hub-signature-256", &self.signature)
            .body(Full::new(self.body.clone()))
            .ok()
    }
}

fn host(base: &Url) -> String {
    match (base.host_str(), base.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    }
}
