//! When the next exchange is due. Each wait varies a little, so that many gateways of one app do not fall into step.

use std::ops::Range;
use std::time::Duration;

use super::Timing;

pub(super) struct Pace {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Pace {
    pub(super) fn new(timing: &Timing) -> Self {
        Self { first: timing.retry, most: timing.longest_retry, failures: 0 }
    }

    /// From the beginning of a good exchange to the next one.
    pub(super) fn good(&mut self, poll: Duration) -> Duration {
        self.failures = 0;
        varied(poll, 0.9..1.1)
    }

    /// After one that failed. The app may have asked for more, and gets it within reason: one that is well again sooner
    /// than it thought is not left waiting for long.
    pub(super) fn failed(&mut self, asked: Option<Duration>) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.failures.min(16));
        self.failures += 1;
        let asked = varied(asked.unwrap_or_default().min(self.most), 1.0..1.2);
        varied(doubled.min(self.most), 0.8..1.2).max(asked)
    }
}

/// So many times as long, somewhere in between.
fn varied(duration: Duration, times: Range<f64>) -> Duration {
    let mut bytes = [0; 4];
    // Without randomness there is just no jitter.
    let _ = getrandom::getrandom(&mut bytes);
    let random = f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX);
    duration.mul_f64(times.start + (times.end - times.start) * random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_wait_for_longer_each_time_and_a_good_exchange_ends_that() {
        let timing = Timing::default();
        let mut pace = Pace::new(&timing);
        let near = |wait: Duration, seconds: f64| (wait.as_secs_f64() / seconds - 1.0).abs() <= 0.21;
        for seconds in [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            let wait = pace.failed(None);
            assert!(near(wait, seconds), "{wait:?} {seconds}");
        }
        assert!(near(pace.good(Duration::from_secs(1)), 1.0));
        assert!(near(pace.failed(Some(Duration::from_secs(30))), 30.0), "as the app asked");
        for _ in 0..20 {
            let wait = Pace::new(&timing).failed(Some(Duration::from_secs(30)));
            assert!(wait >= Duration::from_secs(30), "not earlier than the app asked: {wait:?}");
        }
        assert!(near(pace.failed(Some(Duration::from_secs(7200))), 60.0), "within reason");
        let many: std::collections::HashSet<_> = (0..50).map(|_| pace.good(Duration::from_secs(1))).collect();
        assert!(many.len() > 40, "they vary");
    }
}
