//! The demo's output: one line per event, with the number of its step and what was sent.

use std::io::IsTerminal;

use serde_json::Value;

use super::Color;

pub(super) struct Screen {
    colors: bool,
}

/// Longer values are cut, and so are secrets.
const LONGEST_VALUE: usize = 56;
const SECRETS: &[&str] = &["launcherToken", "token", "encoded_jit_config"];

impl Screen {
    pub(super) fn new(color: Color) -> Self {
        let colors = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::io::stdout().is_terminal(),
        };
        Self { colors }
    }

    fn styled(&self, code: &str, text: &str) -> String {
        if self.colors { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn note(&self, line: &str) {
        println!("{}", self.styled("2", line));
    }

    pub(super) fn party(&self, name: &str, url: &str) {
        println!("{name:<36}{url}");
    }

    pub(super) fn heading(&self, text: &str) {
        println!("\n{}", self.styled("1", text));
    }

    pub(super) fn step(&self, number: u8, who: &str, what: &str) {
        println!("{} {who:<20} {what}", self.styled("1;36", &format!("  {number}")));
    }

    /// A message, one field per line.
    pub(super) fn wire(&self, body: &Value) {
        let Value::Object(fields) = body else { return };
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let shown = if SECRETS.contains(&name.as_str()) {
                let start: String = text.chars().take(6).collect();
                format!("{start}… ({} characters)", text.chars().count())
            } else if text.chars().count() > LONGEST_VALUE {
                let start: String = text.chars().take(LONGEST_VALUE).collect();
                format!("{start}…")
            } else {
                text
            };
            println!("{}", self.styled("2", &format!("{:24}{name}: {shown}", "")));
        }
    }

    pub(super) fn verdict(&self, seen: bool, what: &str) {
        let mark = if seen { self.styled("32", "seen    ") } else { self.styled("1;31", "NOT SEEN") };
        println!("  {mark}  {what}");
    }

    /// What could not be tried here.
    pub(super) fn skipped(&self, what: &str) {
        println!("  {}  {what}", self.styled("33", "skipped "));
    }

    pub(super) fn try_it_yourself(&self, url: &str, webhook_secret: &str) {
        self.heading("It keeps running until you press Ctrl-C. Try it from another terminal:");
        println!(
            "  body='{{\"zen\":\"Keep it logically awesome.\"}}'\n  \
             signature=$(printf %s \"$body\" | openssl dgst -sha256 -hmac {webhook_secret} | sed 's/.* //')\n  \
             curl -i {url}/api/github/webhooks -d \"$body\" -H \"X-Hub-Signature-256: sha256=$signature\" \\\n    \
             -H 'X-GitHub-Event: ping' -H 'X-GitHub-Delivery: 1'\n  \
             curl -i -X POST {url}/gha/runner"
        );
    }
}
