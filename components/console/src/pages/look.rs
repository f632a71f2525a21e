//! How states and conclusions look: a color, a sign, and the words of [`gha_slurm_overview::words`].

use gha_slurm_overview::{SlurmSaid, State};
use maud::{Markup, html};

use crate::time::about;

/// A style class, a sign and words.
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

/// When Slurm expects to start a Slurm job, and its place in the queue, if it says so.
pub(super) fn estimate(said: &SlurmSaid, now: u64) -> Option<String> {
    let place = said.position.map(|position| format!("place {position} in the queue"));
    match (said.starts_at, place) {
        (Some(at), Some(place)) => Some(format!("starts {}, {place}", about(at.saturating_sub(now)))),
        (Some(at), None) => Some(format!("starts {}", about(at.saturating_sub(now)))),
        (None, place) => place,
    }
}

impl Look {
    /// Of a job in a state, with its conclusion if it has one.
    pub(super) fn of(state: State, conclusion: Option<&str>) -> Self {
        let (class, sign) = match state {
            State::Unconfirmed | State::Held | State::InLine | State::Unsubmitted | State::Offered => ("waits", CLOCK),
            State::Pending => ("holds", LAYERS),
            State::Starting => ("holds", PLAY),
            State::GivenUp | State::Refused | State::Denied => ("bad", CROSS),
            State::Running => ("runs", PLAY),
            State::Expired => ("bad", CLOCK),
            State::Finished => return Self::ended(conclusion),
        };
        Self { class, sign, words: state.label().to_owned() }
    }

    /// Of a conclusion, in GitHub's word.
    fn ended(conclusion: Option<&str>) -> Self {
        let (class, sign) = match conclusion {
            Some("success") => ("good", TICK),
            Some("failure" | "timed_out" | "startup_failure") => ("bad", CROSS),
            _ => ("off", STOP),
        };
        let words =
            conclusion.unwrap_or(State::Finished.label()).chars().take(40).collect::<String>().replace('_', " ");
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
