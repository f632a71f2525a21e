//! The log on stderr: a readable line for people, or one JSON object a line for machines.
//!
//! What a guest prints as a JSON object, its own log line, becomes an event of the same level whose fields stand beside
//! the host's; nothing is quoted twice. Which fields there are is the guest's affair.

use std::fmt::{self, Write as _};
use std::io::IsTerminal;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The field of an event that holds a guest's JSON object.
pub const GUEST_LINE: &str = "guest_line";

/// How the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people; with colours where that helps.
    Human {
        /// Whether to use them.
        colours: bool,
    },
    /// One JSON object a line.
    Json,
}

impl Format {
    /// For people where somebody may be reading, for machines elsewhere.
    pub fn of_stderr() -> Self {
        if std::io::stderr().is_terminal() { Self::human() } else { Self::Json }
    }

    /// For people, in colours on a terminal that may have some.
    pub fn human() -> Self {
        Self::Human { colours: std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }
}

/// Logs to stderr from now on; `GHA_SLURM_LOG` says how much: a level, or `target=level` with commas between them.
pub fn start(format: Format) {
    let asked = std::env::var("GHA_SLURM_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).event_format(format);
    tracing_subscriber::registry().with(lines).with(filter).init();
}

/// Logs what a guest printed.
pub fn guest_line(component: &str, line: &str) {
    let level = serde_json::from_str::<Map<String, Value>>(line)
        .ok()
        .and_then(|line| line.get("level").and_then(Value::as_str).map(str::to_owned));
    match level.as_deref() {
        Some("error") => tracing::error!(target: "guest", component, guest_line = line),
        Some("warn") => tracing::warn!(target: "guest", component, guest_line = line),
        Some("info") => tracing::info!(target: "guest", component, guest_line = line),
        Some(_) => tracing::debug!(target: "guest", component, guest_line = line),
        // A panic's message, most likely.
        None => tracing::warn!(target: "guest", component, "{line}"),
    }
}

/// An event's fields; a guest's among them.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn insert(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != GUEST_LINE {
            return self.insert(field.name(), value.into());
        }
        let Ok(line) = serde_json::from_str::<Map<String, Value>>(value) else {
            return self.insert("message", value.into());
        };
        for (name, value) in line {
            // The event has a level and a component of its own.
            if !["level", "component", "timestamp", "target"].contains(&name.as_str()) {
                self.insert(&name, value);
            }
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field.name(), value.into());
    }
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = match self {
            Self::Human { colours } => human(now.as_secs(), event.metadata().level(), fields.0, *colours),
            Self::Json => json(now.as_millis(), event.metadata(), fields.0),
        };
        writeln!(writer, "{line}")
    }
}

/// `2026-11-25T10:00:00Z WARN  webhook deferred: reason  job=42 …`: what a person looks for first, then the rest.
fn human(seconds: u64, level: &Level, mut fields: Map<String, Value>, colours: bool) -> String {
    let time = chrono::DateTime::from_timestamp(i64::try_from(seconds).unwrap_or(0), 0).unwrap_or_default();
    let time = time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let (dim, colour, end) = match *level {
        _ if !colours => ("", "", ""),
        Level::ERROR => ("\u{1b}[2m", "\u{1b}[31m", "\u{1b}[0m"),
        Level::WARN => ("\u{1b}[2m", "\u{1b}[33m", "\u{1b}[0m"),
        _ => ("\u{1b}[2m", "\u{1b}[32m", "\u{1b}[0m"),
    };
    let mut line = format!("{dim}{time}{end} {colour}{level:<5}{end}");
    let mut take = |name: &str| fields.remove(name).map(|value| plain(&value));
    let said: Vec<String> = ["component", "message"].into_iter().filter_map(&mut take).collect();
    for part in said {
        let _ = write!(line, " {part}");
    }
    for (name, value) in &fields {
        let text = plain(value);
        let bare = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"' || c == '=');
        let text = if bare { text } else { Value::from(text).to_string() };
        let _ = write!(line, " {dim}{name}={end}{text}");
    }
    line
}

/// One line, whatever a guest or a library put in.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.replace(|c: char| c.is_control(), " ")
}

fn json(millis: u128, metadata: &tracing::Metadata<'_>, mut fields: Map<String, Value>) -> String {
    let time = chrono::DateTime::from_timestamp_millis(i64::try_from(millis).unwrap_or(0)).unwrap_or_default();
    fields.insert("timestamp".to_owned(), time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true).into());
    fields.insert("level".to_owned(), metadata.level().as_str().into());
    fields.insert("target".to_owned(), metadata.target().into());
    Value::Object(fields).to_string()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is logged in `log`.
    fn logged(format: Format, log: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Kept(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Kept {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(format)
            .with_max_level(Level::INFO);
        tracing::subscriber::with_default(subscriber.finish(), log);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const LINE: &str = r#"{"level":"warn","event":"webhook","status":202,"job":42,"reason":"the gateway is away"}"#;

    #[test]
    fn a_guests_line_keeps_its_level_and_fields() {
        let text = logged(Format::Json, || guest_line("webhook", LINE));
        let entry: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&entry["level"], &entry["job"], &entry["component"]),
            (&"WARN".into(), &42.into(), &"webhook".into())
        );
        assert!(entry["timestamp"].as_str().unwrap().ends_with('Z'), "{text}");

        let text = logged(Format::Human { colours: false }, || guest_line("webhook", LINE));
        let (_, rest) = text.split_once(' ').unwrap();
        assert_eq!(rest, "WARN  webhook event=webhook job=42 reason=\"the gateway is away\" status=202\n");
    }

    #[test]
    fn one_event_is_one_line_whatever_it_says() {
        for line in ["panicked at\u{1b}[31m", "{\"level\":\"error\",\"detail\":\"a\\nb\"}", "{", "{\"level\":1}"] {
            for format in [Format::Json, Format::Human { colours: false }] {
                let text = logged(format, || guest_line("x", line));
                assert!(text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
                assert!(!text.contains('\u{1b}'), "{text:?}");
            }
        }
        assert_eq!(logged(Format::Json, || guest_line("x", r#"{"level":"debug"}"#)), "", "less than asked for");
    }

    #[test]
    fn colours_are_for_terminals() {
        let text = logged(Format::Human { colours: true }, || tracing::error!(port = 1u64, "no"));
        assert!(text.contains("\u{1b}[31mERROR\u{1b}[0m no"), "{text:?}");
    }
}
