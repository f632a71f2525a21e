//! What a component answers, and what it logs about it: two texts, because what helps an operator may not be meant for
//! the sender of the request.

use serde_json::{Map, Value, json};

/// An HTTP answer, with a JSON body unless it says otherwise.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Headers besides `Content-Type` and `Content-Length`.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Value,
    /// A body that is not JSON, with its content type.
    pub text: Option<(&'static str, String)>,
    /// What the log says beyond status and body; never a secret.
    pub detail: Option<String>,
    /// Fields for the log; none of them from a body with a credential.
    pub log: Value,
    /// Its level in the log, if the status is not enough.
    pub level: Option<Level>,
}

impl Answer {
    /// An answer whose body may be logged as it is.
    pub fn new(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), log: body.clone(), body, text: None, detail: None, level: None }
    }

    /// 200 with a body that is not JSON. The log gets its length.
    pub fn text(content_type: &'static str, text: String) -> Self {
        let log = json!({ "bytes": text.len() });
        Self { text: Some((content_type, text)), ..Self::confidential(200, Value::Null, log) }
    }

    /// An answer whose body holds a credential: the log gets `log` instead.
    pub fn confidential(status: u16, body: Value, log: Value) -> Self {
        let no_store = ("cache-control", "no-store".to_owned());
        Self { status, headers: vec![no_store], body, text: None, detail: None, log, level: None }
    }

    /// An HTML page that no cache keeps; the log gets `log`.
    pub fn page(status: u16, html: impl Into<String>, log: Value) -> Self {
        let text = Some(("text/html; charset=utf-8", html.into()));
        Self { text, ..Self::confidential(status, Value::Null, log) }
    }

    /// The content type and the body, as they are sent.
    pub fn content(&self) -> (&'static str, Vec<u8>) {
        match &self.text {
            Some((kind, text)) => (kind, text.clone().into_bytes()),
            None => ("application/json", self.body.to_string().into_bytes()),
        }
    }

    /// `{"error": message}`.
    pub fn error(status: u16, message: impl Into<String>) -> Self {
        Self::new(status, json!({ "error": message.into() }))
    }

    /// 405 with the methods that this route takes.
    pub fn method_not_allowed(allowed: &'static str) -> Self {
        Self::error(405, format!("only {allowed} is allowed here")).with_header("allow", allowed)
    }

    /// 503: try again after `seconds`.
    pub fn try_again(seconds: u64, message: impl Into<String>) -> Self {
        Self::error(503, message).with_header("retry-after", seconds.to_string())
    }

    /// Adds a header.
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds details for the log alone.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a field for the log alone. It comes from outside, so it is cut, and control characters are removed.
    pub fn with_log(mut self, name: &str, value: &str) -> Self {
        let value: String = value.chars().filter(|c| !c.is_control()).take(MAX_LOGGED).collect();
        match self.log.as_object_mut() {
            Some(fields) => fields.insert(name.to_owned(), value.into()).map_or((), drop),
            None => self.log = json!({ name: value }),
        }
        self
    }

    /// Logs it at this level instead of the one that its status suggests.
    pub fn at(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// How important this is to an operator.
    pub fn level(&self) -> Level {
        self.level.unwrap_or(match self.status {
            // Somebody has to act.
            500 => Level::Error,
            // It may resolve itself, or is somebody else's mistake: worth a look if there are many.
            501.. => Level::Warn,
            // Clients do this in normal operation.
            404 | 405 | 409 | 410 => Level::Info,
            400.. => Level::Warn,
            _ => Level::Info,
        })
    }

    /// The JSON line for the log: level, event and status, and the fields of `log` beside them.
    pub fn log_line(&self, event: &str) -> String {
        let mut line = match &self.log {
            Value::Object(fields) => fields.clone(),
            Value::Null => Map::new(),
            other => Map::from_iter([("answer".to_owned(), other.clone())]),
        };
        line.extend(self.detail.as_ref().map(|detail| ("detail".to_owned(), detail.as_str().into())));
        line.retain(|_, value| !value.is_null());
        line.insert("level".to_owned(), self.level().name().into());
        line.insert("event".to_owned(), event.into());
        line.insert("status".to_owned(), self.status.into());
        Value::Object(line).to_string()
    }
}

/// The longest value of [`Answer::with_log`], in characters.
const MAX_LOGGED: usize = 100;

/// How important a line of the log is to an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something was read, and nothing changed.
    Debug,
    /// Normal operation, including a full profile and a cancelled job.
    Info,
    /// A problem that may resolve itself.
    Warn,
    /// Somebody has to act.
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_answers_fields_beside_its_own_and_no_control_characters() {
        let answer = Answer::new(202, json!({"decision": "deferred", "job": 42, "launch": null, "level": "none"}))
            .with_detail("why")
            .with_log("delivery", &format!("a\nb{}", "c".repeat(200)))
            .at(Level::Warn);
        let line: Value = serde_json::from_str(&answer.log_line("webhook")).unwrap();
        let delivery = format!("ab{}", "c".repeat(98));
        let expected = json!({
            "level": "warn", "event": "webhook", "status": 202, "decision": "deferred", "job": 42, "detail": "why",
            "delivery": delivery,
        });
        assert_eq!(line, expected);
        assert_eq!(answer.body["launch"], Value::Null);
    }

    #[test]
    fn levels_tell_what_needs_somebody_from_what_does_not() {
        for (status, level) in [
            (200, Level::Info),
            (202, Level::Info),
            (401, Level::Warn),
            (404, Level::Info),
            (409, Level::Info),
            (410, Level::Info),
            (500, Level::Error),
            (503, Level::Warn),
        ] {
            assert_eq!(Answer::error(status, "").level(), level, "{status}");
        }
    }
}
