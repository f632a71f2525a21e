//! Sets of runner labels, compared as GitHub compares them: without case, without order.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A set of labels. Two spellings of a label are one member, kept in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct LabelSet(BTreeSet<String>);

impl LabelSet {
    /// Whether every label of `other` is one of these.
    pub fn includes(&self, other: &Self) -> bool {
        other.0.is_subset(&self.0)
    }

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

    /// Splits off the labels for which `belongs` holds: (those, the others).
    pub fn partition(self, belongs: impl Fn(&str) -> bool) -> (Self, Self) {
        let (those, others) = self.0.into_iter().partition(|label| belongs(label));
        (Self(those), Self(others))
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
        assert!(set(&["self-hosted", "slurm"]).includes(&set(&["SLURM"])));
        assert!(!set(&["self-hosted"]).includes(&set(&["self-hosted", "slurm"])));
        assert!(!set(&["not-self-hosted-at-all"]).includes(&set(&["self-hosted"])), "no substring counts");
    }

    #[test]
    fn it_is_written_as_the_runner_reads_it() {
        assert_eq!(set(&["b", "A"]).to_string(), "a,b");
    }
}
