//! What leaves no fact, counted by sampling: one in 64, drawn at random, is counted as 64. So a forged or ignored webhook
//! costs no write but for one in 64, and the sum is right on average: of N events it is off by about 8·√N.

use std::collections::BTreeMap;

use crate::answer::Answer;
use crate::github::client::GitHubError;
use crate::ledger::PREFIX;
use crate::ports::{Random, Store, StoreError};

const ONE_IN: u8 = 64;

/// The outcomes by metric.
const COUNTERS: &[(&str, &str, &[&str])] = &[
    ("gha_slurm_webhooks_ignored_total", "outcome", &["ignored", "duplicate", "unauthorized", "malformed", "failed"]),
    ("gha_slurm_redemptions_refused_total", "outcome", &["unauthorized", "repeated", "gone", "failed"]),
    ("gha_slurm_github_calls_total", "result", &["ok", "unavailable", "unauthorized", "not_found", "refused"]),
];

fn key(metric: &str, outcome: &str) -> String {
    format!("{PREFIX}/count/{metric}/{outcome}")
}

fn sample<P: Store + Random>(platform: &P, metric: &str, outcome: &str) {
    let mut drawn = [0];
    platform.fill(&mut drawn);
    if drawn[0] % ONE_IN == 0 {
        // A count that is lost must not fail what it counts.
        let _ = platform.increment(&key(metric, outcome), i64::from(ONE_IN));
    }
}

/// Counts a webhook by its answer, unless it left a fact.
pub(crate) fn webhook<P: Store + Random>(platform: &P, answer: &Answer) {
    let outcome = match (answer.status, answer.body.get("decision").and_then(serde_json::Value::as_str)) {
        (_, Some("ignored")) => "ignored",
        (_, Some("duplicate")) => "duplicate",
        (_, Some(_)) => return,
        (401, _) => "unauthorized",
        (400..=499, _) => "malformed",
        _ => "failed",
    };
    sample(platform, "gha_slurm_webhooks_ignored_total", outcome);
}

/// Counts a redemption by its answer, unless it left a fact.
pub(crate) fn redemption<P: Store + Random>(platform: &P, answer: &Answer) {
    let outcome = match answer.status {
        401 => "unauthorized",
        409 => "repeated",
        410 => "gone",
        500 => "failed",
        // Granted, or GitHub failed it, or another one is under way.
        _ => return,
    };
    sample(platform, "gha_slurm_redemptions_refused_total", outcome);
}

/// Counts a call of GitHub's API. Failures are rare, and each says something: they are counted one by one.
pub(crate) fn github_call<P: Store + Random>(platform: &P, failure: Option<&GitHubError>) {
    let metric = "gha_slurm_github_calls_total";
    let result = match failure {
        None => return sample(platform, metric, "ok"),
        Some(GitHubError::Unavailable { .. }) => "unavailable",
        Some(GitHubError::Unauthorized(_)) => "unauthorized",
        Some(GitHubError::NotFound(_)) => "not_found",
        Some(GitHubError::Refused(_)) => "refused",
        Some(GitHubError::Setting(_)) => return,
    };
    let _ = platform.increment(&key(metric, result), 1);
}

/// The series of all of them; one that never happened is 0.
pub(super) fn all<P: Store>(platform: &P) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut series = BTreeMap::new();
    for (metric, label, outcomes) in COUNTERS {
        let keys: Vec<String> = outcomes.iter().map(|outcome| key(metric, outcome)).collect();
        let known = platform.get_many(&keys)?;
        for ((outcome, key), known) in outcomes.iter().zip(&keys).zip(known) {
            // Its bytes differ from backend to backend; only `increment` reads it.
            let count = if known.is_some() { platform.increment(key, 0)? } else { 0 };
            series.insert(format!("{metric}{{{label}=\"{outcome}\"}}"), u64::try_from(count).unwrap_or(0));
        }
    }
    Ok(series)
}
