//! Counters of what leaves no fact: ignored webhooks, refused redemptions, calls of GitHub.
//!
//! What strangers can cause is counted by sampling: one in 64, drawn at random, counts as 64. So a forged or ignored
//! webhook costs a write only once in 64 times, and the sum is right on average: of N events it is off by about 8·√N.

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
    /// A call of GitHub's API.
    GitHubCall(CallResult),
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
    /// It is about nothing of ours.
    Ignored,
    /// What it says was known.
    Duplicate,
    /// Its signature is wrong.
    Unauthorized,
    /// It is not what GitHub sends.
    Malformed,
    /// A setting or the store kept it from being handled.
    Failed,
}

/// Why a redemption got no credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedemptionOutcome {
    /// The launch token is not valid.
    Unauthorized,
    /// The launch token was redeemed before.
    Repeated,
    /// Nothing waits for the launch.
    Gone,
    /// A setting is wrong.
    Failed,
}

/// What came of a call of GitHub's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// A success.
    Ok,
    /// GitHub was down, slow, or limited the rate.
    Unavailable,
    /// The credential was not accepted.
    Unauthorized,
    /// Not there, or not for this App to see.
    NotFound,
    /// GitHub would not do it.
    Refused,
}

impl Counter {
    /// All of them, by metric.
    pub const ALL: [Self; 15] = [
        Self::Webhook(WebhookOutcome::Ignored),
        Self::Webhook(WebhookOutcome::Duplicate),
        Self::Webhook(WebhookOutcome::Unauthorized),
        Self::Webhook(WebhookOutcome::Malformed),
        Self::Webhook(WebhookOutcome::Failed),
        Self::Redemption(RedemptionOutcome::Unauthorized),
        Self::Redemption(RedemptionOutcome::Repeated),
        Self::Redemption(RedemptionOutcome::Gone),
        Self::Redemption(RedemptionOutcome::Failed),
        Self::GitHubCall(CallResult::Ok),
        Self::GitHubCall(CallResult::Unavailable),
        Self::GitHubCall(CallResult::Unauthorized),
        Self::GitHubCall(CallResult::NotFound),
        Self::GitHubCall(CallResult::Refused),
        Self::Suspicion(Suspicion::LaunchTokenReplayed),
    ];

    /// Its metric, and the metric's label with its value.
    pub fn series(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Webhook(outcome) => ("gha_slurm_webhooks_ignored_total", "outcome", outcome.word()),
            Self::Redemption(outcome) => ("gha_slurm_redemptions_refused_total", "outcome", outcome.word()),
            Self::GitHubCall(result) => ("gha_slurm_github_calls_total", "result", result.word()),
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
            // A count that is lost must not fail what it counts.
            let _ = platform.increment(&self.key(), i64::from(ONE_IN));
        }
    }

    /// Counts it exactly: for what is rare.
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
        }
    }
}

impl RedemptionOutcome {
    fn word(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Repeated => "repeated",
            Self::Gone => "gone",
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

/// What each counter stands at; one that never counted is 0.
pub fn all<S: Store>(store: &S) -> Result<Vec<(Counter, u64)>, StoreError> {
    let keys: Vec<String> = Counter::ALL.iter().map(|counter| counter.key()).collect();
    let known = store.get_many(&keys)?;
    let mut counts = Vec::with_capacity(keys.len());
    for ((counter, key), known) in Counter::ALL.into_iter().zip(&keys).zip(known) {
        // Its bytes differ from backend to backend; only `increment` reads it.
        let count = if known.is_some() { store.increment(key, 0)? } else { 0 };
        counts.push((counter, u64::try_from(count).unwrap_or(0)));
    }
    Ok(counts)
}
