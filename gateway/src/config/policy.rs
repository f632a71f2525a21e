//! Which jobs may run as a Slurm user: of which visibility, event, branch, workflow and person.
//!
//! The gateway sees none of these of a job, only of a launch, and GitHub may give a runner to another job. So a policy is
//! data: it goes with the Slurm job and is enforced at the node ([`crate::node_policy`]). What is not set is safe
//! (`public`, `forks`) or not restricted (the lists).

use std::collections::BTreeMap;
use std::fmt;

use gha_slurm_protocol::identity::Login;
use serde::Deserialize;

use super::{ConfigError, invalid};
use crate::people::Groups;

/// A policy as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PolicyKeys {
    public: Option<bool>,
    forks: Option<Forks>,
    events: Option<Vec<String>>,
    branches: Option<Vec<String>>,
    workflows: Option<Vec<String>>,
    actors: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Forks {
    Never,
    Allow,
}

/// A word, or the beginning of words when it ends in `*`. It has no blank and no line break, so that it can stand in a
/// line of the node's policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// `None` for what no branch, file or event can be called.
    pub fn parse(text: &str) -> Option<Self> {
        let word = text.strip_suffix('*').unwrap_or(text);
        // What git-check-ref-format(1) refuses in a branch, and quotes.
        let odd = |letter: char| letter.is_whitespace() || letter.is_control() || r#"*?[]\~^:"'`"#.contains(letter);
        (!text.is_empty() && text.len() <= 255 && !word.contains(odd)).then(|| Self(text.to_owned()))
    }

    /// One of logins.
    pub fn login(text: &str) -> Option<Self> {
        let whole = text.parse::<Login>().is_ok();
        let begun = text.strip_suffix('*').is_some_and(|word| word.is_empty() || word.parse::<Login>().is_ok());
        (whole || begun).then(|| Self(text.to_ascii_lowercase()))
    }

    /// The text, with its `*`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a word is meant, without case.
    pub fn matches(&self, word: &str) -> bool {
        let word = word.to_ascii_lowercase();
        let own = self.0.to_ascii_lowercase();
        own.strip_suffix('*').map_or(word == own, |begin| word.starts_with(begin))
    }
}

/// What may run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Jobs of public repositories.
    pub public: bool,
    /// Jobs whose code comes from a fork.
    pub forks: bool,
    /// Events; any when there is none. The same goes for the lists below.
    pub events: Vec<Pattern>,
    /// Branches by their short name, tags as `refs/tags/NAME`.
    pub branches: Vec<Pattern>,
    /// Workflow files by their path in the repository.
    pub workflows: Vec<Pattern>,
    /// Logins.
    pub actors: Vec<Pattern>,
}

impl Policy {
    /// `own` key by key, and `default` where it says nothing.
    fn new(own: &PolicyKeys, default: &Self, prefix: &str, groups: &Groups) -> Result<Self, ConfigError> {
        let list = |name: &str, words: &Option<Vec<String>>, default: &[Pattern]| {
            let Some(words) = words else { return Ok(default.to_vec()) };
            let key = format!("{prefix}.{name}");
            if words.is_empty() {
                return Err(invalid(key, "an empty list allows nothing: write [\"*\"] for any, or leave the key out"));
            }
            let one = |word: &String| match Pattern::parse(word) {
                Some(pattern) => Ok(pattern),
                None => Err(invalid(&key, format!("{word:?}: write one word, with * only at its end"))),
            };
            match name {
                "actors" => groups.patterns(words, &key),
                _ => words.iter().map(one).collect(),
            }
        };
        Ok(Self {
            public: own.public.unwrap_or(default.public),
            forks: own.forks.map_or(default.forks, |forks| forks == Forks::Allow),
            events: list("events", &own.events, &default.events)?,
            branches: list("branches", &own.branches, &default.branches)?,
            workflows: list("workflows", &own.workflows, &default.workflows)?,
            actors: list("actors", &own.actors, &default.actors)?,
        })
    }
}

/// In a line, for people.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |allowed| if allowed { "run" } else { "do not run" };
        write!(f, "public repositories {}, forks {}", word(self.public), word(self.forks))?;
        let lists = [
            ("events", &self.events),
            ("branches", &self.branches),
            ("workflows", &self.workflows),
            ("actors", &self.actors),
        ];
        for (name, patterns) in lists.into_iter().filter(|(_, patterns)| !patterns.is_empty()) {
            let words: Vec<_> = patterns.iter().map(Pattern::as_str).collect();
            write!(f, "; {name}: {}", words.join(", "))?;
        }
        Ok(())
    }
}

/// The policies of all Slurm users.
#[derive(Debug)]
pub struct Policies {
    default: Policy,
    own: BTreeMap<String, Policy>,
}

impl Policies {
    pub(super) fn new<'a>(
        default: &PolicyKeys,
        users: impl Iterator<Item = (&'a String, &'a PolicyKeys)>,
        groups: &Groups,
    ) -> Result<Self, ConfigError> {
        let default = Policy::new(default, &Policy::default(), "policy", groups)?;
        let own = users
            .map(|(user, keys)| {
                let policy = Policy::new(keys, &default, &format!("slurmUsers.{user}.policy"), groups)?;
                Ok((user.clone(), policy))
            })
            .collect::<Result<_, ConfigError>>()?;
        Ok(Self { default, own })
    }

    /// The policy in force for a Slurm user.
    pub fn of(&self, user: &str) -> &Policy {
        self.own.get(user).unwrap_or(&self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> PolicyKeys {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_users_policy_replaces_the_default_key_by_key() {
        let default = keys(r#"{"public": true, "events": ["push", "pull_request*"], "branches": ["main"]}"#);
        let (user, own) = ("ada".to_owned(), keys(r#"{"public": false, "forks": "allow", "branches": ["*"]}"#));
        let policies = Policies::new(&default, std::iter::once((&user, &own)), &Groups::default()).unwrap();
        let (ada, other) = (policies.of("ada"), policies.of("bob"));
        assert_eq!((ada.public, ada.forks, other.public, other.forks), (false, true, true, false));
        assert_eq!(ada.events, other.events);
        assert_eq!((ada.branches[0].as_str(), other.branches[0].as_str()), ("*", "main"));
        let nothing = Policies::new(&keys("{}"), std::iter::empty(), &Groups::default()).unwrap();
        assert_eq!(nothing.of("ada"), &Policy::default(), "neither public repositories nor forks");
    }

    #[test]
    fn what_could_not_stand_in_a_line_is_refused_by_its_key() {
        for (text, key) in [
            (r#"{"events": []}"#, "policy.events"),
            (r#"{"events": ["pu*sh"]}"#, "policy.events"),
            (r#"{"branches": ["a b"]}"#, "policy.branches"),
            (r#"{"branches": ["main\npublic allow"]}"#, "policy.branches"),
            (r#"{"workflows": [""]}"#, "policy.workflows"),
            (r#"{"workflows": ["a\u2028b"]}"#, "policy.workflows"),
            (r#"{"actors": ["@nobody"]}"#, "policy.actors"),
            (r#"{"actors": ["-x"]}"#, "policy.actors"),
        ] {
            let error = Policies::new(&keys(text), std::iter::empty(), &Groups::default()).unwrap_err().to_string();
            assert!(error.starts_with(key), "{text}: {error}");
        }
    }

    #[test]
    fn a_star_stands_at_the_end_and_everything_else_for_itself() {
        let matches = |pattern: &str, word: &str| Pattern::login(pattern).unwrap().matches(word);
        assert!(matches("Ada", "ADA") && matches("bot-*", "bot-1") && matches("*", "x"));
        assert!(matches("dependabot[bot]", "Dependabot[bot]"));
        assert!(!matches("ada", "ada2") && !matches("bot-*", "robot-1"));
    }
}
