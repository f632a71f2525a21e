//! GitHub's list of deliveries: the way by which webhooks are read instead of received, and by which lost ones are found.
//!
//! GitHub keeps each delivery of an App's webhook with its payload for three days, whether or not it arrived. What is read
//! there is handled by the same flow as what is received. Two things are done with the list: [`lost`] reads what did not
//! arrive, where webhooks are received; [`poll`] reads all, where nothing is.

mod aside;
mod lost;
mod poll;
mod reading;
#[cfg(test)]
mod tests;

use std::time::Duration;

use gha_slurm_core::counters::{Counter, WebhookOutcome};
use gha_slurm_core::github::client::GitHub;
use gha_slurm_core::github::deliveries::{DeliveryEntry, Unreadable, WholeDelivery};
use gha_slurm_core::lifecycle::Destination;
use gha_slurm_core::ports::Platform;
use gha_slurm_core::settings::{SettingError, Settings};
use gha_slurm_core::text::Text;
use gha_slurm_delivery::{Decision, Delivery, Unhandled, handle, matters};
use gha_slurm_overview::Delivery as Shown;
use serde_json::{Value, json};

use crate::run::Report;

/// Older deliveries are not read. GitHub has given up a job that waited for so long, and about one that runs here the tick
/// asks GitHub.
const OLDEST_SECONDS: u64 = 24 * 60 * 60;
/// So many are read at once.
const AT_ONCE: usize = 16;
/// With less time left no more are read: GitHub takes a second or two, and what is read is to be handled.
const LEAST: Duration = Duration::from_secs(3);
/// For all calls of the gateway for one delivery, as a webhook has it.
const BUDGET: Duration = Duration::from_secs(7);
/// A delivery that took longer waited for the gateway.
const SLOW: Duration = Duration::from_secs(2);
/// For the gateway, where it was slow before: what it does not take by then is retried by the tick.
const SLOW_BUDGET: Duration = Duration::from_secs(1);
/// More decisions of one run are not logged one by one.
const MOST_LOGGED: usize = 100;

/// One run over the list.
pub(crate) struct Reader<'a, P> {
    pub(crate) platform: &'a P,
    pub(crate) github: &'a GitHub<'a, P>,
    /// When it is to end, as the clock has it.
    pub(crate) until: Duration,
    pub(crate) report: &'a mut Report,
    /// The gateway was slow: nothing of this run waits for it any more.
    pub(crate) slow: bool,
}

impl<'a, P: Platform> Reader<'a, P> {
    pub(crate) fn new(platform: &'a P, github: &'a GitHub<'a, P>, budget: Duration, report: &'a mut Report) -> Self {
        Self { platform, github, until: platform.now() + budget, report, slow: false }
    }

    fn left(&self) -> Duration {
        self.until.saturating_sub(self.platform.now())
    }

    fn late(&mut self) -> bool {
        let late = self.left() < LEAST;
        self.report.more |= late;
        late
    }

    /// Whether the settings let deliveries be handled. A wrong one would keep each of them from it, and the calls that read
    /// them would be for nothing.
    fn settings(&self) -> Result<(), SettingError> {
        Settings(self.platform).profiles()?;
        Destination::read(self.platform, SLOW_BUDGET).map(drop)
    }

    /// Does what follows from a delivery that was read.
    fn handle(&mut self, whole: &WholeDelivery) -> Result<(), Unhandled> {
        let begun = self.platform.now();
        let budget = if self.slow { SLOW_BUDGET } else { BUDGET }.min(self.left());
        let delivery = Delivery { event: &whole.event, id: whole.guid.clone(), body: &whole.payload };
        let handled = handle(self.platform, delivery, budget);
        self.slow |= self.platform.now().saturating_sub(begun) > SLOW;
        let verdict = handled?;
        self.report.read += 1;
        self.report.worries |= verdict.worries;
        if verdict.decision != Decision::Ignored && self.report.handled.len() < MOST_LOGGED {
            let mut line = json!({
                "delivery": whole.guid,
                "decision": verdict.decision.word(),
                "reason": verdict.reason,
                "job": verdict.job,
                "launch": verdict.launch,
                "detail": verdict.detail,
            });
            line.as_object_mut().into_iter().for_each(|fields| fields.retain(|_, value| *value != Value::Null));
            self.report.handled.push(line);
        }
        Ok(())
    }

    /// Tells of a delivery from which nothing can follow.
    fn unreadable(&mut self, guid: &str, why: &Unreadable) {
        Counter::Webhook(WebhookOutcome::Unreadable).count(self.platform);
        self.problem_of(guid, why);
    }

    fn problem_of(&mut self, guid: &str, what: impl std::fmt::Display) {
        let guid = Text::of(guid);
        self.report.problem(format!("delivery {}: {what}", guid.some().unwrap_or("?")));
    }
}

/// Whether a listed delivery is worth a call.
fn worth(entry: &DeliveryEntry) -> bool {
    matters(&entry.event, entry.action.some())
}

/// A delivery as it is kept to be shown.
fn shown(entry: &DeliveryEntry) -> Shown {
    Shown {
        guid: entry.guid.clone().try_into().ok(),
        at: entry.at().unwrap_or(0),
        event: Text::of(&entry.event),
        action: entry.action.clone(),
        status: Text::of(&entry.status),
        status_code: entry.status_code,
        redelivery: entry.redelivery,
        job: None,
    }
}
