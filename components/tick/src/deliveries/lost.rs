//! Deliveries that did not arrive: GitHub never repeats one by itself, so they are read.
//!
//! Each failed attempt is dealt with once, by one replica: a claim per attempt, and a fact when that is done. Only what
//! cannot be read is asked for again, because a redelivery can fail like the delivery before it.

use std::collections::HashSet;
use std::time::Duration;

use gha_slurm_core::github::client::{GitHubError, Until};
use gha_slurm_core::github::credentials::Credentials;
use gha_slurm_core::github::deliveries::{DeliveryEntry, DeliveryPage, ReadError, Unreadable, WholeDelivery};
use gha_slurm_core::identity::DeliveryId;
use gha_slurm_core::ledger::{Claim, DeliveryFacts, FailureKind, Ledger, encode, keys, read};
use gha_slurm_core::lifecycle::Fault;
use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_core::settings::{Settings, Webhooks};
use gha_slurm_delivery::Unhandled;
use gha_slurm_overview::{Arrival, KEPT_DELIVERIES, encode_reading, keep_deliveries};
use gha_slurm_protocol::secret::Secret;
use serde::{Deserialize, Serialize};

use super::{AT_ONCE, Reader, shown, worth};

/// How often one delivery is repeated.
const MAX_REDELIVERIES: i64 = 3;
/// How often one delivery is tried, by reading it or by having it repeated. Whatever keeps it from being handled for so
/// long is told of, and does not pass by itself.
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
    /// When the list was last read, in seconds of Unix time.
    at: u64,
}

/// A failed attempt that is the caller's to deal with.
struct Claimed<'a, P> {
    entry: DeliveryEntry,
    attempt: DeliveryFacts<'a, P>,
    /// The number of the claim.
    number: u64,
    /// How often the delivery was tried, this time included.
    tries: i64,
}

impl<P: Platform> Claimed<'_, P> {
    /// Lets anybody try it at once.
    fn release(&self, kind: FailureKind, why: &str) -> Result<(), StoreError> {
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

impl<'a, P: Platform> Reader<'a, P> {
    /// Reads what did not arrive.
    pub(crate) fn read_lost(&mut self) -> Result<(), Fault> {
        let platform = self.platform;
        let key = keys::tick_deliveries();
        // Two replicas may overwrite each other's progress; each failed attempt is dealt with once all the same.
        let mut search = read::<Search>(platform, &key).ok().flatten().unwrap_or_default();
        let now = platform.unix_seconds();
        if search.cursor.is_none() && search.at + INTERVAL_SECONDS > now {
            return Ok(());
        }
        // A wrong rule would keep each of them from being handled, and use up its tries.
        Settings(platform).profiles()?;
        search.at = now;
        let mut arrived = HashSet::new();
        let mut listed = None;
        while !self.late() {
            let credentials = Credentials::new(platform, self.github);
            let asked =
                credentials.as_app(|jwt| Ok((self.github.deliveries(jwt, search.cursor.as_deref())?, jwt.clone())));
            let (page, jwt) = match asked {
                Ok(answered) => answered,
                Err(error) => {
                    self.report.problem(error);
                    break;
                }
            };
            if search.cursor.is_none() {
                listed = Some(page.deliveries.iter().find_map(DeliveryEntry::at));
                keep_deliveries(platform, page.deliveries.iter().take(KEPT_DELIVERIES).map(shown).collect())?;
            }
            if !self.read_page(&mut search, &page, &jwt, &mut arrived)? {
                break;
            }
            if page.next.is_none() || page.deliveries.iter().any(|delivery| delivery.id <= search.done) {
                // What is open is read again.
                let done = if search.open { search.done } else { search.newest.max(search.done) };
                search = Search { done, at: now, ..Search::default() };
                break;
            }
            search.cursor = page.next;
        }
        let mut written = vec![encode(&key, &search)?];
        if let Some(newest_at) = listed {
            let arrival = Arrival { mode: Webhooks::Receive, read_at: now, newest_at, handled_at: None, behind: 0 };
            written.push(encode_reading(&arrival)?);
        }
        Ok(platform.set_many(&written)?)
    }

    /// Deals with what failed of a page, the oldest first; whether all of it was tried.
    fn read_page(
        &mut self,
        search: &mut Search,
        page: &DeliveryPage,
        jwt: &Secret,
        arrived: &mut HashSet<String>,
    ) -> Result<bool, Fault> {
        let mut failed = Vec::new();
        for delivery in page.deliveries.iter().take_while(|delivery| delivery.id > search.done) {
            search.newest = search.newest.max(delivery.id);
            if delivery.status == "OK" {
                arrived.insert(delivery.guid.clone());
            } else if worth(delivery) && !arrived.contains(&delivery.guid) {
                failed.push(delivery);
            }
        }
        failed.reverse();
        for some in failed.chunks(AT_ONCE) {
            if self.late() {
                return Ok(false);
            }
            let mut claimed = Vec::new();
            for entry in some.iter().filter(|entry| !arrived.contains(&entry.guid)) {
                match self.claim(entry)? {
                    Claiming::Ours(ours) => claimed.push(*ours),
                    Claiming::Settled => {}
                    Claiming::Others => search.open = true,
                }
            }
            if !self.read_claimed(search, &claimed, jwt, arrived)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes a failed attempt on: one replica does, and not too often for one delivery.
    fn claim(&mut self, entry: &DeliveryEntry) -> Result<Claiming<'a, P>, StoreError> {
        let (ledger, id) = (Ledger(self.platform), entry.id.to_string());
        let attempt = ledger.delivery(&id);
        if attempt.repeated()? {
            return Ok(Claiming::Settled);
        }
        let Claim::Won(number) = attempt.repetitions().claim(LEASE)? else { return Ok(Claiming::Others) };
        if attempt.repeated()? {
            return Ok(Claiming::Settled);
        }
        attempt.remember()?;
        // A part of a key has no slash.
        let guid = DeliveryId::try_from(entry.guid.clone()).map_or(id, String::from);
        let tries = ledger.delivery(&guid).count()?;
        if tries > MAX_TRIES {
            self.problem_of(&entry.guid, format_args!("given up after {MAX_TRIES} tries"));
            attempt.record_repeated()?;
            return Ok(Claiming::Settled);
        }
        Ok(Claiming::Ours(Box::new(Claimed { entry: entry.clone(), attempt, number, tries })))
    }

    /// Reads claimed ones all at once and handles them one after the other; whether all of them were tried.
    fn read_claimed(
        &mut self,
        search: &mut Search,
        claimed: &[Claimed<'a, P>],
        jwt: &Secret,
        arrived: &mut HashSet<String>,
    ) -> Result<bool, Fault> {
        let ids: Vec<u64> = claimed.iter().map(|claimed| claimed.entry.id).collect();
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
            let answer = read.next();
            if stopped.is_none() && self.late() {
                stopped = Some((FailureKind::Other, "the time of a run was over".to_owned()));
            }
            let (None, Some(answer)) = (&stopped, answer) else {
                let (kind, why) = stopped.clone().unwrap_or_default();
                claimed.release(kind, &why)?;
                continue;
            };
            let known = arrived.contains(&claimed.entry.guid);
            match if known { Fate::Settled } else { self.settle(claimed, answer, jwt) } {
                Fate::Settled => {
                    claimed.attempt.record_repeated()?;
                    arrived.insert(claimed.entry.guid.clone());
                }
                Fate::Again(kind, why) => {
                    claimed.release(kind, &why)?;
                    search.open = true;
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
        let guid = &claimed.entry.guid;
        match answer {
            Ok(whole) => match self.handle(&whole) {
                Ok(()) => Fate::Settled,
                Err(unhandled) => {
                    self.problem_of(guid, &unhandled);
                    match unhandled {
                        Unhandled::Malformed(_) => Fate::Settled,
                        Unhandled::Store(error) => Fate::Again(FailureKind::Other, error.to_string()),
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
                    _ => self.redeliver(&claimed.entry, jwt),
                }
            }
            Err(ReadError::GitHub(error)) => self.failed(error),
        }
    }

    /// Has GitHub send it once more.
    fn redeliver(&mut self, entry: &DeliveryEntry, jwt: &Secret) -> Fate {
        match self.github.redeliver(jwt, entry.id) {
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
