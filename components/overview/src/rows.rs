//! All jobs that are kept, with only the fields that filters and figures need.
//!
//! Jobs that have ended do not change: their rows are kept in digests, one for each chunk of journal slots. The open jobs of
//! a chunk are read from their facts every time.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use gha_slurm_core::ledger::RETENTION_SECONDS;
use gha_slurm_core::ledger::{Bucket, CHUNK, Entry, Ledger, Place};
use gha_slurm_core::ports::{Clock, Store, StoreError, Variables};
use gha_slurm_protocol::identity::{ClusterName, JobId};
use serde::{Deserialize, Serialize};

use super::seen::Seen;
use super::summary::{JobSummary, Times, summaries};
use super::{State, Why};

/// For so long, late events may still change a job that has ended.
const QUIET_SECONDS: u64 = 5 * 60;
/// A digest is written for no fewer new rows.
const NEWS: usize = 32;
/// How many digests are read at once, which bounds the memory that they take.
const AT_ONCE: usize = 32;

/// A job, as filters and figures see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub place: Place,
    pub job: JobId,
    /// Empty without a queued webhook, as is the profile.
    pub repository: Rc<str>,
    pub profile: Rc<str>,
    /// The cluster of the launch that serves it; empty where clusters have no names.
    pub cluster: Rc<str>,
    pub state: State,
    pub conclusion: Rc<str>,
    pub launches: u32,
    pub submit_failures: u64,
    pub redeem_failures: u64,
    pub times: Times,
    /// Only for waiting jobs.
    pub why: Option<Why>,
    pub since: u64,
}

/// A row in a digest: slot, job, [repository, profile, cluster, conclusion] (numbers of strings), state, launches, failures
/// to submit and to redeem, since, and the times; all times as distances from the bucket's beginning.
type Packed = (i64, JobId, [usize; 4], State, u32, u64, u64, i64, [Option<i64>; 6]);

/// What can no longer change of a chunk. It is kept in postcard's binary form, because figures spend their time on reading
/// tens of thousands of rows. The first byte says which form it is; a digest of another form is rebuilt.
#[derive(Default, Serialize, Deserialize)]
struct Digest {
    head: Head,
    strings: Vec<String>,
    rows: Vec<Packed>,
}

/// Which slots have to be read again, and the last one that was read. It comes first, so that it can be read alone.
#[derive(Default, Serialize, Deserialize)]
struct Head {
    open: Vec<i64>,
    upto: i64,
}

/// Counted up when a state is added as well: digests hold their numbers.
const FORM: u8 = 3;

impl Digest {
    fn encode(&self) -> Option<Vec<u8>> {
        postcard::to_extend(self, vec![FORM]).ok()
    }

    /// The digest; one that cannot be read is an empty one.
    fn decode(bytes: Option<Vec<u8>>, head_alone: bool) -> Self {
        let Some(body) = bytes.as_deref().and_then(|bytes| bytes.strip_prefix(&[FORM])) else { return Self::default() };
        if head_alone {
            let head = postcard::take_from_bytes(body).map(|(head, _)| head).unwrap_or_default();
            return Self { head, ..Self::default() };
        }
        postcard::from_bytes(body).unwrap_or_default()
    }
}

/// Strings that many rows share.
#[derive(Default)]
struct Shared(HashMap<String, Rc<str>>);

impl Shared {
    fn get(&mut self, text: &str) -> Rc<str> {
        if let Some(known) = self.0.get(text) {
            return Rc::clone(known);
        }
        let shared: Rc<str> = Rc::from(text);
        self.0.insert(text.to_owned(), Rc::clone(&shared));
        shared
    }
}

/// Reads rows within a budget.
pub struct Reader<'a, P> {
    platform: &'a P,
    shared: Shared,
    /// How many jobs may still be read from their facts.
    budget: usize,
    /// Whether jobs that have ended are not needed: then most of a digest is skipped.
    open_only: bool,
    /// For whoever sums up more jobs in the same call.
    pub(crate) seen: Seen,
    /// Whether everything was read; if not, the last chunk only has the rows of its digest.
    pub complete: bool,
    /// Facts that cannot be read.
    pub problems: Vec<String>,
}

impl<'a, P: Store + Clock + Variables> Reader<'a, P> {
    /// A reader that reads the facts of at most `budget` jobs.
    pub fn new(platform: &'a P, budget: usize) -> Self {
        Self {
            platform,
            shared: Shared::default(),
            budget,
            open_only: false,
            seen: Seen::by(platform),
            complete: true,
            problems: Vec::new(),
        }
    }

    /// Leaves out most of the jobs that have ended.
    pub fn open_only(self, open_only: bool) -> Self {
        Self { open_only, ..self }
    }

    fn digests(&self, chunks: &[(Bucket, i64)]) -> Result<Vec<Digest>, StoreError> {
        let found = Ledger(self.platform).journal().digests(chunks)?;
        Ok(found.into_iter().map(|bytes| Digest::decode(bytes, self.open_only)).collect())
    }

    /// All buckets of the retention that have slots, with their number, the newest first.
    pub fn buckets(&self) -> Result<Vec<(Bucket, i64)>, StoreError> {
        let now = self.platform.unix_seconds();
        // One more at either end: for the clock of another replica, and for what the clean-up has not reached.
        let newest = Bucket::at(now).0.saturating_add(1);
        let oldest = Bucket::at(now.saturating_sub(RETENTION_SECONDS)).0.saturating_sub(1);
        let buckets: Vec<Bucket> = (oldest..=newest).rev().map(Bucket).collect();
        let sizes = Ledger(self.platform).journal().sizes(&buckets)?;
        Ok(buckets.into_iter().zip(sizes).filter(|(_, size)| *size > 0).collect())
    }

    /// All rows of one bucket.
    pub fn bucket(&mut self, bucket: Bucket) -> Result<Vec<Row>, StoreError> {
        let journal = Ledger(self.platform).journal();
        let size = journal.slots(bucket)?;
        let mut rows = Vec::new();
        let mut seen = HashSet::new();
        for chunk in 0..=(size - 1).max(0) / CHUNK {
            let digest = self.digests(&[(bucket, chunk)])?.pop().unwrap_or_default();
            rows.extend(self.chunk(bucket, chunk, size, digest)?.into_iter().filter(|row| seen.insert(row.job)));
        }
        Ok(rows)
    }

    /// Walks all chunks, the newest first, and hands the rows of each to `each`, the newest first; that ends the walk by
    /// `false`. Begins before `before`, when there is such a place.
    pub fn walk(
        &mut self,
        before: Option<Place>,
        mut each: impl FnMut(&mut Self, (Bucket, i64), Vec<Row>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut chunks = Vec::new();
        for (bucket, size) in self.buckets()? {
            let end = match before {
                Some(place) if place.bucket < bucket => continue,
                Some(place) if place.bucket == bucket => size.min(place.slot.saturating_sub(1)),
                _ => size,
            };
            if end > 0 {
                chunks.extend((0..=(end - 1) / CHUNK).rev().map(|chunk| (bucket, chunk, size)));
            }
        }
        for some in chunks.chunks(AT_ONCE) {
            let wanted: Vec<(Bucket, i64)> = some.iter().map(|(bucket, chunk, _)| (*bucket, *chunk)).collect();
            let digests = self.digests(&wanted)?;
            for ((bucket, chunk, size), digest) in some.iter().zip(digests) {
                let rows = self.chunk(*bucket, *chunk, *size, digest)?;
                if !each(self, (*bucket, *chunk), rows)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn chunk(&mut self, bucket: Bucket, chunk: i64, size: i64, digest: Digest) -> Result<Vec<Row>, StoreError> {
        let first = chunk * CHUNK + 1;
        let last = size.min(first + CHUNK - 1);
        let mut slots: Vec<i64> = digest.head.open.clone();
        slots.extend(first.max(digest.head.upto + 1)..=last);
        let mut rows = self.unpack(bucket, &digest);
        if slots.len() > self.budget {
            self.complete = false;
        } else if !slots.is_empty() {
            let (found, open, news) = self.look(bucket, &slots)?;
            let news = if self.open_only { 0 } else { news };
            let full =
                last == first + CHUNK - 1 || bucket.end().saturating_add(QUIET_SECONDS) < self.platform.unix_seconds();
            if news >= NEWS || (full && news > 0 && news * 4 >= slots.len()) {
                let mut keep: Vec<Row> = rows.clone();
                keep.extend(found.iter().filter(|row| !open.contains(&row.place.slot)).cloned());
                if let Some(digest) = pack(bucket, &keep, open, last).encode() {
                    Ledger(self.platform).journal().keep_digest(bucket, chunk, &digest)?;
                }
            }
            rows.extend(found);
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.place));
        Ok(rows)
    }

    /// The jobs in slots by their facts; the slots among them that are to be looked at again; how many are not.
    fn look(&mut self, bucket: Bucket, slots: &[i64]) -> Result<(Vec<Row>, Vec<i64>, usize), StoreError> {
        let now = self.platform.unix_seconds();
        self.budget = self.budget.saturating_sub(slots.len());
        let entries = Ledger(self.platform).journal().entries(bucket, slots)?;
        let (mut jobs, mut places, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for (slot, entry) in slots.iter().zip(entries) {
            match entry {
                Some(Entry::Job(job)) => {
                    jobs.push(job);
                    places.push(*slot);
                }
                Some(Entry::Delivery(_)) => {}
                // Its writer is about to fill it, or died.
                None if bucket.end().saturating_add(QUIET_SECONDS) < now => {}
                None => open.push(*slot),
            }
        }
        let (mut records, mut at) = (Vec::new(), Vec::new());
        for (record, slot) in Ledger(self.platform).records(&jobs)?.into_iter().zip(places) {
            match record {
                Ok(record) => {
                    records.push(record);
                    at.push(slot);
                }
                Err(error) => {
                    self.problems.push(error.to_string());
                    open.push(slot);
                }
            }
        }
        let mut rows = Vec::with_capacity(records.len());
        for (summary, slot) in summaries(self.platform, &records, &mut self.seen)?.iter().zip(at) {
            // A job may stand in several buckets; the one of its request is its place.
            let received = summary.times.received.map(Bucket::at);
            if received.is_none_or(|received| received == bucket) {
                rows.push(self.row(Place { bucket, slot }, summary));
            }
            let over = matches!(summary.state, State::Finished | State::Expired);
            if !(over && summary.since.saturating_add(QUIET_SECONDS) < now) {
                open.push(slot);
            }
        }
        let news = slots.len() - open.len();
        Ok((rows, open, news))
    }

    fn row(&mut self, place: Place, summary: &JobSummary) -> Row {
        let repository = summary.repository.as_ref().map(ToString::to_string).unwrap_or_default();
        Row {
            place,
            job: summary.job,
            repository: self.shared.get(&repository),
            profile: self.shared.get(summary.profile.as_deref().unwrap_or_default()),
            cluster: self.shared.get(summary.cluster.as_ref().map(ClusterName::as_str).unwrap_or_default()),
            state: summary.state,
            conclusion: self.shared.get(summary.conclusion.as_deref().unwrap_or_default()),
            launches: summary.launches,
            submit_failures: summary.submit_failures,
            redeem_failures: summary.redeem_failures,
            times: summary.times,
            why: summary.why.clone().filter(|_| summary.state.waits()),
            since: summary.since,
        }
    }

    fn unpack(&mut self, bucket: Bucket, digest: &Digest) -> Vec<Row> {
        let strings: Vec<Rc<str>> = digest.strings.iter().map(|text| self.shared.get(text)).collect();
        let text = |index: usize| strings.get(index).cloned().unwrap_or_default();
        let time = |distance: i64| bucket.begin().saturating_add_signed(distance);
        let unpack = |packed: &Packed| {
            let (slot, job, names, state, launches, submits, redeems, since, times) = *packed;
            let [repository, profile, cluster, conclusion] = names.map(&text);
            let [created, received, submitted, redeemed, started, finished] = times.map(|at| at.map(time));
            Row {
                place: Place { bucket, slot },
                job,
                repository,
                profile,
                cluster,
                state,
                conclusion,
                launches,
                submit_failures: submits,
                redeem_failures: redeems,
                times: Times { created, received, submitted, redeemed, started, finished },
                why: None,
                since: time(since),
            }
        };
        digest.rows.iter().map(unpack).collect()
    }
}

/// Makes the digests that are due, while `go_on` holds, so that whoever looks finds them.
pub fn digest<P: Store + Clock + Variables>(platform: &P, mut go_on: impl FnMut() -> bool) -> Result<(), StoreError> {
    Reader::new(platform, usize::MAX).walk(None, |_, _, _| Ok(go_on()))
}

fn pack(bucket: Bucket, rows: &[Row], open: Vec<i64>, upto: i64) -> Digest {
    let mut strings: Vec<String> = Vec::new();
    let mut number = |text: &str| {
        strings.iter().position(|known| known == text).unwrap_or_else(|| {
            strings.push(text.to_owned());
            strings.len() - 1
        })
    };
    let distance = |at: u64| at.cast_signed().wrapping_sub(bucket.begin().cast_signed());
    let rows = rows
        .iter()
        .map(|row| {
            let Times { created, received, submitted, redeemed, started, finished } = row.times;
            let times = [created, received, submitted, redeemed, started, finished].map(|at| at.map(distance));
            let names = [&row.repository, &row.profile, &row.cluster, &row.conclusion].map(|name| number(name));
            let since = distance(row.since);
            let failures = (row.submit_failures, row.redeem_failures);
            let (slot, job, state, launches) = (row.place.slot, row.job, row.state, row.launches);
            (slot, job, names, state, launches, failures.0, failures.1, since, times)
        })
        .collect();
    Digest { head: Head { open, upto }, strings, rows }
}
