//! Profiles that stand in each other's way: a job goes to the first that fits, so the order decides.

use super::{Profile, Profiles};

/// A profile whose jobs an earlier one takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The one that takes them.
    pub earlier: String,
    /// The one that does not get them.
    pub later: String,
    /// Labels of jobs that both could serve; all of the later one's when it never gets a job.
    pub labels: Vec<String>,
    /// Whether the later one never gets a job.
    pub unreachable: bool,
}

impl Profiles {
    /// Each pair of profiles that overlap, in order. Of jobs with dynamic labels only what both take is compared.
    pub fn overlaps(&self) -> Vec<Overlap> {
        let mut found = Vec::new();
        for (index, later) in self.0.iter().enumerate() {
            for earlier in self.0.iter().take(index) {
                let common: Vec<String> = later.labels.iter().filter(|label| earlier.has(label)).cloned().collect();
                if common.is_empty() || !earlier.shares_repositories(later) {
                    continue;
                }
                let unreachable = common.len() == later.labels.len()
                    && earlier.covers_repositories(later)
                    && (later.dynamic.is_none() || later.dynamic == earlier.dynamic);
                let (earlier, later) = (earlier.name.clone(), later.name.clone());
                found.push(Overlap { earlier, later, labels: common, unreachable });
            }
        }
        found
    }
}

impl Profile {
    fn has(&self, label: &str) -> bool {
        self.labels.iter().any(|own| own.to_lowercase() == label.to_lowercase())
    }

    /// Whether this one is for every repository of the other.
    fn covers_repositories(&self, other: &Self) -> bool {
        self.repositories.is_empty()
            || (!other.repositories.is_empty()
                && other.repositories.iter().all(|theirs| self.repositories.iter().any(|ours| covers(ours, theirs))))
    }

    fn shares_repositories(&self, other: &Self) -> bool {
        self.repositories.is_empty()
            || other.repositories.is_empty()
            || self
                .repositories
                .iter()
                .any(|ours| other.repositories.iter().any(|theirs| covers(ours, theirs) || covers(theirs, ours)))
    }
}

/// Whether a pattern, `owner/name` or `owner/*`, takes all that another takes.
fn covers(pattern: &str, other: &str) -> bool {
    let (pattern, other) = (pattern.to_lowercase(), other.to_lowercase());
    pattern == other
        || pattern.strip_suffix('*').is_some_and(|owner| other.strip_prefix(owner).is_some_and(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlaps(text: &str) -> Vec<(String, String, bool)> {
        let found = Profiles::parse(text).unwrap().overlaps();
        found.into_iter().map(|found| (found.earlier, found.later, found.unreachable)).collect()
    }

    fn two(first: &str, second: &str) -> Vec<(String, String, bool)> {
        overlaps(&format!("[[profile]]\nname = 'a'\n{first}\n[[profile]]\nname = 'b'\n{second}\n"))
    }

    fn one(unreachable: bool) -> Vec<(String, String, bool)> {
        vec![("a".to_owned(), "b".to_owned(), unreachable)]
    }

    #[test]
    fn a_profile_whose_labels_an_earlier_one_has_gets_nothing() {
        assert_eq!(two("labels = ['X', 'y']", "labels = ['x']"), one(true));
        assert_eq!(two("labels = ['x', 'y']", "labels = ['x', 'z']"), one(false));
        assert_eq!(two("labels = ['x']", "labels = ['z']"), []);
        assert_eq!(two("labels = ['x']", "labels = ['x']\n[profile.dynamic]\ncpus = 4"), one(false));
    }

    #[test]
    fn repositories_keep_them_apart() {
        let of = |repositories: &str| format!("labels = ['x']\nrepositories = {repositories}");
        for (first, second, expected) in [
            ("['o/*']", "['p/*']", vec![]),
            ("['o/*']", "['O/one']", one(true)),
            ("['o/one']", "['o/*']", one(false)),
            ("['o/one', 'p/*']", "['o/one', 'q/*']", one(false)),
        ] {
            assert_eq!(two(&of(first), &of(second)), expected, "{first} {second}");
        }
        assert_eq!(two("labels = ['x']", &of("['o/*']")), one(true));
        assert_eq!(two(&of("['o/*']"), "labels = ['x']"), one(false));
    }
}
