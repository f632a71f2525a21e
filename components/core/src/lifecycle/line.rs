//! The line of a profile with a limit: who may be launched, and who waits.
//!
//! Each launch of such a profile draws a ticket. The living tickets are walked in their order, and each gets a place
//! unless the profile's places or its repository's share of them are given away. So the order is the order of arrival,
//! except that who waits for his repository's share holds up nobody else.
//!
//! This needs no memory of who got a place: a launch that ended stays ended, and where one ends, everybody who had a
//! place still has one. (The place that it leaves goes to one who waited for the share of that repository, or stays free:
//! in either case no more places are given away before any later ticket, nor to its repository.) So what was once allowed
//! stays allowed, and a replica that saw an end too late only allows too little.

use std::collections::{HashMap, HashSet};

use gha_slurm_protocol::identity::{JobId, LaunchId};

use super::Need;
use crate::identity::RepositoryId;
use crate::ledger::keys::{self, LaunchFact};
use crate::ledger::{Ledger, Requested, Standing, encode, read, write};
use crate::ports::{Clock, Store, StoreError};

/// Between drawing a ticket and writing its name lies one store operation.
const DRAWING_SECONDS: u64 = 60;
/// More tickets are not looked at in one go.
const LOOK: i64 = 2000;
/// So many are read in the first step of the store, and twice as many in each further one, up to the most.
const FIRST_CHUNK: i64 = 8;
const CHUNK: i64 = 64;

pub(super) struct Line<'a, P> {
    store: &'a P,
    profile: String,
    places: u32,
    /// Of one repository.
    share: u32,
    /// The one that asks.
    repository: RepositoryId,
}

/// A ticket that takes a place or waits for one.
#[derive(Debug, Clone, Copy)]
struct Living {
    ticket: i64,
    /// Absent between the drawing of a ticket and the writing of its name.
    drawn_by: Option<Drawer>,
}

#[derive(Debug, Clone, Copy)]
struct Drawer {
    launch: LaunchId,
    repository: RepositoryId,
    /// It was submitted, or waits for its cluster to fetch it.
    handed_on: bool,
}

/// Places given away so far in a walk along the line.
#[derive(Default)]
struct Given {
    all: u32,
    by_repository: HashMap<RepositoryId, u32>,
    nameless: u32,
}

impl Given {
    fn of(&self, repository: RepositoryId) -> u32 {
        self.by_repository.get(&repository).copied().unwrap_or(0)
    }
}

impl<'a, P: Store + Clock> Line<'a, P> {
    /// The line that a request stands in, if its profile has one.
    pub(super) fn of(store: &'a P, requested: &Requested) -> Option<Self> {
        let (places, share) = (requested.max_running, requested.max_running_per_repository);
        places.or(share)?;
        let all = u32::MAX;
        Some(Self {
            store,
            profile: requested.profile.clone(),
            places: places.unwrap_or(all),
            share: share.unwrap_or(all),
            repository: requested.repository_id,
        })
    }

    /// Whether the launch may be submitted now. Draws its ticket when it has none, or none any more: it was refused at its
    /// turn.
    pub(super) fn admits(&self, launch: LaunchId) -> Result<bool, StoreError> {
        let ticket = match Ledger(self.store).launch(launch).ticket()? {
            Some(ticket) if self.stands(ticket)? => ticket,
            _ => self.draw(launch)?,
        };
        if ticket >= self.low()?.saturating_add(LOOK) {
            return Ok(false);
        }
        let (mut all, mut own) = (0, 0);
        self.walk(|living, _, given| {
            if living.ticket >= ticket {
                return false;
            }
            // A ticket without a name may be of the same repository.
            (all, own) = (given.all, given.of(self.repository).saturating_add(given.nameless));
            all < self.places
        })?;
        Ok(all < self.places && own < self.share)
    }

    fn draw(&self, launch: LaunchId) -> Result<i64, StoreError> {
        let ticket = self.store.increment(&keys::line(&self.profile), 1)?;
        self.store.set_many(&[
            encode(&keys::line_ticket(&self.profile, ticket), &launch)?,
            encode(&keys::launch(launch, LaunchFact::Ticket), &ticket)?,
        ])?;
        Ok(ticket)
    }

    /// Whether a ticket that was drawn still counts: it was neither refused nor, since it took no place, forgotten.
    fn stands(&self, ticket: i64) -> Result<bool, StoreError> {
        Ok(ticket >= self.low()? && self.store.get(&keys::line_ticket_refused(&self.profile, ticket))?.is_none())
    }

    /// The gateway refused the launch: its ticket takes no place any more. When it is tried again it draws another one.
    pub(super) fn refuse(&self, launch: LaunchId) -> Result<(), StoreError> {
        let Some(ticket) = Ledger(self.store).launch(launch).ticket()? else { return Ok(()) };
        // One that was forgotten, as its job is over, would never be forgotten again.
        if ticket < self.low()? {
            return Ok(());
        }
        write(self.store, &keys::line_ticket_refused(&self.profile, ticket), &self.store.unix_seconds())
    }

    /// Launches that stand in the line and were not handed on, the first ones first, at most `limit`.
    pub(super) fn waiting(&self, limit: usize) -> Result<Vec<LaunchId>, StoreError> {
        let mut waiting = Vec::new();
        self.walk(|living, _, _| {
            waiting.extend(living.drawn_by.filter(|by| !by.handed_on).map(|by| by.launch));
            waiting.len() < limit
        })?;
        Ok(waiting)
    }

    /// Launches that have a place and were not handed on, the first ones first, at most `limit`.
    pub(super) fn next(&self, limit: usize) -> Result<Vec<LaunchId>, StoreError> {
        let mut next = Vec::new();
        self.walk(|living, place, given| {
            next.extend(living.drawn_by.filter(|by| place && !by.handed_on).map(|by| by.launch));
            next.len() < limit && given.all < self.places
        })?;
        Ok(next)
    }

    /// Forgets the tickets at the front that ended.
    pub(super) fn trim(&self) -> Result<(), StoreError> {
        self.walk(|_, _, _| false)
    }

    /// Shows the living tickets in their order, with whether each has a place, while `go_on` says so. Forgets the ended
    /// ones at the front.
    fn walk(&self, mut go_on: impl FnMut(Living, bool, &Given) -> bool) -> Result<(), StoreError> {
        let low = self.low()?;
        let Some(last) = self.last()? else { return Ok(()) };
        let last = last.min(low.saturating_add(LOOK));
        let (mut front, mut given) = (low, Given::default());
        let (mut from, mut chunk) = (low, FIRST_CHUNK);
        'walk: while from <= last {
            let to = last.min(from + chunk - 1);
            let living = self.living(from, to)?;
            if front == from {
                front = living.first().map_or(to + 1, |living| living.ticket);
            }
            for one in living {
                let place = self.place(one, &mut given);
                if !go_on(one, place, &given) {
                    break 'walk;
                }
            }
            (from, chunk) = (to + 1, CHUNK.min(chunk * 2));
        }
        self.forget(low, front)
    }

    /// Gives a living ticket a place, if there is one left for it.
    fn place(&self, living: Living, given: &mut Given) -> bool {
        if given.all >= self.places {
            return false;
        }
        match living.drawn_by {
            Some(by) if given.of(by.repository) >= self.share => return false,
            Some(by) => *given.by_repository.entry(by.repository).or_default() += 1,
            None => given.nameless += 1,
        }
        given.all += 1;
        true
    }

    /// The living ones among some tickets.
    fn living(&self, from: i64, to: i64) -> Result<Vec<Living>, StoreError> {
        let names: Vec<String> = (from..=to).map(|ticket| keys::line_ticket(&self.profile, ticket)).collect();
        let refused: Vec<String> = (from..=to).map(|ticket| keys::line_ticket_refused(&self.profile, ticket)).collect();
        let (drawn, refused) = (self.store.get_many(&names)?, self.store.get_many(&refused)?);
        let mut tickets: Vec<(i64, Option<LaunchId>)> = Vec::new();
        for (((ticket, key), drawn), refused) in (from..=to).zip(&names).zip(drawn).zip(refused) {
            if refused.is_some() {
                continue;
            }
            let unreadable = |error| StoreError(format!("{key} is unreadable: {error}"));
            let launch = drawn.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(unreadable)?;
            if launch.is_some() || self.drawing(ticket)? {
                tickets.push((ticket, launch));
            }
        }
        let launches: Vec<LaunchId> = tickets.iter().filter_map(|(_, launch)| *launch).collect();
        let standings = Ledger(self.store).standings_of(&launches)?;
        let jobs: HashSet<JobId> = standings.iter().map(|standing| standing.id.job).collect();
        let jobs: Vec<JobId> = jobs.into_iter().collect();
        let views: HashMap<JobId, _> = jobs.iter().copied().zip(Ledger(self.store).views(&jobs)?).collect();
        let now = self.store.unix_seconds();
        let mut standings = standings.into_iter();
        let mut living = Vec::with_capacity(tickets.len());
        for (ticket, launch) in tickets {
            let Some(_) = launch else {
                living.push(Living { ticket, drawn_by: None });
                continue;
            };
            let Some(standing) = standings.next() else { continue };
            let Some(view) = views.get(&standing.id.job) else { continue };
            let Some(requested) = view.requested.as_ref() else { continue };
            // The second of two that drew for one launch at once has the place.
            if standing.ticket != Some(ticket) {
                continue;
            }
            // One that waits to be fetched may be another job's by swaps.
            let fetched_later = standing.offered && standing.launched.is_none();
            let waits = view.waiting(now).is_some() || fetched_later && Need(self.store).needed(standing.id)?;
            if takes_place(&standing, waits) {
                let handed_on = standing.launched.is_some() || standing.offered;
                let drawer = Drawer { launch: standing.id, repository: requested.repository_id, handed_on };
                living.push(Living { ticket, drawn_by: Some(drawer) });
            }
        }
        Ok(living)
    }

    /// Whether a ticket without a name lives: who drew it is about to write it, or died.
    fn drawing(&self, ticket: i64) -> Result<bool, StoreError> {
        // Another replica forgot it in the meantime.
        if ticket < self.low()? {
            return Ok(false);
        }
        let met_key = keys::line_ticket_met(&self.profile, ticket);
        let now = self.store.unix_seconds();
        match read::<u64>(self.store, &met_key)? {
            Some(met) => Ok(now.saturating_sub(met) <= DRAWING_SECONDS),
            None => write(self.store, &met_key, &now).map(|()| true),
        }
    }

    /// The lowest ticket that may live (a hint).
    fn low(&self) -> Result<i64, StoreError> {
        Ok(read(self.store, &keys::line_low(&self.profile))?.unwrap_or(1))
    }

    /// The highest ticket; `None` when none was ever drawn.
    fn last(&self) -> Result<Option<i64>, StoreError> {
        let key = keys::line(&self.profile);
        match self.store.get(&key)? {
            Some(_) => self.store.increment(&key, 0).map(Some),
            None => Ok(None),
        }
    }

    /// Forgets the tickets below `front`.
    fn forget(&self, low: i64, front: i64) -> Result<(), StoreError> {
        if front <= low {
            return Ok(());
        }
        write(self.store, &keys::line_low(&self.profile), &front)?;
        let of = |ticket| {
            let profile = &self.profile;
            [
                keys::line_ticket(profile, ticket),
                keys::line_ticket_met(profile, ticket),
                keys::line_ticket_refused(profile, ticket),
            ]
        };
        self.store.delete_many(&(low..front).flat_map(of).collect::<Vec<_>>())
    }
}

/// Whether a launch takes a place or waits for one; `waits` says whether a job waits for its runner.
fn takes_place(standing: &Standing, waits: bool) -> bool {
    match (&standing.launched, standing.took) {
        (None, None) => waits && !standing.withdrawn && !standing.lost && standing.ended.is_none(),
        _ => standing.lives(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    /// The launches that have a place, by their order of arrival with each one's repository, of which `living` live.
    fn placed(repositories: &[u64], living: u32, places: u32, share: u32) -> Vec<usize> {
        let platform = Memory::new();
        let line = Line { store: &platform, profile: "p".to_owned(), places, share, repository: RepositoryId(7) };
        let mut given = Given::default();
        let lives = |index: &usize| living & (1 << index) != 0;
        (0..repositories.len())
            .filter(lives)
            .filter(|index| {
                let launch = LaunchId { job: JobId(*index as u64), number: 1 };
                let repository = RepositoryId(repositories[*index]);
                let drawn_by = Some(Drawer { launch, repository, handed_on: false });
                line.place(Living { ticket: *index as i64, drawn_by }, &mut given)
            })
            .collect()
    }

    /// Every line of five tickets of three repositories, every set of living ones, every limit, every end.
    #[test]
    fn who_had_a_place_keeps_it_when_another_launch_ends() {
        for line in 0..3_u64.pow(5) {
            let repositories: Vec<u64> = (0..5).map(|index| line / 3_u64.pow(index) % 3).collect();
            for (places, share) in [(1, 1), (2, 1), (3, 1), (3, 2), (2, u32::MAX), (u32::MAX, 1)] {
                for living in 0..32 {
                    let before = placed(&repositories, living, places, share);
                    assert!(before.len() <= places as usize);
                    for ended in (0..5).filter(|ended| living & (1 << ended) != 0) {
                        let after = placed(&repositories, living & !(1 << ended), places, share);
                        let kept = before.iter().filter(|index| **index != ended);
                        assert!(kept.clone().all(|index| after.contains(index)), "{repositories:?} {living:b} {ended}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_repository_at_its_share_holds_up_nobody_else() {
        assert_eq!(placed(&[7, 7, 7, 8], 0b1111, 3, 2), [0, 1, 3]);
        assert_eq!(placed(&[7, 7, 7, 8], 0b1110, 3, 2), [1, 2, 3]);
        assert_eq!(placed(&[7, 7, 7, 8], 0b1111, 3, u32::MAX), [0, 1, 2]);
    }
}
