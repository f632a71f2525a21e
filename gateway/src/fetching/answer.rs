//! What the app answers, read so that one launch that is not understood, such as a newer app's, keeps nobody else's.

use gha_slurm_protocol::exchange::Leased;
use gha_slurm_protocol::identity::LaunchId;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

/// The app's orders.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) launches: Vec<Order>,
    pub(crate) cancel: Vec<LaunchId>,
    /// Reports of these are to be repeated.
    pub(crate) not_taken: Vec<LaunchId>,
    /// Where launch tokens are exchanged, if the app tells.
    pub(crate) public_url: Option<Url>,
}

/// A launch to submit.
#[derive(Debug)]
pub(crate) enum Order {
    /// With the lease that it comes under.
    Launch(LaunchId, Box<Leased>),
    /// Which one, and what is wrong with it.
    NotUnderstood(LaunchId, String),
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Raw {
    launches: Vec<Value>,
    cancel: Vec<Value>,
    not_taken: Vec<Value>,
    public_url: Value,
}

impl Answer {
    /// Reads a body, or says what is wrong with it. No value is part of that.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| format!("not JSON at line {} column {}", error.line(), error.column()))?;
        if !value.is_object() {
            return Err("no JSON object".to_owned());
        }
        let raw: Raw = serde_path_to_error::deserialize(value).map_err(|error| format!("at {}", error.path()))?;
        let named = |ids: Vec<Value>| ids.into_iter().filter_map(|id| serde_json::from_value(id).ok()).collect();
        Ok(Self {
            launches: raw.launches.into_iter().filter_map(Order::read).collect(),
            cancel: named(raw.cancel),
            not_taken: named(raw.not_taken),
            public_url: raw.public_url.as_str().and_then(|text| Url::parse(text).ok()),
        })
    }
}

impl Order {
    /// `None` for one of which not even the name is known: nothing could be told of it.
    fn read(value: Value) -> Option<Self> {
        let id: Option<LaunchId> =
            value.pointer("/start/launch").and_then(Value::as_str).and_then(|text| text.parse().ok());
        let Some(id) = id else {
            tracing::error!("the app's answer has a launch without a name");
            return None;
        };
        Some(match serde_path_to_error::deserialize(value) {
            Ok(leased) => Self::Launch(id, Box::new(leased)),
            // Only where: a value may be a token.
            Err(error) => Self::NotUnderstood(id, format!("{}: not understood by this gateway", error.path())),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn launch(id: &str, more: Value) -> Value {
        let mut start = json!({
            "launch": id, "gitHubURL": "https://github.com/o/r", "launcherToken": "a.b.c", "runnerLabels": "x",
            "tokenURL": "https://app.example/gha/runner",
        });
        start.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"start": start, "lease_seconds": 120})
    }

    fn read(body: &Value) -> Result<Answer, String> {
        Answer::read(body.to_string().as_bytes())
    }

    #[test]
    fn one_that_is_not_understood_keeps_no_other() {
        let answer = read(&json!({
            "launches": [launch("1-1", json!({})), launch("2-1", json!({"level": "galaxy"})), 7, launch("x", json!({})),
                {"start": {"launch": "3-1", "launcherToken": {"secret": 1}}}],
            "cancel": ["4-1", "x", 5], "unknown": [], "later": true,
        }))
        .unwrap();
        let tell = |order: &Order| match order {
            Order::Launch(id, leased) => format!("{id} {} {}", leased.lease_seconds, leased.again),
            Order::NotUnderstood(id, why) => format!("{id} {why}"),
        };
        let told: Vec<_> = answer.launches.iter().map(tell).collect();
        assert_eq!(told[0], "1-1 120 false");
        assert!(told[1].starts_with("2-1 start") && told[2].starts_with("3-1 start") && told.len() == 3, "{told:?}");
        assert!(told.iter().all(|line| !line.contains("galaxy") && !line.contains("secret")), "{told:?}");
        assert_eq!(answer.cancel.len(), 1);
        let nothing = read(&json!({})).unwrap();
        assert!(nothing.launches.is_empty() && nothing.public_url.is_none());
        for (said, url) in [(json!("https://app.example/"), Some("https://app.example/")), (json!(7), None)] {
            assert_eq!(read(&json!({"public_url": said})).unwrap().public_url.as_ref().map(Url::as_str), url);
        }
    }

    #[test]
    fn what_is_no_answer_is_told_without_its_values() {
        for (body, problem) in [
            (&b""[..], "not JSON at line 1"),
            (b"<html>", "not JSON"),
            (b"[]", "no JSON object"),
            (b"null", "no JSON object"),
            (br#"{"launches": {"token": "hunter2"}}"#, "at launches"),
        ] {
            let error = Answer::read(body).unwrap_err();
            assert!(error.starts_with(problem) && !error.contains("hunter2"), "{error}");
        }
    }
}
