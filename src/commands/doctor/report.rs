//! What the checks found, as text and as JSON.

use serde::Serialize;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// As it should be.
    Ok,
    /// To be fixed.
    Wrong,
    /// Cannot be checked before something else is fixed.
    Skipped,
}

/// One finding.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    check: &'static str,
    outcome: Outcome,
    found: String,
    /// How to fix it; with an outcome of `ok`, a hint.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Ok, found: found.into(), fix: None }
    }

    pub(super) fn wrong(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Wrong, found: found.into(), fix: Some(fix.into()) }
    }

    pub(super) fn skipped(check: &'static str, why: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Skipped, found: why.into(), fix: None }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.fix = Some(hint.into());
        self
    }
}

/// All findings, in the order of the checks.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    ok: bool,
    checks: Vec<Finding>,
}

impl Report {
    pub(super) fn new(checks: Vec<Finding>) -> Self {
        Self { ok: checks.iter().all(|finding| finding.outcome != Outcome::Wrong), checks }
    }

    /// Whether nothing has to be fixed.
    pub(super) fn ok(&self) -> bool {
        self.ok
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// One line per finding, with the fix below it.
    pub(super) fn text(&self, colors: bool) -> String {
        let mut text = String::new();
        for finding in &self.checks {
            let (mark, color) = match finding.outcome {
                Outcome::Ok => ("✓", "32"),
                Outcome::Wrong => ("✗", "31"),
                Outcome::Skipped => ("–", "2"),
            };
            let mark = if colors { format!("\u{1b}[{color}m{mark}\u{1b}[0m") } else { mark.to_owned() };
            // A parser's message may have several lines.
            let below = format!("\n{:13}", "");
            text.push_str(&format!(
                "{mark} {:<10} {}\n",
                finding.check,
                finding.found.trim_end().replace('\n', &below)
            ));
            if let Some(fix) = &finding.fix {
                text.push_str(&format!("{:13}→ {fix}\n", ""));
            }
        }
        let wrong = self.checks.iter().filter(|finding| finding.outcome == Outcome::Wrong).count();
        text.push_str(&match wrong {
            0 => "No problems found.\n".to_owned(),
            1 => "1 problem found.\n".to_owned(),
            more => format!("{more} problems found.\n"),
        });
        text
    }
}
