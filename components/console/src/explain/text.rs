//! An explanation as text for people.

use std::fmt;

use super::{Explained, Explanation};

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.run {
            writeln!(f, "Run {} of {}: {} jobs", self.id, self.repository, self.jobs.len())?;
            writeln!(f)?;
        }
        for (index, job) in self.jobs.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            job.fmt(f)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "\nNote: {note}"))
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.job, &self.name) {
            (Some(job), Some(name)) => writeln!(f, "Job {job} ({})", plain(name))?,
            (Some(job), None) => writeln!(f, "Job {job}")?,
            (None, _) => {}
        }
        writeln!(f, "{}", plain(&self.headline))?;
        for detail in &self.details {
            writeln!(f, "  - {}", plain(detail))?;
        }
        if !self.advice.is_empty() {
            writeln!(f, "What to do:")?;
        }
        self.advice.iter().try_for_each(|advice| writeln!(f, "  > {}", plain(advice)))
    }
}

/// Names come from workflows and messages from other servers: none of them may control a terminal.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
