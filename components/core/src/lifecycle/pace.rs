//! How many calls of the gateway are on the way at once.
//!
//! After an outage everything that waited comes at once. One after the other that takes minutes; all together it drowns
//! the gateway, or the Slurm behind it. So a run begins with some, goes wider while all goes well, and halves what it
//! sends when the gateway has enough.

use super::Fault;
use super::progress::{Delay, Progress};
use crate::ledger::FailureKind;

const FIRST_WIDTH: usize = 16;
const WIDEST: usize = 32;
/// A webhook has a few seconds.
const OF_A_WEBHOOK: usize = 4;
/// So many rounds of nothing but failures, and the gateway is away for this run.
const LOST_ROUNDS: u32 = 2;

/// The pace of one run.
#[derive(Debug)]
pub struct Pace {
    width: usize,
    widest: usize,
    lost_rounds: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { width: FIRST_WIDTH, widest: WIDEST, lost_rounds: 0 }
    }
}

impl Pace {
    /// That of a webhook, which is to be answered first of all.
    pub fn of_a_webhook() -> Self {
        Self { width: OF_A_WEBHOOK, widest: OF_A_WEBHOOK, lost_rounds: 0 }
    }

    /// How many may be on the way at once.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Whether the gateway is away, as far as this run is concerned.
    pub fn stopped(&self) -> bool {
        self.lost_rounds >= LOST_ROUNDS
    }

    /// Learns from the results of one round.
    pub(super) fn observe(&mut self, round: &[Result<Progress, Fault>]) {
        let away = |result: &&Result<Progress, Fault>| matches!(result, Ok(Progress::Deferred(_, Delay::Failed(failure))) if failure.kind == FailureKind::Away);
        self.learn(round.len(), round.iter().filter(away).count());
    }

    /// Learns that of so many calls some failed because the gateway was away or had enough.
    pub fn learn(&mut self, calls: usize, failed: usize) {
        if calls == 0 {
            return;
        }
        self.width = if failed == 0 { self.widest.min(self.width * 2) } else { (self.width / 2).max(1) };
        self.lost_rounds = if failed == calls { self.lost_rounds + 1 } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_widens_while_all_goes_well_and_halves_when_the_gateway_has_enough() {
        let mut pace = Pace::default();
        pace.learn(16, 0);
        pace.learn(32, 0);
        assert_eq!(pace.width(), 32);
        pace.learn(32, 1);
        assert_eq!((pace.width(), pace.stopped()), (16, false));
        for _ in 0..9 {
            pace.learn(16, 15);
        }
        assert_eq!((pace.width(), pace.stopped()), (1, false));
        pace.learn(1, 1);
        pace.learn(1, 1);
        assert!(pace.stopped());
    }
}
