//! Webhook received: `POST /api/github/webhooks`.
//!
//! Signature first, over the raw body; nothing is parsed before it. What follows from an authentic delivery is the same
//! however it came, so it is in a crate of its own; here are the headers, the signature and the answer. A 2xx means that
//! nothing of the delivery is lost. GitHub counts a delivery as failed after 10 s and never repeats it by itself, so all
//! calls of the gateway end within 7.

use std::time::Duration;

use gha_slurm_core::counters::{Counter, WebhookOutcome};
use gha_slurm_core::identity::DeliveryId;
use gha_slurm_core::ports::Platform;
use gha_slurm_core::settings::{SettingError, Settings, Webhooks};
use gha_slurm_delivery::{Decision, Delivery, Unhandled, Verdict, handle};
use gha_slurm_edge::answer::{Answer, Level};
use gha_slurm_edge::request::Request;
use serde_json::json;

use crate::signature::{self, SignatureError};

const EVENT: &str = "x-github-event";
const SIGNATURE: &str = "x-hub-signature-256";
const DELIVERY: &str = "x-github-delivery";

/// GitHub caps payloads at 25 MB.
pub const MAX_BODY_BYTES: usize = 25_000_000;

/// For all calls of the gateway together.
const BUDGET: Duration = Duration::from_secs(7);

/// Answers one delivery.
pub fn receive<P: Platform>(platform: &P, request: &Request) -> Answer {
    match Settings(platform).webhooks() {
        Ok(Webhooks::Receive) => {}
        // Who can sign may be GitHub, which was told of this address before; it is asked for the same delivery.
        Ok(Webhooks::Poll) => return Answer::error(404, NOT_HERE),
        Err(error) => return error.into(),
    }
    if request.method != "POST" {
        return Answer::method_not_allowed("POST");
    }
    let missing: Vec<_> =
        [EVENT, SIGNATURE, DELIVERY].into_iter().filter(|name| request.header(name).is_none()).collect();
    if !missing.is_empty() {
        return Answer::error(400, format!("Required headers missing: {}", missing.join(", ")));
    }
    let answer = match authentic(platform, request) {
        Ok(()) => handled(platform, request),
        Err(refusal) => {
            Counter::Webhook(refusal.outcome()).sample(platform);
            refusal.into()
        }
    };
    answer.with_log("delivery", request.header(DELIVERY).unwrap_or_default())
}

const NOT_HERE: &str = "webhooks are read from GitHub's list of deliveries here (webhooks = poll)";

/// Why nothing is done with a request.
enum Refusal {
    Signature(SignatureError),
    Setting(SettingError),
}

impl Refusal {
    fn outcome(&self) -> WebhookOutcome {
        match self {
            Self::Signature(_) => WebhookOutcome::Unauthorized,
            Self::Setting(_) => WebhookOutcome::Failed,
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Signature(error) => Self::error(401, error.to_string()),
            Refusal::Setting(error) => error.into(),
        }
    }
}

fn authentic<P: Platform>(platform: &P, request: &Request) -> Result<(), Refusal> {
    let secret = Settings(platform).webhook_secret().map_err(Refusal::Setting)?;
    signature::verify(&secret, &request.body, request.header(SIGNATURE).unwrap_or_default()).map_err(Refusal::Signature)
}

fn handled<P: Platform>(platform: &P, request: &Request) -> Answer {
    let id = request.header(DELIVERY).and_then(|id| DeliveryId::try_from(id.to_owned()).ok());
    let delivery = Delivery { event: request.header(EVENT).unwrap_or_default(), id, body: &request.body };
    match handle(platform, delivery, BUDGET) {
        Ok(verdict) => answer(verdict),
        Err(Unhandled::Malformed(error)) => Answer::error(400, error.to_string()),
        Err(Unhandled::Setting(error) | Unhandled::Profile(error)) => error.into(),
        Err(Unhandled::Store(error)) => error.into(),
    }
}

fn answer(verdict: Verdict) -> Answer {
    // Its launch is not submitted yet.
    let status = if matches!(verdict.decision, Decision::Offered | Decision::Deferred) { 202 } else { 200 };
    let Verdict { decision, reason, job, launch, worries, detail } = verdict;
    let body = json!({"decision": decision.word(), "reason": reason, "job": job, "launch": launch});
    Answer { level: worries.then_some(Level::Warn), detail, ..Answer::new(status, body) }
}
