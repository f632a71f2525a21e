//! The table.

use std::fs;
use std::time::Duration;

use crate::load::{Load, as_f64};
use crate::scenario::Scenario;
use crate::server::Process;

/// Prints rows as they come.
pub(crate) struct Report {
    floor: Option<f64>,
    wrong: Vec<String>,
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

impl Report {
    pub(crate) fn new(connections: usize) -> Self {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        println!("{cores} cores, load average before: {}; {connections} connections", load.trim());
        Self { floor: None, wrong: Vec::new() }
    }

    pub(crate) fn idle(&self, process: Option<&Process>) {
        if let Some(process) = process {
            let started =
                process.started.map(|time| format!(", listening after {} ms", millis(time))).unwrap_or_default();
            println!("idle: {} MiB{started}", process.memory().unwrap_or(0));
        }
        println!("\n| scenario | req/s | of the floor | p50 ms | p99 ms | CPU ms per request | MiB |");
        println!("|---|---|---|---|---|---|---|");
    }

    pub(crate) fn row(&mut self, scenario: Scenario, load: &Load, cpu: Option<Duration>, process: Option<&Process>) {
        let rate = load.per_second();
        if scenario == Scenario::Floor {
            self.floor = Some(rate);
        }
        let share = self.floor.map(|floor| format!("{:.0} %", rate / floor * 100.0)).unwrap_or_default();
        let count = as_f64(load.latencies.len().max(1));
        let cpu = cpu.map(|cpu| format!("{:.3}", cpu.as_secs_f64() * 1000.0 / count)).unwrap_or_default();
        let memory = process.and_then(Process::memory).map(|mib| mib.to_string()).unwrap_or_default();
        let (p50, p99) = (millis(load.quantile(0.5)), millis(load.quantile(0.99)));
        println!("| {} | {rate:.0} | {share} | {p50} | {p99} | {cpu} | {memory} |", scenario.name());
        for (status, count) in load.statuses.iter().filter(|(status, _)| !scenario.expects(*status)) {
            self.wrong.push(format!("{}: {count} answers with status {status}", scenario.name()));
        }
    }

    /// What did not go as it should: figures of failures are no figures.
    pub(crate) fn end(&self) {
        println!();
        for line in &self.wrong {
            println!("NOT AS IT SHOULD BE: {line}");
        }
    }
}
