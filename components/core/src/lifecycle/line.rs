//! The line of a profile with `max_running`: who may be launched, and who waits.
//!
//! Each launch of such a profile draws a ticket. Ticket `t` may be launched when fewer than `max_running` launches with
//! lower tickets live. A launch that ended stays ended, so what was once allowed stays allowed, two replicas never
//! disagree to the harm of the limit, and the order is the order of arrival.

use gha_slurm_protocol::identity::LaunchId;

use crate::ledger::keys::{self, LaunchFact};
use crate::ledger::{Ledger, Requested, encode, read, write};
use crate::ports::{Clock, Store, StoreError};

/// Between drawing a ticket and writing its name lies one store operation.
const DRAWING_SECONDS: u64 = 60;
/// More tickets are not looked at in one go.
const LOOK: i64 = 2000;

pub(super) struct Line<'a, P> {
    store: &'a P,
    profile: String,
    places: u32,
}

impl<'a, P: Store + Clock> Line<'a, P> {
    /// The line that a request stands in, if its profile has one.
    pub(super) fn of(store: &'a P, requested: &Requested) -> Option<Self> {
        let places = requested.max_running?;
        Some(Self { store, profile: requested.profile.clone(), places })
    }

    /// Whether the launch may be submitted now. Draws its ticket when it has none.
    pub(super) fn admits(&self, launch: LaunchId) -> Result<bool, StoreError> {
        let ticket = match Ledger(self.store).launch(launch).ticket()? {
            Some(ticket) => ticket,
            None => self.draw(launch)?,
        };
        let mut living = 0;
        let mut all_ended = true;
        let low = self.low()?;
        for earlier in low..ticket.min(low + LOOK) {
            if self.ended(earlier)? {
                if all_ended {
                    self.forget(earlier)?;
                }
                continue;
            }
            all_ended = false;
            living += 1;
            if living >= self.places {
                return Ok(false);
            }
        }
        Ok(ticket < low + LOOK)
    }

    fn draw(&self, launch: LaunchId) -> Result<i64, StoreError> {
        let ticket = self.store.increment(&keys::line(&self.profile), 1)?;
        self.store.set_many(&[
            encode(&keys::line_ticket(&self.profile, ticket), &launch)?,
            encode(&keys::launch(launch, LaunchFact::Ticket), &ticket)?,
        ])?;
        Ok(ticket)
    }

    /// Launches that stand in the line and are not launched, the first ones first, at most `limit`.
    pub(super) fn waiting(&self, limit: usize) -> Result<Vec<LaunchId>, StoreError> {
        let mut waiting = Vec::new();
        let low = self.low()?;
        let end = match self.store.get(&keys::line(&self.profile))? {
            Some(_) => self.store.increment(&keys::line(&self.profile), 0)?,
            None => return Ok(waiting),
        };
        for ticket in low..=end.min(low + LOOK) {
            let Some(launch) = self.launch(ticket)? else { continue };
            if !self.ended(ticket)? && Ledger(self.store).launch(launch).launched()?.is_none() {
                waiting.push(launch);
            }
            if waiting.len() >= limit {
                break;
            }
        }
        Ok(waiting)
    }

    /// Forgets the tickets at the front that ended.
    pub(super) fn trim(&self) -> Result<(), StoreError> {
        let low = self.low()?;
        if self.store.get(&keys::line(&self.profile))?.is_none() {
            return Ok(());
        }
        for ticket in low..=self.store.increment(&keys::line(&self.profile), 0)?.min(low + LOOK) {
            if !self.ended(ticket)? {
                return Ok(());
            }
            self.forget(ticket)?;
        }
        Ok(())
    }

    fn launch(&self, ticket: i64) -> Result<Option<LaunchId>, StoreError> {
        read(self.store, &keys::line_ticket(&self.profile, ticket))
    }

    /// Whether what drew the ticket takes no place (any more).
    fn ended(&self, ticket: i64) -> Result<bool, StoreError> {
        let Some(launch) = self.launch(ticket)? else {
            // Whoever drew it is about to write its name, or died: for a while it counts as living.
            let met_key = keys::line_ticket_met(&self.profile, ticket);
            let now = self.store.unix_seconds();
            return match read::<u64>(self.store, &met_key)? {
                Some(met) => Ok(now.saturating_sub(met) > DRAWING_SECONDS),
                None => write(self.store, &met_key, &now).map(|()| false),
            };
        };
        let ledger = Ledger(self.store);
        let facts = ledger.launch(launch);
        // The second of two that drew for one launch at once has the place.
        if facts.ticket()? != Some(ticket) {
            return Ok(true);
        }
        // Lost to its job, it may still run another one.
        if let Some(took) = facts.took()? {
            return Ok(ledger.job(took).view()?.finished.is_some());
        }
        if facts.withdrawn()? || facts.lost()?.is_some() {
            return Ok(true);
        }
        if facts.launched()?.is_some() {
            // Pending or idle; a launch that nothing takes ends with its job, or is lost or withdrawn by the tick.
            return Ok(false);
        }
        let job = ledger.job(launch.job).view()?;
        Ok(job.waiting(self.store.unix_seconds()).is_none())
    }

    /// The lowest ticket that may live (a hint).
    fn low(&self) -> Result<i64, StoreError> {
        Ok(read(self.store, &keys::line_low(&self.profile))?.unwrap_or(1))
    }

    fn forget(&self, ticket: i64) -> Result<(), StoreError> {
        write(self.store, &keys::line_low(&self.profile), &(ticket + 1))?;
        self.store
            .delete_many(&[keys::line_ticket(&self.profile, ticket), keys::line_ticket_met(&self.profile, ticket)])
    }
}
