//! Times as GitHub writes them.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};

/// Seconds of Unix time.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// RFC 3339 in UTC, as GitHub writes times in JSON.
pub(crate) fn rfc3339(seconds: u64) -> String {
    time(seconds).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The value of a `date` header.
pub(crate) fn http_date(seconds: u64) -> String {
    time(seconds).format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn time(seconds: u64) -> DateTime<Utc> {
    DateTime::from_timestamp(i64::try_from(seconds).unwrap_or(0), 0).unwrap_or_default()
}
