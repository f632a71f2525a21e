//! GitHub's rate limits, kept so that no replica asks before one is over.
//!
//! Sources: GitHub Docs, "Rate limits for the REST API" and "Best practices for using the REST API". A limit is an answer
//! 403 or 429. With `retry-after` it lasts so long; with `x-ratelimit-remaining: 0` until `x-ratelimit-reset`, which means
//! nothing else where requests remain; otherwise it is a secondary limit, which lasts at least a minute, and longer each
//! time. GitHub limits each installation by itself, and the App's own calls apart from them; so does this.
//!
//! Of the App's own calls, those that read its deliveries may be ten thousand in a row, and those that make tokens are what
//! Slurm jobs wait for. So a limit that the former meet stops the former alone, and they leave a part of each hour's calls
//! to the latter.

use serde::{Deserialize, Serialize};

use super::refusal::date;
use crate::identity::InstallationId;
use crate::ledger::{keys, read, write};
use crate::ports::{Clock, HttpResponse, Store};

/// GitHub says "at least one minute".
const SECONDARY_SECONDS: u64 = 60;
/// 60 s, 2 min, 4 min, 8 min, 16 min.
const MOST_DOUBLINGS: u32 = 4;
/// A secondary limit so soon after the end of another one is the same trouble.
const SAME_TROUBLE_SECONDS: u64 = 10 * 60;
/// So many calls of an hour are not for reading deliveries, or a fifth, where GitHub allows fewer than 5,000.
const RESERVE: u64 = 1000;
const RESERVED_PART: u64 = 5;
/// The longest window of a primary limit.
const LONGEST_SECONDS: u64 = 3600;

/// Whose limit a call counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The App's own calls, by its JWT.
    App,
    /// Those of them that read its deliveries.
    Deliveries,
    /// The calls by an installation's token.
    Installation(InstallationId),
    /// Calls without a credential.
    Anonymous,
}

/// A limit that was met. It is a hint: what two replicas write at once is as good as either.
#[derive(Debug, Serialize, Deserialize)]
struct Limit {
    /// Its end, in seconds of Unix time.
    until: u64,
    /// How often the wait was doubled.
    #[serde(default)]
    doublings: u32,
}

impl Scope {
    fn key(self) -> String {
        match self {
            Self::App => keys::github_limited_until("app"),
            Self::Deliveries => keys::github_limited_until("deliveries"),
            Self::Installation(id) => keys::github_limited_until(&id.0.to_string()),
            Self::Anonymous => keys::github_limited_until("anonymous"),
        }
    }

    /// How many seconds more a limit holds that any replica met.
    pub(super) fn limited<P: Store + Clock>(self, platform: &P) -> Option<u64> {
        let mut keys = vec![self.key()];
        // GitHub counts them together.
        keys.extend((self == Self::Deliveries).then(|| Self::App.key()));
        let now = platform.unix_seconds();
        // A limit that cannot be read must not stop everything.
        let kept = platform.get_many(&keys).ok()?.into_iter().flatten();
        let limits = kept.filter_map(|kept| serde_json::from_slice::<Limit>(&kept).ok());
        let longest = limits.map(|limit| limit.until.saturating_sub(now)).max()?;
        (longest > 0).then_some(longest.min(LONGEST_SECONDS))
    }

    /// Keeps what is left of an hour's calls for others than readers of deliveries, once an answer says that it is little.
    pub(super) fn spare<P: Store + Clock>(self, platform: &P, response: &HttpResponse) {
        let (limit, remaining) = (number(response, "x-ratelimit-limit"), number(response, "x-ratelimit-remaining"));
        let (Self::Deliveries, Some(limit), Some(remaining)) = (self, limit, remaining) else { return };
        let now = platform.unix_seconds();
        if remaining >= RESERVE.min(limit / RESERVED_PART) {
            return;
        }
        let Some(wait) = until_reset(response, now).filter(|wait| *wait > 0) else { return };
        let earlier = read::<Limit>(platform, &self.key()).ok().flatten();
        let until = now.saturating_add(wait.min(LONGEST_SECONDS));
        if earlier.as_ref().is_none_or(|earlier| earlier.until < until) {
            let doublings = earlier.map_or(0, |earlier| earlier.doublings);
            // Not kept, the next answer says it again.
            let _ = write(platform, &self.key(), &Limit { until, doublings });
        }
    }

    /// Keeps the limit that an answer tells of, if it does; for how many seconds nobody is to ask.
    pub(super) fn met<P: Store + Clock>(self, platform: &P, response: &HttpResponse) -> Option<u64> {
        let now = platform.unix_seconds();
        let kind = Kind::of(response, now)?;
        let earlier = read::<Limit>(platform, &self.key()).ok().flatten();
        // What was under way when a limit began meets the same one.
        let holds = earlier.as_ref().is_some_and(|earlier| earlier.until > now);
        let doublings = match &earlier {
            Some(earlier) if holds => earlier.doublings,
            Some(earlier) if kind == Kind::Secondary && earlier.until.saturating_add(SAME_TROUBLE_SECONDS) > now => {
                (earlier.doublings + 1).min(MOST_DOUBLINGS)
            }
            _ => 0,
        };
        let wait = match kind {
            Kind::Told(seconds) => seconds.clamp(1, LONGEST_SECONDS),
            Kind::Secondary => SECONDARY_SECONDS << doublings.min(MOST_DOUBLINGS),
        };
        let until = now.saturating_add(wait).max(earlier.filter(|_| holds).map_or(0, |earlier| earlier.until));
        // Not kept, it is met again.
        let _ = write(platform, &self.key(), &Limit { until, doublings });
        Some(until.saturating_sub(now).min(LONGEST_SECONDS))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// GitHub says for how many seconds.
    Told(u64),
    /// GitHub does not say.
    Secondary,
}

impl Kind {
    fn of(response: &HttpResponse, now: u64) -> Option<Self> {
        let (retry_after, remaining) = (number(response, "retry-after"), number(response, "x-ratelimit-remaining"));
        let message = response.message().to_ascii_lowercase();
        let told = ["rate limit", "abuse detection"].iter().any(|words| message.contains(words));
        let limited = match response.status {
            429 => true,
            403 => retry_after.is_some() || remaining == Some(0) || told,
            _ => false,
        };
        if !limited {
            return None;
        }
        if let Some(seconds) = retry_after {
            return Some(Self::Told(seconds));
        }
        match (remaining, until_reset(response, now)) {
            (Some(0), Some(seconds)) => Some(Self::Told(seconds)),
            _ => Some(Self::Secondary),
        }
    }
}

fn number(response: &HttpResponse, header: &str) -> Option<u64> {
    response.header(header).and_then(|value| value.trim().parse().ok())
}

/// Seconds until the primary limit's calls are counted anew, by GitHub's own clock, whatever ours says.
fn until_reset(response: &HttpResponse, now: u64) -> Option<u64> {
    let github = date(response).and_then(|date| u64::try_from(date).ok()).unwrap_or(now);
    Some(number(response, "x-ratelimit-reset")?.saturating_sub(github))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;
    use serde_json::json;

    const SCOPE: Scope = Scope::Installation(InstallationId(9));

    fn limit(status: u16, headers: &[(&str, &str)]) -> HttpResponse {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let body = json!({"message": "You have exceeded a secondary rate limit."}).to_string().into_bytes();
        HttpResponse { status, headers, body }
    }

    #[test]
    fn a_secondary_limit_lasts_a_minute_and_twice_as_long_each_time() {
        let platform = Memory::new();
        let reset = (platform.unix_seconds() + 2700).to_string();
        let secondary = limit(403, &[("x-ratelimit-remaining", "4811"), ("x-ratelimit-reset", &reset)]);
        for wait in [60, 120, 240, 480, 960, 960] {
            assert_eq!(SCOPE.met(&platform, &secondary), Some(wait));
            // What was under way meets the same limit, and makes it no longer.
            assert_eq!(SCOPE.met(&platform, &secondary), Some(wait));
            assert_eq!(SCOPE.limited(&platform), Some(wait));
            platform.seconds.set(platform.seconds.get() + wait);
            assert_eq!(SCOPE.limited(&platform), None);
        }
        platform.seconds.set(platform.seconds.get() + SAME_TROUBLE_SECONDS);
        assert_eq!(SCOPE.met(&platform, &secondary), Some(60), "that was another trouble");
    }

    #[test]
    fn retry_after_counts_first_and_the_reset_only_when_nothing_remains() {
        let now = Memory::new().unix_seconds();
        let (reset, later) = ((now + 50).to_string(), (now + 90_000).to_string());
        for (status, headers, wait) in [
            (429, vec![("retry-after", "7"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &*reset)], 7),
            (403, vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &*reset)], 50),
            (403, vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &*later)], 3600),
            (429, vec![("x-ratelimit-remaining", "0")], 60),
            (429, vec![("x-ratelimit-reset", &*reset)], 60),
        ] {
            assert_eq!(SCOPE.met(&Memory::new(), &limit(status, &headers)), Some(wait), "{headers:?}");
        }
        // GitHub's reset is a time of GitHub's clock, which is 100 s behind ours here.
        let date = "Fri, 15 Jan 2027 07:58:20 GMT";
        let ours = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &*reset), ("date", date)];
        assert_eq!(SCOPE.met(&Memory::new(), &limit(403, &ours)), Some(150));
    }

    #[test]
    fn the_limit_of_one_installation_is_no_other_ones_nor_the_apps() {
        let platform = Memory::new();
        SCOPE.met(&platform, &limit(429, &[])).unwrap();
        assert_eq!(SCOPE.limited(&platform), Some(60));
        for free in [Scope::App, Scope::Installation(InstallationId(10)), Scope::Anonymous] {
            assert_eq!(free.limited(&platform), None, "{free:?}");
        }
    }

    #[test]
    fn a_limit_of_reading_deliveries_gates_no_token_and_one_of_tokens_gates_both() {
        let platform = Memory::new();
        Scope::Deliveries.met(&platform, &limit(429, &[("retry-after", "600")])).unwrap();
        assert_eq!((Scope::Deliveries.limited(&platform), Scope::App.limited(&platform)), (Some(600), None));
        Scope::App.met(&platform, &limit(429, &[("retry-after", "900")])).unwrap();
        assert_eq!((Scope::Deliveries.limited(&platform), Scope::App.limited(&platform)), (Some(900), Some(900)));
    }

    #[test]
    fn who_reads_deliveries_leaves_a_part_of_the_limit_to_others() {
        let reset = (Memory::new().unix_seconds() + 1500).to_string();
        for (scope, allowed, remaining, wait) in [
            (Scope::Deliveries, "5000", "1000", None),
            (Scope::Deliveries, "5000", "999", Some(1500)),
            (Scope::Deliveries, "15000", "999", Some(1500)),
            (Scope::Deliveries, "500", "100", None),
            (Scope::Deliveries, "500", "99", Some(1500)),
            (Scope::App, "5000", "1", None),
        ] {
            let platform = Memory::new();
            let headers =
                [("x-ratelimit-limit", allowed), ("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", &*reset)];
            scope.spare(&platform, &HttpResponse { status: 200, ..limit(200, &headers) });
            assert_eq!(scope.limited(&platform), wait, "{scope:?} {allowed} {remaining}");
            assert_eq!(Scope::App.limited(&platform), None);
        }
        // A server without limits says nothing of them.
        let platform = Memory::new();
        Scope::Deliveries.spare(&platform, &limit(200, &[]));
        assert_eq!(Scope::Deliveries.limited(&platform), None);
    }

    #[test]
    fn a_plain_refusal_is_no_limit() {
        let body = json!({"message": "Resource not accessible by integration"}).to_string().into_bytes();
        let headers = vec![("x-ratelimit-remaining".to_owned(), "4811".to_owned())];
        assert_eq!(SCOPE.met(&Memory::new(), &HttpResponse { status: 403, headers, body }), None);
    }
}
