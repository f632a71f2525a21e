//! Counters of events that leave no fact: ignored webhooks, refused redemptions, calls to GitHub.
//!
//! Events that strangers can cause are sampled: one in 64, picked at random, counts as 64. So only one in 64 forged or
//! ignored webhooks costs a write, and the sum is right on average: for N events, it is off by about 8·√N.

use crate::ledger::keys;
use crate::ports::{Random, Store, StoreError};

const ONE_IN: u8 = 64;

/// Something that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// A webhook that left no fact.
    Webhook(WebhookOutcome),
    /// A redemption that left no fact.
    Redemption(RedemptionOutcome),
    /// A call to GitHub's API.
    GitHubCall(CallResult),
    /// The check on a compute node refused the job that GitHub gave to a launch's runner.
    RefusedAtNode,
    /// Something that an attack would look like. Each is counted once, where its fact is written.
    Suspicion(Suspicion),
}

/// What looks like an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// The token of a launch came again after its credential was handed out: it was stolen, or an answer was lost.
    LaunchTokenReplayed,
}

/// What became of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// It concerns no job of a profile.
    Ignored,
    /// What it says was known already.
    Duplicate,
    /// Its signature is wrong.
    Unauthorized,
    /// It is not what GitHub sends.
    Malformed,
    /// It could not be handled because of a setting or the store.
    Failed,
    /// GitHub lists it and does not show it, or not so that it can be read.
    Unreadable,
}

/// Why a redemption got no credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedemptionOutcome {
    /// The launch token is not valid.
    Unauthorized,
    /// The launch token was redeemed before.
    Repeated,
    /// No job waits for the launch.
    Gone,
    /// The rules of its profile do not allow the run.
    Denied,
    /// A setting is wrong.
    Failed,
}

/// The result of a call to GitHub's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// A success.
    Ok,
    /// GitHub was down, slow, or over its rate limit.
    Unavailable,
    /// The credential was not accepted.
    Unauthorized,
    /// It does not exist, or this App may not see it.
    NotFound,
    /// GitHub refused it.
    Refused,
}

impl Counter {
    /// All of them, by metric.
    pub const ALL: [Self; 18] = [
        Self::Webhook(WebhookOutcome::Ignored),
        Self::Webhook(WebhookOutcome::Duplicate),
        Self::Webhook(WebhookOutcome::Unauthorized),
        Self::Webhook(WebhookOutcome::Malformed),
        Self::Webhook(WebhookOutcome::Failed),
        Self::Webhook(WebhookOutcome::Unreadable),
        Self::Redemption(RedemptionOutcome::Unauthorized),
        Self::Redemption(RedemptionOutcome::Repeated),
        Self::Redemption(RedemptionOutcome::Gone),
        Self::Redemption(RedemptionOutcome::Denied),
        Self::Redemption(RedemptionOutcome::Failed),
        Self::GitHubCall(CallResult::Ok),
        Self::GitHubCall(CallResult::Unavailable),
        Self::GitHubCall(CallResult::Unauthorized),
        Self::GitHubCall(CallResult::NotFound),
        Self::GitHubCall(CallResult::Refused),
        Self::RefusedAtNode,
        Self::Suspicion(Suspicion::LaunchTokenReplayed),
    ];

    /// Its metric, and the metric's label with its value.
    pub fn series(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Webhook(outcome) => ("gha_slurm_webhooks_ignored_total", "outcome", outcome.word()),
            Self::Redemption(outcome) => ("gha_slurm_redemptions_refused_total", "outcome", outcome.word()),
            Self::GitHubCall(result) => ("gha_slurm_github_calls_total", "result", result.word()),
            Self::RefusedAtNode => ("gha_slurm_jobs_refused_at_the_node_total", "by", "check"),
            Self::Suspicion(suspicion) => ("gha_slurm_suspicions_total", "kind", suspicion.word()),
        }
    }

    fn key(self) -> String {
        let (metric, _, value) = self.series();
        keys::count(metric, value)
    }

    /// Counts it by sampling.
    pub fn sample<P: Store + Random>(self, platform: &P) {
        let mut drawn = [0];
        platform.fill(&mut drawn);
        if drawn[0] % ONE_IN == 0 {
            // A lost count must not fail the request that it counts.
            let _ = platform.increment(&self.key(), i64::from(ONE_IN));
        }
    }

    /// Counts it exactly: for rare events.
    pub fn count(self, store: &impl Store) {
        let _ = store.increment(&self.key(), 1);
    }
}

impl WebhookOutcome {
    fn word(self) -> &'static str {
        match self {
            Self::Ignored => "ignored",
            Self::Duplicate => "duplicate",
            Self::Unauthorized => "unauthorized",
            Self::Malformed => "malformed",
            Self::Failed => "failed",
            Self::Unreadable => "unreadable",
        }
    }
}

impl RedemptionOutcome {
    fn word(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Repeated => "repeated",
            Self::Gone => "gone",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

impl Suspicion {
    fn word(self) -> &'static str {
        match self {
            Self::LaunchTokenReplayed => "launch_token_replayed",
        }
    }
}

impl CallResult {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unavailable => "unavailable",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
        }
    }
}

/// The values of all counters; one that never counted is 0.
pub fn all<S: Store>(store: &S) -> Result<Vec<(Counter, u64)>, StoreError> {
    let keys: Vec<String> = Counter::ALL.iter().map(|counter| counter.key()).collect();
    let known = store.get_many(&keys)?;
    let mut counts = Vec::with_capacity(keys.len());
    for ((counter, key), known) in Counter::ALL.into_iter().zip(&keys).zip(known) {
        // Backends store it differently; only `increment` reads it.
        let count = if known.is_some() { store.increment(key, 0)? } else { 0 };
        counts.push((counter, u64::try_from(count).unwrap_or(0)));
    }
    Ok(counts)
}
