//! How GitHub's deliveries reach the application.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{SettingError, Settings};
use crate::ports::Variables;

const WEBHOOKS: &str = "webhooks";
const POLL_SECONDS: &str = "poll_seconds";
/// An event is to be handled within 5 s, and a poll that finds nothing new costs GitHub little.
const DEFAULT_POLL: Duration = Duration::from_secs(3);
/// More would be slower than an external tick.
const LONGEST_POLL_SECONDS: u64 = 60;

/// Which way deliveries come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Webhooks {
    /// GitHub sends them to the webhook.
    #[default]
    Receive,
    /// They are read from GitHub's list of deliveries, and nothing is received.
    Poll,
}

impl<V: Variables> Settings<'_, V> {
    /// `webhooks`
    pub fn webhooks(&self) -> Result<Webhooks, SettingError> {
        match self.read(WEBHOOKS)?.unwrap_or_default().trim() {
            "" | "receive" => Ok(Webhooks::Receive),
            "poll" => Ok(Webhooks::Poll),
            _ => Err(SettingError::new(WEBHOOKS, "must be receive or poll")),
        }
    }

    /// `poll_seconds`: from the end of one reading of GitHub's list to the next, where a host has a clock.
    pub fn poll_interval(&self) -> Result<Duration, SettingError> {
        let Some(text) = self.optional(POLL_SECONDS)? else { return Ok(DEFAULT_POLL) };
        match text.parse() {
            Ok(seconds @ 1..=LONGEST_POLL_SECONDS) => Ok(Duration::from_secs(seconds)),
            _ => Err(SettingError::new(POLL_SECONDS, format!("must be a number from 1 to {LONGEST_POLL_SECONDS}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    #[test]
    fn deliveries_are_received_unless_the_operator_has_them_read() {
        let platform = Memory::new();
        for (value, read) in [
            ("", Some(Webhooks::Receive)),
            (" receive", Some(Webhooks::Receive)),
            ("poll\n", Some(Webhooks::Poll)),
            ("push", None),
        ] {
            platform.set_variable(WEBHOOKS, Some(value));
            assert_eq!(Settings(&platform).webhooks().ok(), read, "{value:?}");
        }
    }

    #[test]
    fn the_list_is_read_every_3_seconds_by_default_and_at_least_once_a_minute() {
        let platform = Memory::new();
        for (value, seconds) in
            [("", Some(3)), ("1", Some(1)), ("60", Some(60)), ("0", None), ("61", None), ("3s", None)]
        {
            platform.set_variable(POLL_SECONDS, Some(value));
            assert_eq!(Settings(&platform).poll_interval().ok(), seconds.map(Duration::from_secs), "{value:?}");
        }
    }
}
