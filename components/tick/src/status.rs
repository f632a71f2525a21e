//! Commit statuses: authors are told beside their commits how long Slurm lets a job wait, without access to the console.
//!
//! Only where the variable `commit_status` is on, and only of jobs that wait long enough for Slurm to have an estimate. A
//! status that was posted is replaced when the estimate changes by much, and once more when there is nothing to wait for.

use gha_slurm_core::github::client::{CommitStatus, GitHubError};
use gha_slurm_core::github::credentials::Credentials;
use gha_slurm_core::ledger::{AuthorTold, Ledger, Requested, Standing, Told, View};
use gha_slurm_core::lifecycle::Fault;
use gha_slurm_core::ports::Platform;
use gha_slurm_core::text::clean;
use gha_slurm_protocol::identity::JobId;

use crate::run::Tick;

/// What starts sooner is not worth a word.
const WORTH_SECONDS: u64 = 2 * 60;
/// How often a status is replaced at the most, and by how much an estimate must have changed.
const AGAIN_SECONDS: u64 = 5 * 60;
/// GitHub limits how fast anything is posted.
pub(crate) const MOST_STATUSES: u32 = 20;
/// So much of a job's name is in the status's context.
const MOST_NAME: usize = 80;
/// GitHub's limit.
const MOST_DESCRIPTION: usize = 140;

impl<P: Platform> Tick<'_, P> {
    /// Tells a job's author what there is to tell now. Returns whether nothing ever will be again.
    pub(crate) fn tell_author(
        &mut self,
        job: JobId,
        view: &View,
        requested: &Requested,
        launches: &[Standing],
    ) -> Result<bool, Fault> {
        if !self.commit_status || requested.sha.is_none() {
            return Ok(true);
        }
        let facts = Ledger(self.platform).job(job);
        let now = self.platform.unix_seconds();
        let told = facts.author_told()?;
        let waits = view.waiting(now).is_some();
        let status = match (&told, waits) {
            (Some(AuthorTold { starts_at: Some(_), .. }), false) => Some((over(view), None)),
            (_, false) => None,
            (told, true) => {
                let pending = launches.iter().rfind(|launch| launch.launched.is_some() && launch.redeemed.is_none());
                let estimate = match pending {
                    Some(launch) => Ledger(self.platform).launch(launch.id).told()?,
                    None => None,
                };
                estimate.and_then(|estimate| {
                    let starts_at = estimate.starts_at?;
                    is_news(told.as_ref(), starts_at, now)
                        .then(|| (waiting(&estimate, starts_at, now), Some(starts_at)))
                })
            }
        };
        let Some((description, starts_at)) = status else { return Ok(!waits) };
        if self.statuses == 0 || self.late() {
            return Ok(false);
        }
        self.statuses -= 1;
        match self.post(requested, description, starts_at.is_some()) {
            Ok(()) => {}
            // Tried again by the next run.
            Err(GitHubError::Unavailable { .. }) => return Ok(false),
            Err(error) => self.report.problem(error),
        }
        facts.record_author_told(&AuthorTold { starts_at, at: now })?;
        Ok(!waits)
    }

    fn post(&self, requested: &Requested, description: String, pending: bool) -> Result<(), GitHubError> {
        let Some(sha) = &requested.sha else { return Ok(()) };
        let context = match requested.name.some() {
            Some(name) => format!("gha-slurm / {}", clean(name, MOST_NAME)),
            None => "gha-slurm".to_owned(),
        };
        let description = description.chars().take(MOST_DESCRIPTION).collect();
        let status = CommitStatus { pending, context, description };
        Credentials::new(self.platform, &self.github).commit_status(requested.into(), sha, &status)
    }
}

/// Whether an estimate is worth another status.
fn is_news(told: Option<&AuthorTold>, starts_at: u64, now: u64) -> bool {
    match told {
        None => starts_at.saturating_sub(now) >= WORTH_SECONDS,
        Some(told) => {
            let changed = told.starts_at.is_none_or(|before| before.abs_diff(starts_at) >= AGAIN_SECONDS);
            changed && told.at.saturating_add(AGAIN_SECONDS) <= now
        }
    }
}

fn waiting(estimate: &Told, starts_at: u64, now: u64) -> String {
    let minutes = starts_at.saturating_sub(now).div_ceil(60);
    let about = match minutes {
        0..=1 => "soon".to_owned(),
        2..=119 => format!("in about {minutes} min"),
        _ => format!("in about {} h", minutes / 60),
    };
    match estimate.reason.some() {
        Some(reason) => format!("Slurm expects to start the runner {about} ({reason}); this is an estimate"),
        None => format!("Slurm expects to start the runner {about}; this is an estimate"),
    }
}

fn over(view: &View) -> String {
    match (&view.started, &view.finished) {
        (Some(_), _) => "A runner took the job".to_owned(),
        (None, Some(_)) => "The job ended before a runner took it".to_owned(),
        (None, None) => "The job does not wait for a runner any more".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_news_when_it_is_far_off_and_when_it_changed_by_much() {
        assert!(!is_news(None, 1100, 1000));
        assert!(is_news(None, 1120, 1000));
        let told = AuthorTold { starts_at: Some(2000), at: 1000 };
        assert!(!is_news(Some(&told), 9000, 1299), "too soon");
        assert!(!is_news(Some(&told), 2299, 1300), "hardly changed");
        assert!(is_news(Some(&told), 2300, 1300));
        assert!(is_news(Some(&told), 1700, 1300));
    }

    #[test]
    fn what_is_told_is_marked_as_an_estimate_and_fits() {
        let told = |reason: &str| Told {
            state: gha_slurm_core::text::Text::of("PENDING"),
            reason: gha_slurm_core::text::Text::of(reason),
            starts_at: None,
            position: None,
            at: 0,
        };
        let words = waiting(&told("Priority"), 1840, 1000);
        assert_eq!(words, "Slurm expects to start the runner in about 14 min (Priority); this is an estimate");
        assert_eq!(
            waiting(&told(""), 20_000, 0),
            "Slurm expects to start the runner in about 5 h; this is an estimate"
        );
        assert!(waiting(&told("Dependency"), 1000, 1000).contains(" soon "));
    }
}
