//! Times and lengths of time, as pages and explanations show them.

use chrono::DateTime;
use maud::{Markup, html};

/// A length of time in its two largest units: `8 s`, `4 min 10 s`, `3 h 5 min`, `2 d 4 h`.
pub(crate) fn duration(seconds: u64) -> String {
    let two = |big: u64, big_unit: &str, small: u64, small_unit: &str| {
        if small == 0 { format!("{big} {big_unit}") } else { format!("{big} {big_unit} {small} {small_unit}") }
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// When something is expected that is so many seconds away, no more exactly than such an estimate is.
pub(crate) fn about(seconds: u64) -> String {
    match seconds {
        0 => "at any moment".to_owned(),
        1..60 => "within a minute".to_owned(),
        60..7200 => format!("in about {}", duration(seconds.div_ceil(60) * 60)),
        7200..172_800 => format!("in about {} h", (seconds + 1800) / 3600),
        _ => format!("in about {} d", (seconds + 43_200) / 86_400),
    }
}

/// How long ago a time is.
pub(crate) fn ago(at: u64, now: u64) -> Markup {
    let text = match now.saturating_sub(at) {
        0..5 => "just now".to_owned(),
        seconds @ 5..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} d ago", seconds / 86_400),
    };
    html! { time datetime=(format(at, "%Y-%m-%dT%H:%M:%SZ")) title=(format(at, "%Y-%m-%d %H:%M:%S UTC")) { (text) } }
}

/// A time with its date.
pub(crate) fn clock(at: u64) -> Markup {
    html! { time datetime=(format(at, "%Y-%m-%dT%H:%M:%SZ")) { (format(at, "%Y-%m-%d %H:%M:%S UTC")) } }
}

fn format(at: u64, how: &str) -> String {
    let time = i64::try_from(at).ok().and_then(|at| DateTime::from_timestamp(at, 0));
    time.map(|time| time.format(how).to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (250, "4 min 10 s"),
            (3600, "1 h"),
            (11_100, "3 h 5 min"),
            (187_200, "2 d 4 h"),
            (u64::MAX, "213503982334601 d 7 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn an_estimate_is_told_no_more_exactly_than_it_is() {
        for (seconds, text) in [
            (0, "at any moment"),
            (59, "within a minute"),
            (840, "in about 14 min"),
            (841, "in about 15 min"),
            (7000, "in about 1 h 57 min"),
            (19_000, "in about 5 h"),
            (300_000, "in about 3 d"),
        ] {
            assert_eq!(about(seconds), text);
        }
    }

    #[test]
    fn times_that_no_calendar_has_are_left_out() {
        assert!(ago(u64::MAX, 0).into_string().contains("just now"));
        assert!(clock(1_800_000_000).into_string().contains("2027-01-15 08:00:00 UTC"));
    }
}
