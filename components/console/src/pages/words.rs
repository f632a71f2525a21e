//! How states, durations and times are said.

use chrono::DateTime;
use gha_slurm_overview::State;
use maud::{Markup, html};

/// How a state or an ending looks: its class, its sign and its words.
pub(super) struct Look {
    pub(super) class: &'static str,
    sign: &'static str,
    pub(super) words: String,
}

const CLOCK: &str = "M8 2a6 6 0 1 0 .01 0M8 5v3.500l2 1.500";
const LAYERS: &str = "M8 2 2 5l6 3 6-3-6-3M2 8.500l6 3 6-3M2 12l6 3 6-3";
const PLAY: &str = "M5 3v10l8-5z";
const TICK: &str = "M3 8.500l3.500 3.500L13 4.500";
const CROSS: &str = "M4 4l8 8M12 4l-8 8";
const STOP: &str = "M8 2a6 6 0 1 0 .01 0M4 4l8 8";

impl Look {
    /// Of a job in a state, which ended in a way if it did.
    pub(super) fn of(state: State, conclusion: Option<&str>) -> Self {
        let (class, sign, words) = match state {
            State::Unconfirmed => ("waits", CLOCK, "to be confirmed"),
            State::Held => ("waits", CLOCK, "held by GitHub"),
            State::InLine => ("waits", CLOCK, "in line"),
            State::Unsubmitted => ("waits", CLOCK, "not submitted"),
            State::Pending => ("holds", LAYERS, "in Slurm"),
            State::Starting => ("holds", PLAY, "runner starts"),
            State::GivenUp => ("bad", CROSS, "given up"),
            State::Running => ("runs", PLAY, "running"),
            State::Expired => ("bad", CLOCK, "expired"),
            State::Finished => return Self::ended(conclusion),
        };
        Self { class, sign, words: words.to_owned() }
    }

    /// Of an ending, in GitHub's word.
    fn ended(conclusion: Option<&str>) -> Self {
        let (class, sign) = match conclusion {
            Some("success") => ("good", TICK),
            Some("failure" | "timed_out" | "startup_failure") => ("bad", CROSS),
            _ => ("off", STOP),
        };
        let words = conclusion.unwrap_or("ended").chars().take(40).collect::<String>().replace('_', " ");
        Self { class, sign, words }
    }

    pub(super) fn badge(&self) -> Markup {
        html! {
            span class={ "badge " (self.class) } {
                svg viewBox="0 0 16 16" aria-hidden="true" { path d=(self.sign) {} }
                (self.words)
            }
        }
    }
}

/// A length of time, as short as it is still of use: `8 s`, `4 min 10 s`, `3 h 5 min`, `2 d 4 h`.
pub(super) fn duration(seconds: u64) -> String {
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

/// A time as how long ago it is.
pub(super) fn ago(at: u64, now: u64) -> Markup {
    let text = match now.saturating_sub(at) {
        0..5 => "just now".to_owned(),
        seconds @ 5..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} d ago", seconds / 86_400),
    };
    html! { time datetime=(format(at, "%Y-%m-%dT%H:%M:%SZ")) title=(format(at, "%Y-%m-%d %H:%M:%S UTC")) { (text) } }
}

/// A time in the words of a clock.
pub(super) fn clock(at: u64) -> Markup {
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
    fn times_that_no_calendar_has_are_left_out() {
        assert!(ago(u64::MAX, 0).into_string().contains("just now"));
        assert!(clock(1_800_000_000).into_string().contains("2027-01-15 08:00:00 UTC"));
    }
}
