//! Counters made of facts, and those of jobs that are deleted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::escape;
use crate::ledger::{Bucket, PREFIX, read, write};
use crate::overview::{Reader, Row, Stage};
use crate::ports::{Clock, Store, StoreError};

/// Upper bounds of the stages' histogram, in seconds.
pub(super) const BOUNDS: [u64; 11] = [1, 5, 15, 30, 60, 300, 900, 3600, 14_400, 43_200, 86_400];

/// GitHub's words for a conclusion; others count as one.
const CONCLUSIONS: [&str; 8] =
    ["success", "failure", "cancelled", "skipped", "timed_out", "neutral", "action_required", "stale"];

/// Sums by series.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Tally {
    /// The jobs of all buckets up to this one are in it for good.
    pub(super) through: Option<Bucket>,
    pub(super) series: BTreeMap<String, u64>,
}

fn key() -> String {
    format!("{PREFIX}/tick/tally")
}

pub(super) fn bucket(stage: Stage, bound: &str) -> String {
    format!("gha_slurm_stage_seconds_bucket{{stage=\"{}\",le=\"{bound}\"}}", stage.word())
}

pub(super) fn end(stage: Stage, end: &str) -> String {
    format!("gha_slurm_stage_seconds_{end}{{stage=\"{}\"}}", stage.word())
}

impl Tally {
    pub(super) fn kept<P: Store>(platform: &P) -> Result<Self, StoreError> {
        Ok(read(platform, &key())?.unwrap_or_default())
    }

    fn count(&mut self, series: String, by: u64) {
        let sum = self.series.entry(series).or_default();
        *sum = sum.saturating_add(by);
    }

    /// Adds a job. What it adds only grows with the job's facts.
    pub(super) fn add(&mut self, row: &Row) {
        let profile = escape(&row.profile);
        let mut of_profile = |name: &str, by: u64| {
            if by > 0 {
                self.count(format!("gha_slurm_{name}_total{{profile=\"{profile}\"}}"), by);
            }
        };
        of_profile("jobs_queued", u64::from(!row.repository.is_empty()));
        of_profile("jobs_started", u64::from(row.times.started.is_some()));
        of_profile("launches", u64::from(row.launches));
        of_profile("relaunches", u64::from(row.launches.saturating_sub(1)));
        of_profile("submit_failures", row.submit_failures);
        if row.times.finished.is_some() {
            let known = CONCLUSIONS.contains(&&*row.conclusion);
            let conclusion = if known { &*row.conclusion } else { "other" };
            let labels = format!("{{profile=\"{profile}\",conclusion=\"{conclusion}\"}}");
            self.count(format!("gha_slurm_jobs_finished_total{labels}"), 1);
        }
        let redemption = |outcome: &str| format!("gha_slurm_redemptions_total{{outcome=\"{outcome}\"}}");
        self.count(redemption("granted"), u64::from(row.times.redeemed.is_some()));
        self.count(redemption("failed"), row.redeem_failures);
        for (stage, seconds) in Stage::ALL.iter().filter_map(|stage| Some((*stage, stage.of(&row.times)?.1))) {
            for bound in BOUNDS {
                self.count(bucket(stage, &bound.to_string()), u64::from(seconds <= bound));
            }
            self.count(bucket(stage, "+Inf"), 1);
            self.count(end(stage, "sum"), seconds);
            self.count(end(stage, "count"), 1);
        }
    }
}

/// Takes the jobs of a bucket into the tally, before they are deleted. Once for each bucket, the oldest first: after a
/// crash in the middle of the deletion the bucket is in the tally already.
pub(crate) fn fold<P: Store + Clock>(platform: &P, bucket: Bucket) -> Result<(), StoreError> {
    let mut tally = Tally::kept(platform)?;
    if tally.through.is_some_and(|through| through >= bucket) {
        return Ok(());
    }
    for row in Reader::new(platform, usize::MAX).bucket(bucket)? {
        tally.add(&row);
    }
    tally.through = Some(bucket);
    write(platform, &key(), &tally)
}
