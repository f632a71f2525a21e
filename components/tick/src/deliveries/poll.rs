//! Webhooks that are read instead of received, where nothing can reach the application from outside.
//!
//! One run reads what is new in GitHub's list, by what [`Reading`] knows of it, and handles it in order, the oldest first.
//! The list is asked for with the tag of the page that was read last, so that a run that finds nothing new costs one call
//! that does not count against GitHub's primary limit, and writes nothing. What an entry says of the delivery's success is
//! not looked at, unless webhooks were received when it was made: the webhook of such an App leads nowhere, or to something
//! that answers with anything.
//!
//! Nothing blocks for long and nothing is lost silently. What GitHub lists and does not show is told of, and tried again
//! beside the others for about an hour. Where GitHub or the store fails, a run ends, and the next one begins with the same
//! delivery; if that one keeps failing, it is put aside as well, and tried again for as long as deliveries are read at all.
//! So is one whose job's profile is wrong. Once there is no room for more, the list waits, and only what was put aside is
//! tried. A setting that is wrong for all stops all until it is corrected.
//!
//! Of several replicas mostly one reads: it writes that it has the turn, for a while, and looks whether that is still there.
//! Two that read at once do no harm. Each writes only what it has done itself, so whatever remains is true, and some is
//! handled twice.
//!
//! Roads not taken: to claim each delivery, as lost ones are claimed, costs six steps of the store for each; a turn for the
//! whole costs three for many. To keep the last id alone misses what is recorded late. To handle the newest first would be
//! faster after an outage, and would launch for jobs that a delivery further up says to be over.

use std::collections::HashSet;

use gha_slurm_core::github::client::{GitHubError, Until};
use gha_slurm_core::github::credentials::Credentials;
use gha_slurm_core::github::deliveries::{DeliveryEntry, DeliveryPage, ReadError, Unreadable, WholeDelivery};
use gha_slurm_core::ledger::{encode, keys, read, write};
use gha_slurm_core::lifecycle::Fault;
use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_core::settings::{SettingError, Settings, Webhooks};
use gha_slurm_delivery::Unhandled;
use gha_slurm_overview::{Arrival, Delivery as Shown, KEPT_DELIVERIES, encode_reading, keep_deliveries};
use gha_slurm_protocol::secret::Secret;

use super::aside::{Aside, Blame};
use super::reading::{Reading, Turn};
use super::{AT_ONCE, Reader, SLOW_BUDGET, shown};

/// Well past the end of a run: whoever has the turn for longer died.
const TURN_SECONDS: u64 = 30;
/// On the way down the list, what was found is kept so often.
const PAGES_BETWEEN_WRITES: usize = 10;
/// What only people look at is written so often.
const SHOWN_SECONDS: u64 = 60;

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    GoesOn,
    Ends,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing is left to do, or nothing can be done.
    Settled,
    /// GitHub does not show it, perhaps later: those behind it need not wait.
    Aside,
    /// Not until its job's profile is corrected: those behind it need not wait.
    Later,
    /// Perhaps later, and perhaps it is not this one that fails.
    Waits,
    /// It is not this one that fails.
    Ends,
}

/// One run.
struct Run<'r, 'a, P> {
    reader: &'r mut Reader<'a, P>,
    reading: Reading,
    /// As it is in the store.
    stored: Reading,
    /// What was last shown of it.
    shown: Arrival,
    /// The turn, once this run took it; `None` in it if another one has it.
    turn: Option<Option<Turn>>,
    /// Whether the list was read.
    listed: bool,
    /// The newest of the list, to be shown.
    newest: Vec<Shown>,
    /// Deliveries that were handled, by guid: another attempt at one of them says nothing new.
    handled: HashSet<String>,
    /// How many of a page are left.
    left: usize,
}

impl<P: Platform> Reader<'_, P> {
    /// Reads what is new.
    pub(crate) fn poll(&mut self) -> Result<(), Fault> {
        let (platform, now) = (self.platform, self.platform.unix_seconds());
        let app = whose(platform)?;
        let (kept, shown) = stored(platform)?;
        let stored = kept.filter(|kept| kept.app == app).unwrap_or_else(|| Reading::of(app));
        if stored.turn.as_ref().is_some_and(|turn| turn.until > now) {
            return Ok(());
        }
        let shown = shown.unwrap_or_default();
        let mut reading = stored.clone();
        reading.begin(now, shown.mode == Webhooks::Receive && shown.read_at > 0);
        let mut run = Run {
            reader: self,
            reading,
            stored,
            shown,
            turn: None,
            listed: false,
            newest: Vec::new(),
            handled: HashSet::new(),
            left: 0,
        };
        let done = run.list().and_then(|flow| match flow {
            Flow::Ends if !run.reading.aside.is_full() => Ok(()),
            // Also where the list waits for them.
            Flow::GoesOn | Flow::Ends => run.try_again(),
        });
        // Whatever stopped it, what was done is kept.
        done.and(run.close())
    }
}

/// Whose list is read: what is known of another App's says nothing of this one.
pub(super) fn whose<P: Platform>(platform: &P) -> Result<String, SettingError> {
    let github = Settings(platform).github()?;
    Ok(format!("{} {}", github.app_id, github.api))
}

/// What was kept, and what was last shown of it, in one step. What cannot be understood is as good as nothing, because
/// what is handled twice does no harm.
fn stored<P: Platform>(platform: &P) -> Result<(Option<Reading>, Option<Arrival>), StoreError> {
    let mut kept = platform.get_many(&[keys::tick_poll(), keys::github_reading()])?.into_iter();
    let mut next = || kept.next().flatten().unwrap_or_default();
    Ok((serde_json::from_slice(&next()).ok(), serde_json::from_slice(&next()).ok()))
}

impl<P: Platform> Run<'_, '_, P> {
    fn now(&self) -> u64 {
        self.reader.platform.unix_seconds()
    }

    /// Reads pages until nothing is new: down to known ground, and up again.
    fn list(&mut self) -> Result<Flow, Fault> {
        let mut moved = false;
        loop {
            if self.reader.late() {
                return Ok(Flow::Ends);
            }
            let cursor = self.reading.cursor();
            let (page, jwt) = match self.page(cursor.as_deref()) {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(Flow::GoesOn),
                // The page is not there any more: what is left of the walk is found again from the top.
                Err(GitHubError::NotFound(_) | GitHubError::Refused(_)) if cursor.is_some() && !moved => {
                    moved = true;
                    self.reading.forget_pages();
                    continue;
                }
                Err(error) => {
                    self.reader.report.unread = true;
                    self.reader.report.problem(error);
                    return Ok(Flow::Ends);
                }
            };
            if !self.take_turn()? {
                return Ok(Flow::Ends);
            }
            if page.malformed > 0 {
                self.reader.report.problem(format!("{} entries of GitHub's list cannot be read", page.malformed));
            }
            if let (false, Some(next)) = (self.reading.reaches_ground(&page), &page.next) {
                if self.reading.descend(next.clone()) {
                    if self.reading.depth().is_multiple_of(PAGES_BETWEEN_WRITES) {
                        self.save()?;
                    }
                    continue;
                }
                self.reader.report.problem("GitHub's list is longer than is read: its oldest end is left out");
            }
            if self.read_page(&page, &jwt)? == Flow::Ends {
                return Ok(Flow::Ends);
            }
            let now = self.now();
            self.reading.finish(&page, now);
            if cursor.is_none() {
                return Ok(Flow::GoesOn);
            }
        }
    }

    /// A page of the list; `None` if the first one is as it was.
    fn page(&mut self, cursor: Option<&str>) -> Result<Option<(DeliveryPage, Secret)>, GitHubError> {
        let (github, etag) = (self.reader.github, self.reading.etag.as_deref());
        let page = Credentials::new(self.reader.platform, github).as_app(|jwt| {
            let page = match cursor {
                Some(_) => Some(github.deliveries(jwt, cursor)?),
                None => github.new_deliveries(jwt, etag)?,
            };
            Ok(page.map(|page| (page, jwt.clone())))
        })?;
        self.listed = true;
        if let (None, Some((page, _))) = (cursor, &page) {
            self.newest = page.deliveries.iter().take(KEPT_DELIVERIES).map(shown).collect();
        }
        Ok(page)
    }

    fn read_page(&mut self, page: &DeliveryPage, jwt: &Secret) -> Result<Flow, Fault> {
        let news = self.reading.news(page);
        self.left = news.len();
        if !news.is_empty() && !self.settings_hold() {
            return Ok(Flow::Ends);
        }
        for some in news.chunks(AT_ONCE) {
            if self.reader.late() {
                return Ok(Flow::Ends);
            }
            let unknown = some.iter().filter(|entry| !self.handled.contains(&entry.guid));
            let ids: Vec<u64> = unknown.map(|entry| entry.id).collect();
            let answers = match self.reader.github.whole_deliveries(jwt, &ids) {
                Ok(answers) => answers,
                Err(error) => {
                    self.reader.report.problem(error);
                    return Ok(Flow::Ends);
                }
            };
            let mut answers: Vec<_> = ids.into_iter().zip(answers).collect();
            let flow = self.deal_with(some, &mut answers);
            self.save()?;
            if flow == Flow::Ends {
                return Ok(flow);
            }
        }
        Ok(Flow::GoesOn)
    }

    fn settings_hold(&mut self) -> bool {
        self.reader.settings().map_err(|error| self.reader.report.problem(error)).is_ok()
    }

    /// Handles deliveries in their order; those without an answer were handled before.
    fn deal_with(&mut self, entries: &[DeliveryEntry], answers: &mut Answers) -> Flow {
        for entry in entries {
            let answer = answers.iter().position(|(id, _)| *id == entry.id).map(|place| answers.swap_remove(place).1);
            if self.reader.left() < SLOW_BUDGET {
                self.reader.report.more = true;
                return Flow::Ends;
            }
            let fate = match answer {
                Some(answer) if !self.handled.contains(&entry.guid) => self.fate(&entry.guid, answer),
                _ => Fate::Settled,
            };
            let now = self.now();
            let aside = match fate {
                Fate::Settled => false,
                Fate::Aside | Fate::Later => true,
                Fate::Waits if self.reading.kept_waiting(entry.id) => true,
                Fate::Waits => {
                    self.reader.report.unread = true;
                    return Flow::Ends;
                }
                Fate::Ends => return Flow::Ends,
            };
            if aside && !self.reading.aside.put(Aside::of(entry, now)) {
                self.reader.report.unread = true;
                self.reader
                    .report
                    .problem("too many deliveries wait to be tried again: those behind them wait as well");
                return Flow::Ends;
            }
            self.reading.dealt_with(entry, now);
            self.left = self.left.saturating_sub(1);
        }
        Flow::GoesOn
    }

    fn fate(&mut self, guid: &str, answer: Result<WholeDelivery, ReadError>) -> Fate {
        match answer {
            Ok(whole) => match self.reader.handle(&whole) {
                Ok(()) => {
                    self.handled.insert(guid.to_owned());
                    Fate::Settled
                }
                Err(unhandled) => {
                    self.reader.problem_of(guid, &unhandled);
                    match unhandled {
                        Unhandled::Malformed(_) => Fate::Settled,
                        Unhandled::Profile(_) => Fate::Later,
                        Unhandled::Store(_) => Fate::Waits,
                        Unhandled::Setting(_) => Fate::Ends,
                    }
                }
            },
            Err(ReadError::Unreadable(why)) => {
                self.reader.unreadable(guid, &why);
                match why {
                    Unreadable::Gone(_) | Unreadable::Malformed(_) => Fate::Aside,
                    Unreadable::TooLarge | Unreadable::OtherApp(_) => Fate::Settled,
                }
            }
            Err(ReadError::GitHub(error)) => {
                let passes = matches!(error, GitHubError::Unavailable { until: Until::Back, .. });
                self.reader.report.problem(error);
                if passes { Fate::Waits } else { Fate::Ends }
            }
        }
    }

    /// Tries again what was put aside.
    fn try_again(&mut self) -> Result<(), Fault> {
        let due = self.reading.aside.due(self.now(), AT_ONCE);
        if due.is_empty() || self.reader.late() || !self.settings_hold() || !self.take_turn()? {
            return Ok(());
        }
        let ids: Vec<u64> = due.iter().map(|aside| aside.id).collect();
        let github = self.reader.github;
        let credentials = Credentials::new(self.reader.platform, github);
        let answers = match credentials.as_app(|jwt| github.whole_deliveries(jwt, &ids)) {
            Ok(answers) => answers,
            Err(error) => {
                self.reader.report.problem(error);
                return Ok(());
            }
        };
        let mut ended = false;
        for (aside, answer) in due.iter().zip(answers) {
            if self.reader.left() < SLOW_BUDGET {
                break;
            }
            let fate = if ended { Fate::Ends } else { self.fate(&aside.guid, answer) };
            ended |= fate == Fate::Ends;
            let blame = match fate {
                Fate::Settled => {
                    self.reading.aside.settle(aside.id);
                    continue;
                }
                Fate::Aside => Blame::Delivery,
                Fate::Later | Fate::Waits | Fate::Ends => Blame::Other,
            };
            if self.reading.aside.retry(aside.id, self.now(), blame) {
                self.reader.problem_of(&aside.guid, "given up");
            }
        }
        Ok(())
    }

    /// Takes the turn, unless this run has it; whether it has it now. Nothing is written without it.
    fn take_turn(&mut self) -> Result<bool, StoreError> {
        if let Some(taken) = &self.turn {
            return Ok(taken.is_some());
        }
        let platform = self.reader.platform;
        let mut who = [0; 8];
        platform.fill(&mut who);
        let turn = Turn { who: u64::from_le_bytes(who), until: self.now().saturating_add(TURN_SECONDS) };
        self.reading.turn = Some(turn.clone());
        self.stored.turn = Some(turn.clone());
        write(platform, &keys::tick_poll(), &self.stored)?;
        let there = read::<Reading>(platform, &keys::tick_poll())?.and_then(|there| there.turn);
        let ours = there.as_ref() == Some(&turn);
        self.turn = Some(ours.then_some(turn));
        Ok(ours)
    }

    /// Keeps what was done so far.
    fn save(&self) -> Result<(), StoreError> {
        write(self.reader.platform, &keys::tick_poll(), &self.reading)
    }

    /// Keeps what was done, and what is shown of it.
    fn close(mut self) -> Result<(), Fault> {
        let (platform, now) = (self.reader.platform, self.now());
        let behind = u64::try_from(self.reading.behind() + self.left).unwrap_or(u64::MAX);
        self.reader.report.behind = behind;
        let ours = match self.turn.take() {
            Some(None) => return Ok(()),
            Some(Some(_)) => true,
            None => false,
        };
        let mut written = Vec::new();
        let shows = ours && !self.newest.is_empty() && self.reading.shown_at.saturating_add(SHOWN_SECONDS) <= now;
        if ours {
            self.reading.turn = None;
            if shows {
                self.reading.shown_at = now;
            }
            written.push(encode(&keys::tick_poll(), &self.reading)?);
        }
        if self.listed {
            let handled_at = if self.handled.is_empty() { self.shown.handled_at } else { Some(now) };
            let newest_at = self.reading.newest_at();
            let arrival = Arrival { mode: Webhooks::Poll, read_at: now, newest_at, handled_at, behind };
            if ours || now >= self.shown.read_at.saturating_add(SHOWN_SECONDS) {
                written.push(encode_reading(&arrival)?);
            }
        }
        if !written.is_empty() {
            platform.set_many(&written)?;
        }
        if shows {
            keep_deliveries(platform, std::mem::take(&mut self.newest))?;
        }
        Ok(())
    }
}

/// What GitHub says of deliveries, by the ids of the attempts.
type Answers = Vec<(u64, Result<WholeDelivery, ReadError>)>;
