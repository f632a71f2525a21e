//! What a component answers, and what it logs about it: two texts, because what helps an operator may not be for
//! whoever sent the request.

use serde::Serialize;
use serde_json::{Value, json};

/// An HTTP answer, with a JSON body unless it says otherwise.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Headers besides `Content-Type` and `Content-Length`.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Value,
    /// Another body in its place, with its content type.
    pub text: Option<(&'static str, String)>,
    /// What the log says beyond status and body; never a secret.
    pub detail: Option<String>,
    /// Fields of the body that may be logged as well. A body with a credential lists none of it.
    pub log: Value,
}

impl Answer {
    /// An answer whose body may be logged as it is.
    pub fn new(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), log: body.clone(), body, text: None, detail: None }
    }

    /// 200 with a body that is not JSON. The log gets its length.
    pub fn text(content_type: &'static str, text: String) -> Self {
        let log = json!({ "bytes": text.len() });
        Self { text: Some((content_type, text)), ..Self::confidential(200, Value::Null, log) }
    }

    /// An answer whose body holds a credential: the log gets `log` instead.
    pub fn confidential(status: u16, body: Value, log: Value) -> Self {
        let no_store = ("cache-control", "no-store".to_owned());
        Self { status, headers: vec![no_store], body, text: None, detail: None, log }
    }

    /// An HTML page that nobody but its reader keeps; of it, the log gets `log`.
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

    /// 405 with the one method that this route takes.
    pub fn method_not_allowed(allowed: &'static str) -> Self {
        Self::error(405, format!("only {allowed} is served here")).with_header("allow", allowed)
    }

    /// 503: worth asking again after `seconds`.
    pub fn try_again(seconds: u64, message: impl Into<String>) -> Self {
        Self::error(503, message).with_header("retry-after", seconds.to_string())
    }

    /// Adds a header.
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds what only the log should say.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The JSON line for the log.
    pub fn log_line(&self, event: &str) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            level: &'static str,
            event: &'a str,
            status: u16,
            #[serde(skip_serializing_if = "Option::is_none")]
            detail: Option<&'a str>,
            answer: &'a Value,
        }
        let level = match self.status {
            500.. => "error",
            400.. => "warn",
            _ => "info",
        };
        let line = Line { level, event, status: self.status, detail: self.detail.as_deref(), answer: &self.log };
        serde_json::to_string(&line).unwrap_or_default()
    }
}
