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
    fn lasts(&self) -> Duration {
        match self {
            Self::Primary { reset_in: lasts } | Self::Secondary { lasts, .. } => *lasts,
        }
    }

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
    /// Told of a limit, and not to call before.
    not_before: Option<Instant>,
}

impl Limits {
    pub(crate) fn set(&mut self, caller: Caller, limit: RateLimit) {
        self.of(caller).limit = Some((limit, Instant::now() + limit.lasts()));
    }

    pub(crate) fn lift(&mut self, caller: Caller) {
        self.of(caller).limit = None;
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
        // The hour's calls are used up only when a test says so.
        counted.used = (counted.used + 1).min(PRIMARY - 1);
        counted.limit = counted.limit.filter(|(_, end)| now < *end);
        let reset_in = counted.hour_ends.duration_since(now);
        let Some((limit, end)) = counted.limit else {
            return (None, Quota { used: counted.used, reset_in });
        };
        counted.not_before = Some(counted.not_before.map_or(now, |moment| moment.max(now)).max(now + limit.wait()));
        match limit {
            RateLimit::Primary { .. } => {
                let reset_in = end.duration_since(now);
                counted.not_before = Some(end);
                (Some(limit), Quota { used: PRIMARY, reset_in })
            }
            RateLimit::Secondary { .. } => (Some(limit), Quota { used: counted.used, reset_in }),
        }
    }

    fn of(&mut self, caller: Caller) -> &mut Counted {
        let fresh = || Counted { used: 0, hour_ends: Instant::now() + HOUR, limit: None, not_before: None };
        self.callers.entry(caller).or_insert_with(fresh)
    }
}
