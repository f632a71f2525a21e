//! What may run: the rules of a profile, and how they judge a workflow run.
//!
//! A webhook says little about where a job's code comes from, and a launch is made from it at once, because it costs a Slurm
//! job in a queue at most. A credential is another matter: before one is handed out, GitHub is asked for the run, and the
//! rules judge what it answers. What is unknown is not allowed. Names are compared as GitHub sends them, not as they are
//! shown; whether code is a fork's is decided by the repository's ID and never by a name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::identity::{PersonId, RepositoryId};
use crate::text::Text;

/// Whether what a fork brings may run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Forks {
    /// Never.
    #[default]
    Never,
    /// As the repository's own.
    Allow,
}

/// What may run. Lists are of patterns with `*` at the end at most; an empty one allows everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// Whether jobs of public repositories may.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub public: bool,
    /// Whether what a fork brings may.
    pub forks: Forks,
    /// Events, such as `push`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// Branches, or tags, that a run is for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<String>,
    /// Paths of workflow files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workflows: Vec<String>,
    /// Logins of people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<String>,
    /// Whose job it must be: of the person with this ID, because the job names a Slurm user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<PersonId>,
}

/// Somebody at GitHub, as GitHub names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Never changes.
    pub id: PersonId,
    /// Changes, and may be another person's later.
    pub login: String,
}

/// A workflow run as GitHub shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The event that caused it.
    pub event: String,
    /// The branch or tag that it is for; of a pull request, the one that it comes from.
    pub branch: String,
    /// The workflow's file, such as `.github/workflows/ci.yml`.
    pub workflow: String,
    /// Whether its repository is public.
    pub public: bool,
    /// The repository that its code comes from; `None` when that was deleted.
    pub head: Option<RepositoryId>,
    /// Who caused its first attempt.
    pub actor: Option<Actor>,
    /// Who caused this attempt.
    pub triggering_actor: Option<Actor>,
}

/// The rule that a run breaks. It is kept, and its words are made where it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", content = "is", rename_all = "snake_case")]
pub enum Denial {
    /// The repository is public.
    Public,
    /// The code comes from a fork.
    Fork,
    /// The event is not in the list.
    Event(Text),
    /// The branch is not in the list.
    Branch(Text),
    /// The workflow is not in the list.
    Workflow(Text),
    /// Somebody is not in the list, or not known.
    Actor(Text),
    /// The job names a Slurm user for one person, and another one started it, or somebody unknown.
    Person(Text),
    /// GitHub does not show the run.
    NoRun,
}

impl Rules {
    /// Whether a run of this repository may have a runner.
    pub fn judge(&self, run: &Run, of: RepositoryId) -> Result<(), Denial> {
        if run.public && !self.public {
            return Err(Denial::Public);
        }
        if self.forks == Forks::Never && run.head != Some(of) {
            return Err(Denial::Fork);
        }
        let exact = [
            (&self.events, &*run.event, Denial::Event as fn(Text) -> Denial),
            (&self.branches, &*run.branch, Denial::Branch),
            (&self.workflows, &*run.workflow, Denial::Workflow),
        ];
        for (patterns, is, denial) in exact {
            if !allows(patterns, is) {
                return Err(denial(Text::of(is)));
            }
        }
        let people = [&run.actor, &run.triggering_actor].map(Option::as_ref);
        if !self.actors.is_empty() {
            for somebody in people {
                let login = somebody.map(|somebody| &*somebody.login).unwrap_or_default();
                if somebody.is_none() || !matches(&self.actors, login, str::eq_ignore_ascii_case) {
                    return Err(Denial::Actor(Text::of(login)));
                }
            }
        }
        let [_, triggering] = people;
        match (self.person, triggering) {
            (Some(wanted), Some(somebody)) if somebody.id != wanted => Err(Denial::Person(Text::of(&somebody.login))),
            (Some(_), None) => Err(Denial::Person(Text::default())),
            _ => Ok(()),
        }
    }
}

/// Whether a text is in a list of patterns, in just this case; every text is in an empty one.
pub(crate) fn allows(patterns: &[String], text: &str) -> bool {
    matches(patterns, text, |pattern, text| pattern == text)
}

fn matches(patterns: &[String], text: &str, equal: fn(&str, &str) -> bool) -> bool {
    patterns.is_empty()
        || patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => text.get(..start.len()).is_some_and(|head| equal(start, head)),
            None => equal(pattern, text),
        })
}

/// Whether a pattern is one: `*` stands at its end alone.
pub(crate) fn is_pattern(pattern: &str) -> bool {
    let start = pattern.strip_suffix('*').unwrap_or(pattern);
    !pattern.is_empty() && pattern.len() <= 200 && !start.contains('*') && !start.chars().any(char::is_control)
}

impl Denial {
    /// The key of a profile that the rule stands in.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Fork => "forks",
            Self::Event(_) => "events",
            Self::Branch(_) => "branches",
            Self::Workflow(_) => "workflows",
            Self::Actor(_) => "actors",
            Self::Person(_) => "slurm-user",
            Self::NoRun => "run",
        }
    }

    /// What would allow it, in a sentence without its full stop.
    pub fn advice(&self, profile: &str) -> String {
        match self {
            Self::Public => format!("To allow public repositories, set public = true in profile {profile}"),
            Self::Fork => format!(
                "To allow code of forks, set forks = \"allow\" in profile {profile}: whoever can open a pull request then \
                 runs code on the cluster"
            ),
            Self::Event(_) | Self::Branch(_) | Self::Workflow(_) | Self::Actor(_) => {
                format!("To allow it, add it to {} in profile {profile}", self.key())
            }
            Self::Person(_) => {
                "A job with slurm-user= runs for the person who started it: they must start it anew".to_owned()
            }
            Self::NoRun => {
                "Check that the run still exists and that the App has the permission \"Actions: Read\"".to_owned()
            }
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |text: &Text| text.some().unwrap_or("unknown").to_owned();
        match self {
            Self::Public => f.write_str("the repository is public, and public repositories are not allowed"),
            Self::Fork => f.write_str("the code comes from a fork, and forks are not allowed"),
            Self::Event(event) => write!(f, "the event {} is not allowed", named(event)),
            Self::Branch(branch) => write!(f, "the branch {} is not allowed", named(branch)),
            Self::Workflow(path) => write!(f, "the workflow {} is not allowed", named(path)),
            Self::Actor(login) => write!(f, "{} at GitHub is not allowed to start jobs", named(login)),
            Self::Person(login) => {
                write!(
                    f,
                    "the job names a Slurm user, and {} started it, not the person that it was launched for",
                    named(login)
                )
            }
            Self::NoRun => f.write_str("GitHub does not show the workflow run, so nobody can tell what it would run"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: RepositoryId = RepositoryId(900);

    fn somebody(id: u64, login: &str) -> Option<Actor> {
        Some(Actor { id: PersonId(id), login: login.into() })
    }

    fn push() -> Run {
        Run {
            event: "push".into(),
            branch: "main".into(),
            workflow: ".github/workflows/ci.yml".into(),
            public: false,
            head: Some(OWN),
            actor: somebody(1, "Ada"),
            triggering_actor: somebody(1, "Ada"),
        }
    }

    fn list(patterns: &[&str]) -> Vec<String> {
        patterns.iter().map(|pattern| (*pattern).to_owned()).collect()
    }

    #[test]
    fn by_default_private_repositories_own_code_runs_and_nothing_else() {
        let rules = Rules::default();
        assert_eq!(rules.judge(&push(), OWN), Ok(()));
        assert_eq!(rules.judge(&Run { public: true, ..push() }, OWN), Err(Denial::Public));
        for head in [Some(RepositoryId(901)), None] {
            // Its branch has the base's name, its event is one that runs the base's workflow.
            let run = Run { head, event: "pull_request_target".into(), ..push() };
            assert_eq!(rules.judge(&run, OWN), Err(Denial::Fork));
            let allowed = Rules { forks: Forks::Allow, ..Rules::default() };
            assert_eq!(allowed.judge(&run, OWN), Ok(()));
        }
        assert_eq!(Rules { public: true, ..Rules::default() }.judge(&Run { public: true, ..push() }, OWN), Ok(()));
    }

    #[test]
    fn a_list_allows_what_it_names_and_star_ends_a_word() {
        type Set = fn(&mut Rules, Vec<String>);
        let lists: [(Set, &str, &[&str], &[&str]); 4] = [
            (|rules, list| rules.events = list, "events", &["push", "pu*", "*"], &["pus", "Push", "push*x", ""]),
            (|rules, list| rules.branches = list, "branches", &["main", "ma*"], &["mai", "main2", "MAIN", "release/*"]),
            (
                |rules, list| rules.workflows = list,
                "workflows",
                &[".github/workflows/ci.yml", ".github/*"],
                &["ci.yml", ".github/workflows/ci.ym"],
            ),
            (|rules, list| rules.actors = list, "actors", &["ada", "ADA", "a*"], &["ad", "adam", "grace"]),
        ];
        for (set, key, good, bad) in lists {
            for (patterns, allowed) in [(good, true), (bad, false)] {
                for pattern in patterns {
                    let mut rules = Rules::default();
                    set(&mut rules, list(&["other", pattern]));
                    let judged = rules.judge(&push(), OWN);
                    assert_eq!(judged.is_ok(), allowed, "{pattern}");
                    assert!(judged.err().is_none_or(|denial| denial.key() == key));
                }
            }
        }
    }

    #[test]
    fn what_looks_like_an_allowed_name_is_none() {
        let rules = Rules { branches: list(&["main"]), ..Rules::default() };
        for branch in ["main\u{200f}", " main", "main\n", "ma\u{1b}in"] {
            let run = Run { branch: branch.to_owned(), ..push() };
            assert!(matches!(rules.judge(&run, OWN), Err(Denial::Branch(_))), "{branch:?}");
        }
    }

    #[test]
    fn both_who_began_a_run_and_who_started_it_again_must_be_allowed() {
        let rules = Rules { actors: list(&["ada"]), ..Rules::default() };
        for (actor, triggering) in [
            (somebody(1, "ada"), somebody(2, "mallory")),
            (somebody(2, "mallory"), somebody(1, "ada")),
            (None, somebody(1, "ada")),
            (somebody(1, "ada"), None),
        ] {
            let run = Run { actor, triggering_actor: triggering, ..push() };
            assert!(matches!(rules.judge(&run, OWN), Err(Denial::Actor(_))));
        }
    }

    #[test]
    fn a_job_that_names_a_slurm_user_is_the_persons_who_started_it_by_their_id() {
        let rules = Rules { person: Some(PersonId(1)), ..Rules::default() };
        assert_eq!(rules.judge(&Run { triggering_actor: somebody(1, "renamed"), ..push() }, OWN), Ok(()));
        for other in [somebody(2, "Ada"), None] {
            let run = Run { triggering_actor: other, ..push() };
            assert!(matches!(rules.judge(&run, OWN), Err(Denial::Person(_))));
        }
    }

    #[test]
    fn rules_and_denials_survive_the_store_and_absence_is_the_safe_default() {
        assert_eq!(serde_json::from_str::<Rules>("{}").unwrap(), Rules::default());
        let rules = Rules { public: true, events: list(&["push"]), person: Some(PersonId(7)), ..Rules::default() };
        let text = serde_json::to_string(&rules).unwrap();
        assert_eq!(serde_json::from_str::<Rules>(&text).unwrap(), rules);
        for denial in [Denial::Public, Denial::Event(Text::of("x")), Denial::NoRun] {
            let text = serde_json::to_string(&denial).unwrap();
            assert_eq!(serde_json::from_str::<Denial>(&text).unwrap(), denial);
        }
    }
}
