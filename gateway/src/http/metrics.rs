//! Counters for Prometheus, by route and outcome.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

#[derive(Default)]
pub(super) struct Metrics {
    answers: Mutex<BTreeMap<(&'static str, u16), u64>>,
}

impl Metrics {
    pub(super) fn count(&self, route: &'static str, status: u16) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry((route, status)).or_default() += 1;
    }

    /// The text format of Prometheus, version 0.0.4.
    pub(super) fn text(&self) -> String {
        let mut text = String::from(
            "# HELP gha_slurm_gateway_answers_total Answers by route and status.\n\
             # TYPE gha_slurm_gateway_answers_total counter\n",
        );
        for ((route, status), count) in self.answers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(text, "gha_slurm_gateway_answers_total{{route=\"{route}\",status=\"{status}\"}} {count}");
        }
        text
    }
}
