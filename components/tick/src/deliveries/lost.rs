//! Deliveries that did not arrive: GitHub never repeats one by itself, so they are read.
//!
//! Each failed attempt is dealt with once, by one replica: a claim per attempt, and a fact when that is done. Only what
//! cannot be read is asked for again, because a redelivery can fail like the delivery before it. What cannot be handled now,
//! though it can be read or will be, is put aside and tried again, and holds up nothing.
//!
//! A search goes down from the newest end of the list. One that takes longer than a minute is interrupted each minute to
//! look at the newest page again, so that what is lost now does not wait for its end.
//!
//! Where deliveries were polled before, each of them counts as failed at GitHub. The first search leaves alone what was
//! dealt with then, by what [`Reading`] knows of it.

use std::collections::HashSet;
use std::time::Duration;

use gha_slurm_core::github::client::{GitHubError, Until};
use gha_slurm_core::github::credentials::Credentials;
use gha_slurm_core::github::deliveries::{DeliveryEntry, DeliveryPage, ReadError, Unreadable, WholeDelivery};
use gha_slurm_core::identity::DeliveryId;
use gha_slurm_core::ledger::{Claim, DeliveryFacts, FailureKind, Ledger, encode, keys, read};
use gha_slurm_core::lifecycle::Fault;
use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_core::settings::Webhooks;
use gha_slurm_delivery::Unhandled;
use gha_slurm_overview::{Arrival, KEPT_DELIVERIES, encode_reading, keep_deliveries};
use gha_slurm_protocol::secret::Secret;
use serde::{Deserialize, Serialize};

use super::aside::{Aside, Asides, Blame};
use super::poll::whose;
use super::reading::Reading;
use super::{AT_ONCE, Reader, shown, worth};

/// How often one delivery is repeated.
const MAX_REDELIVERIES: i64 = 3;
/// How often a delivery is tried that is itself the problem: it cannot be read, or the process dies handling it.
const MAX_TRIES: i64 = 10;
/// Well past the deadline of a run: an attempt that is older died.
const LEASE: Duration = Duration::from_secs(60);
/// Listing them at each tick would be a call too many.
const INTERVAL_SECONDS: u64 = 60;

/// How far the list was searched, from its newest end to where an earlier search began.
#[derive(Default, Serialize, Deserialize)]
struct Search {
    /// Everything up to this delivery was dealt with.
    done: u64,
    /// The newest delivery of the search under way.
    newest: u64,
    /// Where the search under way goes on.
    cursor: Option<String>,
    /// Whether the search under way met one that another replica deals with, or that could not be dealt with.
    #[serde(default)]
    open: bool,
    /// Whether deliveries were polled since everything was dealt with up to `done`.
    #[serde(default)]
    polled: bool,
    /// What could not be handled and is tried again.
    #[serde(default)]
    aside: Asides,
    /// Whether the last look at the newest page left no time for the search itself.
    #[serde(default)]
    starved: bool,
    /// When the newest page was last read, in seconds of Unix time.
    at: u64,
}

/// A failed attempt that is the caller's to deal with.
struct Claimed<'a, P> {
    what: Aside,
    attempt: DeliveryFacts<'a, P>,
    /// What is known under the guid of all attempts.
    delivery: DeliveryFacts<'a, P>,
    /// The number of the claim.
    number: u64,
    /// How often the delivery was tried, this time included.
    tries: i64,
}

impl<P: Platform> Claimed<'_, P> {
    /// Lets anybody try it at once. This time does not count: the delivery is not to blame.
    fn release(&self, kind: FailureKind, why: &str) -> Result<(), StoreError> {
        self.delivery.count_again(-1)?;
        self.attempt.repetitions().record_failed(self.number, kind, why)
    }
}

/// Whose a failed attempt is.
enum Claiming<'a, P> {
    Ours(Box<Claimed<'a, P>>),
    /// Nothing is left to do.
    Settled,
    /// Another replica deals with it.
    Others,
}

/// What became of a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// Nothing is left to do.
    Settled,
    /// It is tried again at another time.
    Again(FailureKind, String),
    /// So are it and all that follow.
    Stop(FailureKind, String),
}

/// What a run knows of the list.
#[derive(Default)]
struct Known {
    /// What polling dealt with.
    polled: Option<Reading>,
    /// The guids of what arrived, or was dealt with.
    arrived: HashSet<String>,
    /// Whether the newest page was read, and when the newest delivery was made.
    listed: Option<Option<u64>>,
    /// The App JWT that the list was read with.
    jwt: Option<Secret>,
}

impl<'a, P: Platform> Reader<'a, P> {
    /// Reads what did not arrive.
    pub(crate) fn read_lost(&mut self) -> Result<(), Fault> {
        let platform = self.platform;
        let now = platform.unix_seconds();
        // Two replicas may overwrite each other's progress; each failed attempt is dealt with once all the same.
        let (mut search, polled) = self.search()?;
        let due = search.at.saturating_add(INTERVAL_SECONDS) <= now;
        if search.cursor.is_none() && !due {
            return Ok(());
        }
        self.settings()?;
        let mut known = Known { polled, ..Known::default() };
        let before = search.cursor.clone();
        let looks = due && before.is_some() && !search.starved;
        let goes_on = !looks || self.look_at_newest(&mut search, &mut known)?;
        let goes_on = goes_on && self.walk(&mut search, &mut known)?;
        search.starved = looks && search.cursor == before;
        // Also where the search waits for them.
        if goes_on || search.aside.is_full() {
            self.try_lost_again(&mut search, &mut known)?;
        }
        let mut written = vec![encode(&keys::tick_deliveries(), &search)?];
        if let Some(newest_at) = known.listed {
            let arrival = Arrival { mode: Webhooks::Receive, read_at: now, newest_at, handled_at: None, behind: 0 };
            written.push(encode_reading(&arrival)?);
        }
        Ok(platform.set_many(&written)?)
    }

    /// How far the list was searched, and what polling dealt with since then.
    fn search(&self) -> Result<(Search, Option<Reading>), Fault> {
        let platform = self.platform;
        let mut kept = platform.get_many(&[keys::tick_deliveries(), keys::github_reading()])?.into_iter();
        let mut next = || kept.next().flatten().unwrap_or_default();
        // What cannot be understood is as good as nothing.
        let mut search: Search = serde_json::from_slice(&next()).unwrap_or_default();
        let begins = serde_json::from_slice::<Arrival>(&next()).is_ok_and(|last| last.mode == Webhooks::Poll);
        if begins {
            search = Search { done: search.done, polled: true, aside: search.aside, ..Search::default() };
        }
        if !search.polled {
            return Ok((search, None));
        }
        let app = whose(platform)?;
        let polled = read::<Reading>(platform, &keys::tick_poll()).ok().flatten().filter(|polled| polled.app == app);
        if let (true, Some(polled)) = (begins, &polled) {
            search.aside.take_over(polled.aside.clone());
        }
        Ok((search, polled))
    }

    /// A page of the list; `None` if GitHub does not give it.
    fn lost_page(
        &mut self,
        cursor: Option<&str>,
        known: &mut Known,
    ) -> Result<Option<(DeliveryPage, Secret)>, StoreError> {
        let credentials = Credentials::new(self.platform, self.github);
        let (page, jwt) = match credentials.as_app(|jwt| Ok((self.github.deliveries(jwt, cursor)?, jwt.clone()))) {
            Ok(answered) => answered,
            Err(error) => {
                self.report.problem(error);
                return Ok(None);
            }
        };
        if cursor.is_none() {
            known.listed = Some(page.deliveries.iter().find_map(DeliveryEntry::at));
            keep_deliveries(self.platform, page.deliveries.iter().take(KEPT_DELIVERIES).map(shown).collect())?;
        }
        known.jwt = Some(jwt.clone());
        Ok(Some((page, jwt)))
    }

    /// Deals with what is on the newest page and above the search under way; whether all of it was tried. What is between
    /// the two is the next search's.
    fn look_at_newest(&mut self, search: &mut Search, known: &mut Known) -> Result<bool, Fault> {
        if self.late() {
            return Ok(false);
        }
        search.at = self.platform.unix_seconds();
        let Some((page, jwt)) = self.lost_page(None, known)? else { return Ok(false) };
        let open = search.open;
        let tried = self.read_page(search, search.newest, &page, &jwt, known);
        search.open = open;
        tried
    }

    /// Searches the list from where the last run stopped; whether everything was tried that was listed.
    fn walk(&mut self, search: &mut Search, known: &mut Known) -> Result<bool, Fault> {
        while !self.late() {
            let cursor = search.cursor.clone();
            if cursor.is_none() {
                search.at = self.platform.unix_seconds();
            }
            let Some((page, jwt)) = self.lost_page(cursor.as_deref(), known)? else { return Ok(false) };
            search.newest = page.deliveries.iter().map(|delivery| delivery.id).fold(search.newest, u64::max);
            if !self.read_page(search, search.done, &page, &jwt, known)? {
                return Ok(false);
            }
            let known_ground = known.polled.as_ref().is_some_and(|polled| polled.reaches_ground(&page));
            if page.next.is_none() || known_ground || page.deliveries.iter().any(|delivery| delivery.id <= search.done)
            {
                let Search { done, newest, open, polled, at, .. } = *search;
                let aside = std::mem::take(&mut search.aside);
                // What is open is read again.
                let (done, polled) = if open { (done, polled) } else { (newest.max(done), false) };
                *search = Search { done, polled, aside, at, ..Search::default() };
                return Ok(true);
            }
            search.cursor = page.next;
        }
        Ok(false)
    }

    /// Deals with what failed of a page and is above `done`, the oldest first; whether all of it was tried.
    fn read_page(
        &mut self,
        search: &mut Search,
        done: u64,
        page: &DeliveryPage,
        jwt: &Secret,
        known: &mut Known,
    ) -> Result<bool, Fault> {
        let unpolled: Option<HashSet<u64>> =
            known.polled.as_ref().map(|polled| polled.news(page).iter().map(|entry| entry.id).collect());
        let was_polled =
            |entry: &DeliveryEntry| unpolled.as_ref().is_some_and(|unpolled| !unpolled.contains(&entry.id));
        let mut failed = Vec::new();
        for delivery in page.deliveries.iter().take_while(|delivery| delivery.id > done) {
            if delivery.status == "OK" {
                known.arrived.insert(delivery.guid.clone());
            } else if worth(delivery)
                && !known.arrived.contains(&delivery.guid)
                && !was_polled(delivery)
                && !search.aside.has(delivery.id)
            {
                failed.push(delivery);
            }
        }
        failed.reverse();
        for some in failed.chunks(AT_ONCE) {
            if self.late() {
                return Ok(false);
            }
            let mut claimed = Vec::new();
            for entry in some.iter().filter(|entry| !known.arrived.contains(&entry.guid)) {
                match self.claim(Aside::of(entry, self.platform.unix_seconds()), false)? {
                    Claiming::Ours(ours) => claimed.push(*ours),
                    Claiming::Settled => {}
                    Claiming::Others => search.open = true,
                }
            }
            if !self.read_claimed(search, &claimed, jwt, known)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tries again what was put aside.
    fn try_lost_again(&mut self, search: &mut Search, known: &mut Known) -> Result<(), Fault> {
        let Some(jwt) = known.jwt.clone() else { return Ok(()) };
        let due = search.aside.due(self.platform.unix_seconds(), usize::MAX);
        for some in due.chunks(AT_ONCE) {
            if self.late() {
                return Ok(());
            }
            let mut claimed = Vec::new();
            for aside in some {
                match self.claim(aside.clone(), true)? {
                    Claiming::Ours(ours) => claimed.push(*ours),
                    Claiming::Settled => search.aside.settle(aside.id),
                    Claiming::Others => {}
                }
            }
            if !self.read_claimed(search, &claimed, &jwt, known)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes a failed attempt on: one replica does, and not too often for one delivery. `again` if it was put aside.
    fn claim(&mut self, what: Aside, again: bool) -> Result<Claiming<'a, P>, StoreError> {
        let (ledger, id) = (Ledger(self.platform), what.id.to_string());
        let attempt = ledger.delivery(&id);
        if attempt.repeated()? {
            return Ok(Claiming::Settled);
        }
        let Claim::Won(number) = attempt.repetitions().claim(LEASE)? else { return Ok(Claiming::Others) };
        if attempt.repeated()? {
            return Ok(Claiming::Settled);
        }
        // A part of a key has no slash.
        let guid = DeliveryId::try_from(what.guid.clone()).map_or(id, String::from);
        let delivery = ledger.delivery(&guid);
        // What is tried every ten minutes for a day is remembered once; twice, should somebody have died in between.
        let tries = if again && number > 2 {
            delivery.count_again(1)?
        } else {
            attempt.remember()?;
            delivery.count()?
        };
        if tries > MAX_TRIES {
            self.problem_of(&what.guid, format_args!("given up after {MAX_TRIES} tries"));
            attempt.record_repeated()?;
            return Ok(Claiming::Settled);
        }
        Ok(Claiming::Ours(Box::new(Claimed { what, attempt, delivery, number, tries })))
    }

    /// Reads claimed ones all at once and handles them one after the other; whether all of them were tried.
    fn read_claimed(
        &mut self,
        search: &mut Search,
        claimed: &[Claimed<'a, P>],
        jwt: &Secret,
        known: &mut Known,
    ) -> Result<bool, Fault> {
        let ids: Vec<u64> = claimed.iter().map(|claimed| claimed.what.id).collect();
        if ids.is_empty() {
            return Ok(true);
        }
        let mut stopped = None;
        let read = self.github.whole_deliveries(jwt, &ids).unwrap_or_else(|error| {
            stopped = Some((error.kind(), error.to_string()));
            self.report.problem(error);
            Vec::new()
        });
        let mut read = read.into_iter();
        for claimed in claimed {
            let (id, guid) = (claimed.what.id, &claimed.what.guid);
            let answer = read.next();
            if stopped.is_none() && self.late() {
                stopped = Some((FailureKind::Other, "the time of a run was over".to_owned()));
            }
            let (None, Some(answer)) = (&stopped, answer) else {
                let (kind, why) = stopped.clone().unwrap_or_default();
                claimed.release(kind, &why)?;
                continue;
            };
            match if known.arrived.contains(guid) { Fate::Settled } else { self.settle(claimed, answer, jwt) } {
                Fate::Settled => {
                    claimed.attempt.record_repeated()?;
                    known.arrived.insert(guid.clone());
                    search.aside.settle(id);
                }
                Fate::Again(kind, why) => {
                    claimed.release(kind, &why)?;
                    if search.aside.has(id) {
                        if search.aside.retry(id, self.platform.unix_seconds(), Blame::Other) {
                            self.problem_of(guid, "given up");
                            claimed.attempt.record_repeated()?;
                        }
                    } else if !search.aside.put(claimed.what.clone()) {
                        let why = "too many deliveries wait to be tried again: those behind them wait as well";
                        self.report.problem(why);
                        stopped = Some((FailureKind::Other, why.to_owned()));
                    }
                }
                Fate::Stop(kind, why) => {
                    claimed.release(kind, &why)?;
                    stopped = Some((kind, why));
                }
            }
        }
        Ok(stopped.is_none())
    }

    fn settle(&mut self, claimed: &Claimed<'a, P>, answer: Result<WholeDelivery, ReadError>, jwt: &Secret) -> Fate {
        let guid = &claimed.what.guid;
        match answer {
            Ok(whole) => match self.handle(&whole) {
                Ok(()) => Fate::Settled,
                Err(unhandled) => {
                    self.problem_of(guid, &unhandled);
                    match unhandled {
                        Unhandled::Malformed(_) => Fate::Settled,
                        Unhandled::Store(error) => Fate::Again(FailureKind::Other, error.to_string()),
                        Unhandled::Profile(error) => Fate::Again(FailureKind::Other, error.to_string()),
                        Unhandled::Setting(error) => Fate::Stop(FailureKind::Other, error.to_string()),
                    }
                }
            },
            Err(ReadError::Unreadable(why)) => {
                self.unreadable(guid, &why);
                match why {
                    // It is none of ours.
                    Unreadable::OtherApp(_) => Fate::Settled,
                    _ if claimed.tries > MAX_REDELIVERIES => Fate::Settled,
                    _ => self.redeliver(claimed.what.id, jwt),
                }
            }
            Err(ReadError::GitHub(error)) => self.failed(error),
        }
    }

    /// Has GitHub send it once more.
    fn redeliver(&mut self, id: u64, jwt: &Secret) -> Fate {
        match self.github.redeliver(jwt, id) {
            Ok(()) => {
                self.report.redelivered += 1;
                Fate::Settled
            }
            Err(GitHubError::NotFound(_)) => Fate::Settled,
            Err(error) => self.failed(error),
        }
    }

    fn failed(&mut self, error: GitHubError) -> Fate {
        let (kind, why) = (error.kind(), error.to_string());
        let passes = matches!(error, GitHubError::Unavailable { until: Until::Back, .. });
        self.report.problem(error);
        if passes { Fate::Again(kind, why) } else { Fate::Stop(kind, why) }
    }
}
