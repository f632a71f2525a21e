//! What the checks found, for people and for machines.

use serde::Serialize;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// As it should be.
    Ok,
    /// To be mended.
    Wrong,
    /// Not to be known before something else is mended.
    Skipped,
}

/// One finding.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    check: &'static str,
    outcome: Outcome,
    found: String,
    /// What to do; beside something that is all right, what to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Ok, found: found.into(), mend: None }
    }

    pub(super) fn wrong(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Wrong, found: found.into(), mend: Some(mend.into()) }
    }

    pub(super) fn skipped(check: &'static str, why: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Skipped, found: why.into(), mend: None }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.mend = Some(hint.into());
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

    /// Whether nothing is to be mended.
    pub(super) fn ok(&self) -> bool {
        self.ok
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// One line a finding, and the mend under it.
    pub(super) fn text(&self, colours: bool) -> String {
        let mut text = String::new();
        for finding in &self.checks {
            let (mark, colour) = match finding.outcome {
                Outcome::Ok => ("✓", "32"),
                Outcome::Wrong => ("✗", "31"),
                Outcome::Skipped => ("–", "2"),
            };
            let mark = if colours { format!("\u{1b}[{colour}m{mark}\u{1b}[0m") } else { mark.to_owned() };
            // What a parser says may have several lines.
            let below = format!("\n{:13}", "");
            text.push_str(&format!(
                "{mark} {:<10} {}\n",
                finding.check,
                finding.found.trim_end().replace('\n', &below)
            ));
            if let Some(mend) = &finding.mend {
                text.push_str(&format!("{:13}→ {mend}\n", ""));
            }
        }
        let wrong = self.checks.iter().filter(|finding| finding.outcome == Outcome::Wrong).count();
        text.push_str(&match wrong {
            0 => "Nothing is to be mended.\n".to_owned(),
            1 => "1 thing is to be mended.\n".to_owned(),
            more => format!("{more} things are to be mended.\n"),
        });
        text
    }
}
