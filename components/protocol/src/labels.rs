//! Sets of runner labels, compared as GitHub compares them: without case, without order.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::values::{MalformedValue, is_plain};

/// The most labels that a runner registers with (GitHub's limit for a JIT configuration).
const MOST_LABELS: usize = 100;

/// Whether a runner of ours can register with this label: up to 256 ASCII letters, digits and `-_.:=+@/`, not starting
/// with `-`. GitHub allows more, commas among them, but a runner takes its labels as one comma-separated text.
pub fn is_label(text: &str) -> bool {
    is_plain(text, b"-_.:=+@/", 256) && !text.starts_with('-')
}

/// Checks labels as they are passed to a runner, separated by commas. None at all is fine.
pub fn check_list(labels: &str) -> Result<(), MalformedValue> {
    if labels.is_empty() {
        return Ok(());
    }
    if labels.split(',').count() > MOST_LABELS {
        return Err(MalformedValue("more than 100 labels"));
    }
    match labels.split(',').all(is_label) {
        true => Ok(()),
        false => Err(MalformedValue("labels are of letters, digits and -_.:=+@/, separated by commas")),
    }
}

/// A set of labels. Two spellings of a label are one member, kept in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LabelSet(BTreeSet<String>);

impl LabelSet {
    /// Whether `label`, in lower case, is one of these.
    pub fn has(&self, label: &str) -> bool {
        self.0.contains(label)
    }

    /// Whether there is no label at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels in lower case, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl<S: AsRef<str>> FromIterator<S> for LabelSet {
    fn from_iter<I: IntoIterator<Item = S>>(labels: I) -> Self {
        Self(labels.into_iter().map(|label| label.as_ref().to_lowercase()).collect())
    }
}

impl From<Vec<String>> for LabelSet {
    fn from(labels: Vec<String>) -> Self {
        labels.into_iter().collect()
    }
}

impl From<LabelSet> for Vec<String> {
    fn from(labels: LabelSet) -> Self {
        labels.0.into_iter().collect()
    }
}

/// Comma-separated, as the runner's `--labels` takes them.
impl fmt::Display for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, label) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(label)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(labels: &[&str]) -> LabelSet {
        labels.iter().collect()
    }

    #[test]
    fn case_order_and_repetition_do_not_matter() {
        assert_eq!(set(&["Self-Hosted", "GPU", "gpu"]), set(&["gpu", "self-hosted"]));
        assert!(set(&["self-hosted", "SLURM"]).has("slurm"));
        assert!(!set(&["not-self-hosted-at-all"]).has("self-hosted"), "no substring counts");
    }

    #[test]
    fn it_is_written_as_the_runner_reads_it() {
        assert_eq!(set(&["b", "A"]).to_string(), "a,b");
    }
}
