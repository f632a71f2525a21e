//! Counters that are derived from facts, and those of jobs that were deleted.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use gha_slurm_core::ledger::{Bucket, keys, read, write};
use gha_slurm_core::ports::{Clock, Store, StoreError, Variables};
use serde::{Deserialize, Serialize};

use crate::{Reader, Row, Stage};

/// Upper bounds of the stages' histogram, in seconds.
pub const BOUNDS: [u64; 11] = [1, 5, 15, 30, 60, 300, 900, 3600, 14_400, 43_200, 86_400];

/// GitHub's conclusions; all others count as one.
const CONCLUSIONS: [&str; 8] =
    ["success", "failure", "cancelled", "skipped", "timed_out", "neutral", "action_required", "stale"];

/// Sums by series.
#[derive(Default, Serialize, Deserialize)]
pub struct Tally {
    /// The jobs of all buckets up to this one are included.
    pub through: Option<Bucket>,
    pub series: BTreeMap<String, u64>,
}

pub fn bucket(stage: Stage, bound: &str) -> String {
    format!("gha_slurm_stage_seconds_bucket{{stage=\"{}\",le=\"{bound}\"}}", stage.word())
}

pub fn end(stage: Stage, end: &str) -> String {
    format!("gha_slurm_stage_seconds_{end}{{stage=\"{}\"}}", stage.word())
}

impl Tally {
    pub fn kept<P: Store>(platform: &P) -> Result<Self, StoreError> {
        Ok(read(platform, &keys::tick_tally())?.unwrap_or_default())
    }

    fn count(&mut self, series: String, by: u64) {
        let sum = self.series.entry(series).or_default();
        *sum = sum.saturating_add(by);
    }

    /// Adds jobs. What a job adds only grows as it gets more facts.
    pub fn add<'r>(&mut self, rows: impl Iterator<Item = &'r Row>) {
        let mut sums = Sums::default();
        rows.for_each(|row| sums.add(row));
        sums.flush(self);
    }
}

/// Counters of a profile, in the order of [`Sums::add`].
const OF_PROFILE: [&str; 5] = ["jobs_queued", "jobs_started", "launches", "relaunches", "submit_failures"];

/// Sums before they become a tally, so that the names of series are made once and not for each of many jobs.
#[derive(Default)]
struct Sums {
    profiles: HashMap<Rc<str>, [u64; OF_PROFILE.len()]>,
    finished: HashMap<(Rc<str>, &'static str), u64>,
    granted: u64,
    failed: u64,
    stages: [StageSum; Stage::ALL.len()],
}

#[derive(Default)]
struct StageSum {
    within: [u64; BOUNDS.len()],
    seconds: u64,
    jobs: u64,
}

impl Sums {
    fn add(&mut self, row: &Row) {
        let counts = [
            u64::from(!row.repository.is_empty()),
            u64::from(row.times.started.is_some()),
            u64::from(row.launches),
            u64::from(row.launches.saturating_sub(1)),
            row.submit_failures,
        ];
        let sums = self.profiles.entry(Rc::clone(&row.profile)).or_default();
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        if row.times.finished.is_some() {
            let conclusion = CONCLUSIONS.into_iter().find(|known| **known == *row.conclusion).unwrap_or("other");
            *self.finished.entry((Rc::clone(&row.profile), conclusion)).or_default() += 1;
        }
        self.granted += u64::from(row.times.redeemed.is_some());
        self.failed += row.redeem_failures;
        for (stage, sum) in Stage::ALL.iter().zip(&mut self.stages) {
            let Some((_, seconds)) = stage.of(&row.times) else { continue };
            sum.within.iter_mut().zip(BOUNDS).for_each(|(within, bound)| *within += u64::from(seconds <= bound));
            sum.seconds = sum.seconds.saturating_add(seconds);
            sum.jobs += 1;
        }
    }

    fn flush(self, tally: &mut Tally) {
        for (profile, sums) in self.profiles {
            let profile = escape(&profile);
            for (name, sum) in OF_PROFILE.iter().zip(sums).filter(|(_, sum)| *sum > 0) {
                tally.count(format!("gha_slurm_{name}_total{{profile=\"{profile}\"}}"), sum);
            }
        }
        for ((profile, conclusion), sum) in self.finished {
            let labels = format!("{{profile=\"{}\",conclusion=\"{conclusion}\"}}", escape(&profile));
            tally.count(format!("gha_slurm_jobs_finished_total{labels}"), sum);
        }
        for (outcome, sum) in [("granted", self.granted), ("failed", self.failed)] {
            tally.count(format!("gha_slurm_redemptions_total{{outcome=\"{outcome}\"}}"), sum);
        }
        for (stage, sum) in Stage::ALL.into_iter().zip(self.stages).filter(|(_, sum)| sum.jobs > 0) {
            for (bound, within) in BOUNDS.iter().zip(sum.within) {
                tally.count(bucket(stage, &bound.to_string()), within);
            }
            tally.count(bucket(stage, "+Inf"), sum.jobs);
            tally.count(end(stage, "sum"), sum.seconds);
            tally.count(end(stage, "count"), sum.jobs);
        }
    }
}

/// Adds the jobs of a bucket to the tally before they are deleted. Once for each bucket, the oldest first: after a crash
/// during the deletion, the bucket is in the tally already.
pub fn fold<P: Store + Clock + Variables>(platform: &P, bucket: Bucket) -> Result<(), StoreError> {
    let mut tally = Tally::kept(platform)?;
    if tally.through.is_some_and(|through| through >= bucket) {
        return Ok(());
    }
    tally.add(Reader::new(platform, usize::MAX).bucket(bucket)?.iter());
    tally.through = Some(bucket);
    write(platform, &keys::tick_tally(), &tally)
}

/// A label's value, escaped for the text format.
pub fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
