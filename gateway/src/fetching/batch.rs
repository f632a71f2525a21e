//! How many reports an exchange carries.
//!
//! One that the app does not take, such as an older app's of a kind that it does not know, must not keep all others, nor
//! the launches. It is found by halves, and dropped when the app took none of it twice and an exchange without it in
//! between: whatever else answers 400 for a while, such as a proxy, costs no report.

use gha_slurm_protocol::exchange::MOST_REPORTS;

use super::client::ExchangeError;
use crate::index::Outstanding;

/// The app takes a body of 256 KiB.
const MOST_BYTES: usize = 200 * 1024;

#[derive(Debug, Default)]
pub(super) enum Batch {
    #[default]
    All,
    /// One among more is not taken.
    Some(usize),
    /// The report of this number alone was not taken: without it?
    Without(i64),
    /// An exchange without it was taken: and the report again?
    Alone(i64),
}

impl Batch {
    pub(super) fn most(&self) -> usize {
        match self {
            Self::All => MOST_REPORTS,
            Self::Some(most) => *most,
            Self::Without(_) => 0,
            Self::Alone(_) => 1,
        }
    }

    pub(super) fn taken(&mut self) {
        *self = match self {
            Self::Without(number) => Self::Alone(*number),
            _ => Self::All,
        };
    }

    /// An exchange with these failed. Answers the one that can never be delivered.
    pub(super) fn failed(&mut self, error: &ExchangeError, mut reports: Vec<Outstanding>) -> Option<Outstanding> {
        if !matches!(error, ExchangeError::NotTaken(..)) {
            *self = Self::All;
            return None;
        }
        *self = match (&*self, reports.as_slice()) {
            (_, []) => Self::All,
            (Self::Alone(number), [one]) if one.number == *number => {
                *self = Self::All;
                return reports.pop();
            }
            (_, [one]) => Self::Without(one.number),
            (_, several) => Self::Some(several.len() / 2),
        };
        None
    }
}

/// As many as an exchange takes.
pub(super) fn fitting(mut reports: Vec<Outstanding>) -> Vec<Outstanding> {
    let mut bytes = 0;
    let fit = reports.iter().take_while(|one| {
        bytes += serde_json::to_string(&one.report).map_or(0, |text| text.len() + 1);
        bytes <= MOST_BYTES
    });
    let fit = fit.count();
    reports.truncate(fit);
    reports
}

#[cfg(test)]
mod tests {
    use gha_slurm_protocol::exchange::{News, Report};
    use hyper::StatusCode;

    use super::*;

    fn one(number: i64, length: usize) -> Outstanding {
        let news = News::Refused { message: "\u{1}".repeat(length) };
        Outstanding { number, report: Report { launch: "1-1".parse().unwrap(), news } }
    }

    #[test]
    fn reports_fit_into_what_the_app_takes() {
        let many: Vec<_> = (0..256).map(|number| one(number, 500)).collect();
        let fit = fitting(many);
        let bytes = serde_json::to_string(&fit.iter().map(|one| &one.report).collect::<Vec<_>>()).unwrap().len();
        assert!(fit.len() < 256 && (150_000..220_000).contains(&bytes), "{} {bytes}", fit.len());
        assert_eq!((fitting(vec![one(1, 500)]).len(), fitting(Vec::new()).len()), (1, 0));
    }

    #[test]
    fn the_one_that_is_never_taken_is_dropped_and_no_other() {
        let refused = || ExchangeError::NotTaken(StatusCode::BAD_REQUEST, String::new());
        let mut all: Vec<i64> = (0..100).collect();
        let (mut batch, mut dropped, mut exchanges) = (Batch::default(), Vec::new(), 0);
        while !all.is_empty() {
            exchanges += 1;
            let carried: Vec<_> = all.iter().take(batch.most()).copied().collect();
            if carried.contains(&70) {
                let failed = batch.failed(&refused(), carried.into_iter().map(|number| one(number, 1)).collect());
                dropped.extend(failed.map(|one| one.number));
                all.retain(|number| !dropped.contains(number));
            } else {
                batch.taken();
                all.retain(|number| !carried.contains(number));
            }
        }
        assert_eq!(dropped, [70]);
        assert!(exchanges < 30, "{exchanges}");
        // Everything is refused for a while: nothing is lost by it.
        for _ in 0..50 {
            assert!(batch.failed(&refused(), (0..batch.most().min(1)).map(|_| one(1, 1)).collect()).is_none());
        }
        for _ in 0..50 {
            assert!(batch.failed(&refused(), (0..batch.most().min(1)).map(|_| one(1, 1)).collect()).is_none());
            assert!(batch.failed(&ExchangeError::Late, Vec::new()).is_none());
        }
    }
}
