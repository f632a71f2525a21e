//! Rate limits. GitHub counts each installation for itself, and the App's own calls apart from them.
//!
//! Source: GitHub Docs, "Rate limits for the REST API". Calls that come before a client may call again are noted:
//! "Continuing to make requests while you are rate limited may result in the banning of your integration."

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);
/// What a client waits for when a secondary limit names no time.
const UNNAMED_WAIT: Duration = Duration::from_secs(60);
/// Calls of an hour.
pub(crate) const PRIMARY: u64 = 5000;

/// Whose calls are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// The App by its JWT.
    App,
    /// The tokens of an installation.
    Installation(u64),
}

/// A limit that a caller has exceeded.
#[derive(Debug, Clone, Copy)]
pub enum RateLimit {
    /// The calls of an hour are used up: `x-ratelimit-remaining` is 0, and `x-ratelimit-reset` counts.
    Primary {
        /// Until the hour is over.
        reset_in: Duration,
    },
    /// Too many calls at once: `x-ratelimit-remaining` is above 0, and `x-ratelimit-reset` says nothing about it.
    Secondary {
        /// 403 or 429.
        status: u16,
        /// How long it lasts.
        lasts: Duration,
        /// Seconds in `retry-after`, when there is one.
        retry_after: Option<u64>,
    },
}

impl RateLimit {
    /// How long a client that was told of it must not call.
    fn wait(&self) -> Duration {
        match self {
            Self::Primary { reset_in } => *reset_in,
            Self::Secondary { retry_after, .. } => retry_after.map_or(UNNAMED_WAIT, Duration::from_secs),
        }
    }
}

/// What the `x-ratelimit-` headers of an answer say.
#[derive(Clone, Copy)]
pub(crate) struct Quota {
    pub(crate) used: u64,
    /// Until the hour of the primary limit is over.
    pub(crate) reset_in: Duration,
}

#[derive(Default)]
pub(crate) struct Limits {
    callers: BTreeMap<Caller, Counted>,
    ignored: Vec<String>,
}

struct Counted {
    used: u64,
    hour_ends: Instant,
    limit: Option<(RateLimit, Instant)>,
    /// A limit that begins after so many more calls.
    due: Option<(u64, RateLimit)>,
    /// Told of a limit, and not to call before.
    not_before: Option<Instant>,
}

impl Counted {
    fn begin(&mut self, limit: RateLimit, now: Instant) {
        let end = match limit {
            RateLimit::Primary { .. } => self.hour_ends,
            RateLimit::Secondary { lasts, .. } => now + lasts,
        };
        self.limit = Some((limit, end));
    }

    fn quota(&self, now: Instant) -> Quota {
        let used = match (self.limit, self.due) {
            (Some((RateLimit::Primary { .. }, _)), _) => PRIMARY,
            (None, Some((left, RateLimit::Primary { .. }))) => PRIMARY.saturating_sub(left),
            // The hour's calls are used up only when a test says so.
            _ => self.used.min(PRIMARY - 1),
        };
        Quota { used, reset_in: self.hour_ends.duration_since(now) }
    }
}

impl Limits {
    /// Begins a limit after so many more calls; with 0 the next call meets it.
    pub(crate) fn set(&mut self, caller: Caller, calls: u64, limit: RateLimit) {
        let now = Instant::now();
        let counted = self.of(caller);
        if let RateLimit::Primary { reset_in } = limit {
            counted.hour_ends = now + reset_in;
        }
        if calls == 0 {
            counted.begin(limit, now);
        } else {
            counted.due = Some((calls, limit));
        }
    }

    pub(crate) fn lift(&mut self, caller: Caller) {
        let counted = self.of(caller);
        (counted.limit, counted.due) = (None, None);
    }

    /// The calls that count, of this hour.
    pub(crate) fn used(&mut self, caller: Caller) -> u64 {
        self.of(caller).used
    }

    /// The calls that came before their callers might call again.
    pub(crate) fn ignored(&self) -> Vec<String> {
        self.ignored.clone()
    }

    /// Counts a call; the limit that refuses it, and what the headers say.
    pub(crate) fn count(&mut self, caller: Caller, request: &str) -> (Option<RateLimit>, Quota) {
        let now = Instant::now();
        if self.of(caller).not_before.is_some_and(|moment| now < moment) {
            self.ignored.push(request.to_owned());
        }
        let counted = self.of(caller);
        if counted.hour_ends <= now {
            (counted.used, counted.hour_ends) = (0, now + HOUR);
        }
        counted.limit = counted.limit.filter(|(_, end)| now < *end);
        match counted.due {
            Some((0, limit)) => {
                counted.due = None;
                counted.begin(limit, now);
            }
            Some((left, limit)) => counted.due = Some((left - 1, limit)),
            None => {}
        }
        counted.used += 1;
        if let Some((limit, end)) = counted.limit {
            let earlier = counted.not_before.map_or(now, |moment| moment.max(now));
            counted.not_before = Some(match limit {
                RateLimit::Primary { .. } => end,
                RateLimit::Secondary { .. } => earlier.max(now + limit.wait()),
            });
        }
        (counted.limit.map(|(limit, _)| limit), counted.quota(now))
    }

    /// Takes back the last count: 304 does not count towards the primary limit. What the headers say then.
    pub(crate) fn uncount(&mut self, caller: Caller) -> Quota {
        let counted = self.of(caller);
        counted.used = counted.used.saturating_sub(1);
        if let Some((left, RateLimit::Primary { .. })) = &mut counted.due {
            *left += 1;
        }
        counted.quota(Instant::now())
    }

    fn of(&mut self, caller: Caller) -> &mut Counted {
        let fresh = || Counted { used: 0, hour_ends: Instant::now() + HOUR, limit: None, due: None, not_before: None };
        self.callers.entry(caller).or_insert_with(fresh)
    }
}
