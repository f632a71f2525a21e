//! What Prometheus is told of the exchanges.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

#[derive(Default)]
pub(crate) struct Metrics(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    exchanges: BTreeMap<&'static str, u64>,
    last_good: Option<Instant>,
    now: Now,
}

/// How many launches and reports there are.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Now {
    /// Leased, and neither submitted nor given back.
    pub(super) leased: usize,
    /// Of these, those that wait for their turn.
    pub(super) waiting: usize,
    /// All that are not over.
    pub(super) living: u32,
    /// Reports that no good exchange has carried yet.
    pub(super) reports: usize,
}

impl Metrics {
    pub(super) fn count(&self, result: &'static str, now: Now) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counted.exchanges.entry(result).or_default() += 1;
        counted.now = now;
        if result == "ok" {
            counted.last_good = Some(Instant::now());
        }
    }

    /// The text format of Prometheus, version 0.0.4.
    pub(crate) fn text(&self) -> String {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::from(
            "# HELP gha_slurm_gateway_exchanges_total Exchanges with the app by result.\n\
             # TYPE gha_slurm_gateway_exchanges_total counter\n",
        );
        for (result, count) in &counted.exchanges {
            let _ = writeln!(text, "gha_slurm_gateway_exchanges_total{{result=\"{result}\"}} {count}");
        }
        if let Some(last) = counted.last_good {
            let _ = writeln!(
                text,
                "# HELP gha_slurm_gateway_last_exchange_age_seconds How long ago the last good exchange was.\n\
                 # TYPE gha_slurm_gateway_last_exchange_age_seconds gauge\n\
                 gha_slurm_gateway_last_exchange_age_seconds {:.3}",
                last.elapsed().as_secs_f64()
            );
        }
        let Now { leased, waiting, living, reports } = counted.now;
        let _ = write!(
            text,
            "# HELP gha_slurm_gateway_fetched_launches Launches that came by fetching: leased and not submitted yet, \
             those of them that wait for their turn, and all that are not over.\n\
             # TYPE gha_slurm_gateway_fetched_launches gauge\n\
             gha_slurm_gateway_fetched_launches{{is=\"leased\"}} {leased}\n\
             gha_slurm_gateway_fetched_launches{{is=\"waiting\"}} {waiting}\n\
             gha_slurm_gateway_fetched_launches{{is=\"living\"}} {living}\n\
             # HELP gha_slurm_gateway_reports Reports that the app has not taken yet.\n\
             # TYPE gha_slurm_gateway_reports gauge\n\
             gha_slurm_gateway_reports {reports}\n"
        );
        text
    }
}
