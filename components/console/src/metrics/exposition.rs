//! Metrics in Prometheus' text format.
//!
//! Most of them are derived from facts when they are asked for, so webhooks and redemptions spend no time on counting. A
//! counter must not fall when old jobs are deleted, so they are added to a tally first ([`gha_slurm_overview::tally`]).
//! Events that leave no fact are sampled ([`gha_slurm_core::counters`]). The values of labels are bounded: profiles are the
//! administrator's, and only [`MOST_REPOSITORIES`] repositories have their own series.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use gha_slurm_core::cluster::How;
use gha_slurm_core::counters;
use gha_slurm_core::ports::{Clock, Store, StoreError, Variables};
use gha_slurm_overview::tally::{BOUNDS, Tally, bucket, end, escape};
use gha_slurm_overview::{ClusterSummary, Row, Stage, State, all_rows, cluster_summaries, named, reading};

use super::families::{FAMILIES, Kind};

/// The content type of the text format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How many repositories, those with the most waiting jobs, have their own series; the rest share one.
const MOST_REPOSITORIES: usize = 100;
/// The series of the rest. No repository can have this name.
const OTHERS: &str = "others";
/// How many jobs are read from their facts for one answer.
const BUDGET: usize = 8192;

/// All metrics as text.
pub(crate) fn text<P: Store + Clock + Variables>(platform: &P) -> Result<String, StoreError> {
    let (rows, reader) = all_rows(platform, BUDGET)?;
    let mut series: BTreeMap<String, u64> = BTreeMap::new();
    series.insert("gha_slurm_metrics_complete".to_owned(), u64::from(reader.complete));
    series.insert("gha_slurm_unreadable_facts".to_owned(), u64::try_from(reader.problems.len()).unwrap_or(u64::MAX));
    gauges(&mut series, &rows, platform.unix_seconds());
    // What is wrong with the variable, the pages say.
    if let Ok(Some(clusters)) = named(platform) {
        for cluster in cluster_summaries(platform, &clusters, &rows)? {
            of_cluster(&mut series, &cluster, platform.unix_seconds());
        }
    }
    if let Some(arrival) = reading(platform)? {
        let since = platform.unix_seconds().saturating_sub(arrival.read_at);
        series.insert("gha_slurm_deliveries_last_read_seconds".to_owned(), since);
        series.insert("gha_slurm_deliveries_behind".to_owned(), arrival.behind);
    }
    if reader.complete {
        let mut tally = Tally::kept(platform)?;
        let through = tally.through;
        tally.add(rows.iter().filter(|row| through.is_none_or(|through| row.place.bucket > through)));
        series.extend(tally.series);
    }
    for (counter, count) in counters::all(platform)? {
        let (metric, label, value) = counter.series();
        series.insert(format!("{metric}{{{label}=\"{value}\"}}"), count);
    }
    Ok(render(&series))
}

fn gauges(series: &mut BTreeMap<String, u64>, rows: &[Row], now: u64) {
    let mut repositories: HashMap<&str, (u64, u64)> = HashMap::new();
    for row in rows.iter().filter(|row| !row.repository.is_empty()) {
        let (waiting, oldest) = repositories.entry(&row.repository).or_default();
        if row.state.waits() {
            *waiting += 1;
            *oldest = (*oldest).max(row.times.waited(now).unwrap_or(0));
        }
        if row.state.waits() || row.state == State::Running {
            let name = format!("gha_slurm_jobs{{profile=\"{}\",state=\"{}\"}}", escape(&row.profile), row.state);
            *series.entry(name).or_default() += 1;
        }
    }
    let mut repositories: Vec<(&str, (u64, u64))> = repositories.into_iter().collect();
    repositories.sort_by_key(|(name, (waiting, _))| (std::cmp::Reverse(*waiting), *name));
    for (index, (repository, (waiting, oldest))) in repositories.into_iter().enumerate() {
        let repository = escape(if index < MOST_REPOSITORIES { repository } else { OTHERS });
        *series.entry(format!("gha_slurm_jobs_waiting{{repository=\"{repository}\"}}")).or_default() += waiting;
        let age = series.entry(format!("gha_slurm_oldest_job_age_seconds{{repository=\"{repository}\"}}")).or_default();
        *age = (*age).max(oldest);
    }
}

fn of_cluster(series: &mut BTreeMap<String, u64>, cluster: &ClusterSummary, now: u64) {
    // A name of letters, digits and hyphens needs no escaping.
    let name = &cluster.cluster;
    if let Some(at) = cluster.heard_at {
        let series_name = format!("gha_slurm_cluster_last_heard_seconds{{cluster=\"{name}\"}}");
        series.insert(series_name, now.saturating_sub(at));
    }
    if cluster.reach == How::Fetch {
        series.insert(format!("gha_slurm_cluster_silent{{cluster=\"{name}\"}}"), u64::from(cluster.silent));
    }
    series.insert(format!("gha_slurm_cluster_waiting_launches{{cluster=\"{name}\"}}"), cluster.waiting);
    // What a silent one said is no queue any more.
    if let Some(queue) = cluster.queue.filter(|_| !cluster.silent) {
        for (state, length) in [("pending", queue.pending), ("running", queue.running)] {
            let series_name = format!("gha_slurm_cluster_queue{{cluster=\"{name}\",state=\"{state}\"}}");
            series.insert(series_name, u64::from(length));
        }
    }
}

fn render(series: &BTreeMap<String, u64>) -> String {
    let mut text = String::new();
    for family in FAMILIES {
        let mut of_family: Vec<(String, u64)> = Vec::new();
        let mut take = |name: String| of_family.extend(series.get(&name).map(|value| (name, *value)));
        if family.kind == Kind::Histogram {
            // In the order that readers expect.
            for stage in Stage::ALL {
                BOUNDS.iter().for_each(|bound| take(bucket(stage, &bound.to_string())));
                take(bucket(stage, "+Inf"));
                ["sum", "count"].iter().for_each(|part| take(end(stage, part)));
            }
        } else {
            let of = |name: &&String| name.split('{').next() == Some(family.name);
            of_family.extend(series.iter().filter(|(name, _)| of(name)).map(|(name, value)| (name.clone(), *value)));
        }
        if of_family.is_empty() {
            continue;
        }
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {} {}", family.name, family.help);
        let _ = writeln!(text, "# TYPE {} {}", family.name, family.kind.word());
        for (name, value) in of_family {
            let _ = writeln!(text, "{name} {value}");
        }
    }
    text
}
