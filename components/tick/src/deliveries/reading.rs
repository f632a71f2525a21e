//! How far GitHub's list of deliveries was dealt with.
//!
//! The list has the newest first. Its pages are stable downwards: a cursor names the delivery below which a page begins.
//! But the first page moves with each new delivery, and an attempt is recorded when it ends, up to ten seconds after it
//! began, so that one may appear *below* others that were dealt with. A single number is therefore not enough; this keeps
//!
//! - the **top**, the highest id that was dealt with; the **mark**, the time of the newest one; and a **floor** two minutes
//!   below that time. What is neither above the top nor above the floor is not looked at any more;
//! - what was dealt with **since the floor**, one by one, so that whatever else appears there is seen to be new;
//! - the **pages** of a walk down to known ground, by cursor, and the **ground**, the last of them that was dealt with. They
//!   are read from the bottom up, so that an outage's backlog is handled in order, and a walk goes on where a run ended.
//!
//! Times are GitHub's own. Only what is a day old is left alone by our clock, which is right within minutes: GitHub accepts
//! no App JWT of another time.

use std::collections::HashSet;

use gha_slurm_core::github::deliveries::{DeliveryEntry, DeliveryPage};
use serde::{Deserialize, Serialize};

use super::aside::Asides;
use super::{OLDEST_SECONDS, worth};

/// Many times what an attempt lasts.
const OVERLAP_SECONDS: u64 = 120;
/// About as many as can be read in two minutes. Of more, less than two minutes are looked at again.
const MOST_SEEN: usize = 4000;
/// A walk goes down no further: 100,000 deliveries, almost as many as GitHub lets an App read in a day.
const MOST_PAGES: usize = 1000;
/// Of deliveries.
const PAGE: usize = 100;
/// In so many runs a delivery keeps those behind it waiting, before it is put aside.
const PATIENCE: u32 = 3;

/// What is known of GitHub's list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reading {
    /// Whose list it is.
    pub(super) app: String,
    /// The highest id that was dealt with.
    top: u64,
    /// When the newest was made that was dealt with, in seconds of Unix time.
    mark: u64,
    /// What was made before is not looked at, unless it is above the top.
    floor: u64,
    /// What was made before is not looked at.
    oldest: u64,
    /// Until then webhooks were received: what arrived before was handled.
    received_until: u64,
    /// What was dealt with since the floor: its id, and when it was made.
    seen: Vec<(u64, u64)>,
    /// The cursors of pages that wait, the lowest last.
    pages: Vec<String>,
    /// The cursor of the page that was dealt with last, of the walk under way.
    ground: Option<String>,
    /// The tag of the first page, if all of it was dealt with, and what comes late below it would be below the floor.
    pub(super) etag: Option<String>,
    /// What could not be handled and is tried again beside the others.
    pub(super) aside: Asides,
    /// The delivery that keeps others waiting, and in how many runs it did.
    stuck: Option<(u64, u32)>,
    /// Who is reading.
    pub(super) turn: Option<Turn>,
    /// When the list was last kept to be shown.
    pub(super) shown_at: u64,
}

/// The right to read for a while, so that of several replicas mostly one works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Turn {
    /// A random number.
    pub(super) who: u64,
    /// In seconds of Unix time.
    pub(super) until: u64,
}

impl Reading {
    /// Before the first reading of an App's list.
    pub(super) fn of(app: String) -> Self {
        Self { app, ..Self::default() }
    }

    /// Leaves alone what has become too old, at the first reading all but the last day; and what arrived, if webhooks were
    /// received until now.
    pub(super) fn begin(&mut self, now: u64, received: bool) {
        if received {
            self.received_until = now;
        }
        self.oldest = now.saturating_sub(OLDEST_SECONDS);
        self.mark = self.mark.max(self.oldest);
        self.raise(self.oldest);
    }

    fn raise(&mut self, floor: u64) {
        if floor > self.floor {
            self.floor = floor;
            self.seen.retain(|(_, at)| *at >= floor);
        }
    }

    /// Where the next page begins; `None` at the top.
    pub(super) fn cursor(&self) -> Option<String> {
        self.pages.last().cloned()
    }

    /// Whether below this page all is dealt with.
    pub(super) fn reaches_ground(&self, page: &DeliveryPage) -> bool {
        let Some(last) = page.deliveries.last() else { return true };
        let known = |at| at < self.oldest || (at < self.floor && last.id <= self.top);
        page.next.is_none() || page.next == self.ground || last.at().is_some_and(known)
    }

    /// Goes further down, and comes back to this page later; whether that is not too far.
    pub(super) fn descend(&mut self, next: String) -> bool {
        let near = self.pages.len() < MOST_PAGES;
        if near {
            // What is known of the first page is not all that is above the ground any more.
            self.etag = None;
            self.pages.push(next);
        }
        near
    }

    /// How many pages wait.
    pub(super) fn depth(&self) -> usize {
        self.pages.len()
    }

    /// What is to be read of a page, the oldest first.
    pub(super) fn news(&self, page: &DeliveryPage) -> Vec<DeliveryEntry> {
        let seen: HashSet<u64> = self.seen.iter().map(|(id, _)| *id).collect();
        let young = |entry: &DeliveryEntry| match entry.at() {
            Some(at) => at >= self.floor || (entry.id > self.top && at >= self.oldest),
            None => true,
        };
        let received = |at| at < self.received_until;
        let arrived = |entry: &DeliveryEntry| entry.status == "OK" && entry.at().is_some_and(received);
        let new = |entry: &&DeliveryEntry| worth(entry) && young(entry) && !arrived(entry) && !seen.contains(&entry.id);
        page.deliveries.iter().rev().filter(new).cloned().collect()
    }

    /// A delivery was handled, or put aside, or never can be handled.
    pub(super) fn dealt_with(&mut self, entry: &DeliveryEntry, now: u64) {
        let at = self.time_of(entry, now);
        self.seen.push((entry.id, at));
        if self.stuck.is_some_and(|(id, _)| id == entry.id) {
            self.stuck = None;
        }
        self.advance(entry.id, at);
        if self.seen.len() > MOST_SEEN {
            let mut times: Vec<u64> = self.seen.iter().map(|(_, at)| *at).collect();
            times.sort_unstable();
            // Half of them, so that it is not done again at once.
            self.raise(times.get(times.len() / 2).copied().unwrap_or_default());
            // All of one second.
            let many = self.seen.len().saturating_sub(MOST_SEEN);
            self.seen.drain(..many);
        }
    }

    /// When it was made. A time that lies ahead would hide what comes until then.
    fn time_of(&self, entry: &DeliveryEntry, now: u64) -> u64 {
        entry.at().unwrap_or(self.mark).min(now)
    }

    fn advance(&mut self, id: u64, at: u64) {
        self.top = self.top.max(id);
        self.mark = self.mark.max(at);
        self.raise(self.mark.saturating_sub(OVERLAP_SECONDS));
    }

    /// The page was dealt with that the cursor leads to.
    pub(super) fn finish(&mut self, page: &DeliveryPage, now: u64) {
        for entry in &page.deliveries {
            self.advance(entry.id, self.time_of(entry, now));
        }
        self.ground = self.pages.pop();
        if self.ground.is_none() {
            // The tag does not tell what is recorded late below a page.
            let settled = |last: &DeliveryEntry| last.at().is_none_or(|at| at.saturating_add(OVERLAP_SECONDS) < now);
            let whole = page.next.is_none() || page.deliveries.last().is_none_or(settled);
            self.etag = page.etag.clone().filter(|_| whole);
        }
    }

    /// The pages of a walk are not there any more.
    pub(super) fn forget_pages(&mut self) {
        self.pages.clear();
        self.ground = None;
    }

    /// A delivery keeps others waiting once more; whether they have waited long enough.
    pub(super) fn kept_waiting(&mut self, id: u64) -> bool {
        let runs = self.stuck.filter(|(stuck, _)| *stuck == id).map_or(0, |(_, runs)| runs).saturating_add(1);
        self.stuck = Some((id, runs));
        runs >= PATIENCE
    }

    /// When the newest was made that was dealt with, if one was.
    pub(super) fn newest_at(&self) -> Option<u64> {
        (self.top > 0).then_some(self.mark)
    }

    /// About how many deliveries wait, besides those of the page that is being read.
    pub(super) fn behind(&self) -> usize {
        self.pages.len() * PAGE + self.aside.len()
    }
}
