//! Profiles: the administrator's rules that turn a job's labels into Slurm resources.
//!
//! A job belongs to the first profile that includes all of its labels and allows its repository. What is sent to the Slurm
//! side are the profile's own values, or values of dynamic labels that were parsed and compared with the profile's limits:
//! never text from a workflow.

mod dynamic;
mod overlap;
mod people;
mod placement;
#[cfg(test)]
mod property;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::dynamic::DynamicLimits;
use self::dynamic::{Ask, Asked};
pub use self::overlap::Overlap;
use self::people::People;
use crate::cluster::{Choose, Placement};
use crate::identity::PersonId;
use crate::policy::{Forks, Rules, is_pattern as is_word_pattern};
use crate::text::clean;
use gha_slurm_protocol::amounts::{Memory, TimeLimit};
use gha_slurm_protocol::identity::{ClusterName, RepositoryName, SlurmUser};
use gha_slurm_protocol::labels::{LabelSet, is_label};
use gha_slurm_protocol::messages::RunnerLevel;
use gha_slurm_protocol::resources::Resources;
use gha_slurm_protocol::selection::{Constraint, Licenses, Nodelist};
use gha_slurm_protocol::values::{Count, Cpus, Gres, Nice, SlurmName, is_plain};

/// So much of a label that is none is told.
const MOST_TOLD: usize = 100;

/// Which jobs a profile serves, and what its launches request from Slurm. For what is null, the cluster's defaults apply.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Profile {
    /// Its name in logs and answers.
    pub name: String,
    /// The labels that its runners have.
    pub labels: Vec<String>,
    /// Patterns of the repositories that may use it (`owner/name`, `owner/*`); empty means all.
    #[serde(default)]
    pub repositories: Vec<String>,
    /// The cluster that its jobs go to; null means the first that is configured.
    pub cluster: Option<ClusterName>,
    /// Several clusters that they may go to.
    #[serde(default)]
    pub clusters: Vec<ClusterName>,
    /// By what one of them is chosen; null means in their order.
    pub choose: Option<Choose>,
    /// A weight for each of them.
    #[serde(default)]
    pub weights: Vec<u32>,
    /// Slurm partition.
    pub partition: Option<SlurmName>,
    /// Nodes, exactly so many; null means one.
    pub nodes: Option<Count>,
    /// Tasks on all nodes together; srun in a step starts as many.
    pub ntasks: Option<Count>,
    /// Tasks on each node.
    pub ntasks_per_node: Option<Count>,
    /// CPUs per task.
    pub cpus: Option<Cpus>,
    /// Memory per node.
    pub memory: Option<Memory>,
    /// Memory per CPU, in place of memory.
    pub mem_per_cpu: Option<Memory>,
    /// GPUs per node; short for gres = "gpu:N".
    pub gpus: Option<u32>,
    /// Generic resources in Slurm's syntax, such as gpu:a100:2.
    pub gres: Option<Gres>,
    /// How long the Slurm job may run.
    pub time_limit: Option<TimeLimit>,
    /// Features that its nodes must have, in Slurm's syntax, such as a100&ib or [rack1|rack2].
    pub constraint: Option<Constraint>,
    /// Features that its nodes get rather than others, in the same syntax; Slurm 22.05 or later.
    pub prefer: Option<Constraint>,
    /// Nodes that its Slurm jobs get, all of them, in Slurm's syntax, such as node[01-04].
    pub nodelist: Option<Nodelist>,
    /// Nodes that they do not get.
    pub exclude: Option<Nodelist>,
    /// Reservation.
    pub reservation: Option<SlurmName>,
    /// Licenses in Slurm's syntax, such as ansys:2,matlab.
    pub licenses: Option<Licenses>,
    /// Local disk that a node must have.
    pub tmp: Option<Memory>,
    /// By how much its Slurm jobs step back behind others.
    pub nice: Option<Nice>,
    /// Workload characterization key.
    pub wckey: Option<SlurmName>,
    /// Whether the Slurm job gets the whole node.
    #[serde(default)]
    pub exclusive: bool,
    /// How many launches it may have at once, including pending ones; null means no limit.
    pub max_running: Option<u32>,
    /// How many of them one repository may have; null means no limit of its own.
    pub max_running_per_repository: Option<u32>,
    /// What a workflow may request with dynamic labels such as slurm-cpus=8; null means nothing.
    pub dynamic: Option<DynamicLimits>,
    /// Whether jobs of public repositories may run; null means by the table of defaults, or else false.
    pub public: Option<bool>,
    /// Whether code of forks may run; null means by the table of defaults, or else never.
    pub forks: Option<Forks>,
    /// Events that may cause a run, such as push or pull_request*; null means by the table of defaults, or else any.
    pub events: Option<Vec<String>>,
    /// Branches or tags that a run may be for.
    pub branches: Option<Vec<String>>,
    /// Paths of workflow files that may run.
    pub workflows: Option<Vec<String>>,
    /// Logins of people who may start jobs.
    pub actors: Option<Vec<String>>,
    /// Where its runners are registered; null means at the repository.
    pub level: Option<RunnerLevel>,
    /// The runner group of an organization's runners; null means the default one.
    pub runner_group: Option<String>,
}

/// Rules of the profiles that set none of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Defaults {
    public: Option<bool>,
    forks: Option<Forks>,
    events: Option<Vec<String>>,
    branches: Option<Vec<String>>,
    workflows: Option<Vec<String>>,
    actors: Option<Vec<String>>,
}

/// The profiles in the order in which they are tried; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Profiles(Vec<Profile>, #[serde(skip)] People);

/// What a profile is looked for by.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The labels of the job's `runs-on`.
    pub labels: &'a LabelSet,
    /// Its repository.
    pub repository: &'a RepositoryName,
    /// Whether that is public; `None` where it is not known, so that only GitHub's answer at the redemption decides.
    pub public: Option<bool>,
    /// Who started it.
    pub starter: Starter<'a>,
}

/// Who started a job.
#[derive(Debug, Clone, Copy)]
pub enum Starter<'a> {
    /// It does not matter here: what only that person may have counts as allowed.
    NotAsked,
    /// The ID and the login, if the webhook told both.
    Told(Option<(PersonId, &'a str)>),
}

/// What is wrong with the text of the profiles.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum ProfileError {
    /// Not TOML, or not a list of profiles; the text says where.
    #[error("{0}")]
    Malformed(String),
    /// Well-formed TOML, but not a valid profile.
    #[error("profile {profile:?}: {problem}")]
    Invalid {
        /// The profile's name.
        profile: String,
        /// What to change.
        problem: String,
    },
}

impl<'a> Wanted<'a> {
    /// What is known by a job's labels and repository alone.
    pub fn of(labels: &'a LabelSet, repository: &'a RepositoryName) -> Self {
        Self { labels, repository, public: None, starter: Starter::NotAsked }
    }
}

/// Why no profile serves a job.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum NotOurs {
    /// It has no label at all.
    #[error("the job has no labels, so it is for no profile: give runs-on a profile's labels")]
    NoLabels,
    /// A label that no runner of ours can have.
    #[error(
        "the label {0:?} cannot be a runner's: a label is of letters, digits and -_.:=+@/, and several labels are a list in \
         runs-on, such as [self-hosted, slurm]"
    )]
    NoLabel(String),
    /// No profile has all of these labels.
    #[error("no profile has all of the labels {0}")]
    Labels(String),
    /// A profile has the labels, but does not allow the repository.
    #[error("profile {profile:?} has the labels, but does not allow {repository}")]
    Repository {
        /// The first profile that has the labels.
        profile: String,
        /// The job's repository.
        repository: RepositoryName,
    },
    /// A profile has the labels and allows the repository, but not that it is public.
    #[error(
        "profile {profile:?} has the labels, but {repository} is public; to allow it: public = true in the profile"
    )]
    Public {
        /// The first profile that has the labels.
        profile: String,
        /// The job's repository.
        repository: RepositoryName,
    },
    /// A dynamic label asks for more than the profile gives, or is malformed.
    #[error("profile {profile:?} cannot serve the label {label:?}: {problem}")]
    Dynamic {
        /// The profile that has the other labels.
        profile: String,
        /// The label.
        label: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A profile's name, and what it requests from Slurm for one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The profile's name.
    pub profile: String,
    /// Its resources, with the job's dynamic labels applied.
    pub resources: Resources,
    /// Its `max_running`.
    pub max_running: Option<u32>,
    /// Its `max_running_per_repository`.
    pub max_running_per_repository: Option<u32>,
    /// What may run.
    pub rules: Rules,
    /// The Slurm user that the workflow names.
    pub slurm_user: Option<SlurmUser>,
    /// Where the runner is registered.
    pub registered_at: RegisteredAt,
    /// The clusters that it may go to.
    pub placement: Placement,
}

/// The dynamic labels of a job.
struct Asks<'a> {
    asks: Vec<Ask<'a>>,
    /// Those that name a cluster, with its name.
    clusters: Vec<(&'a str, &'a str)>,
}

/// Where a runner is registered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "level", rename_all = "lowercase")]
pub enum RegisteredAt {
    /// At the job's repository.
    #[default]
    Repository,
    /// At the organization that owns it, in the group of this name; `None` is the default group.
    Organization {
        /// The name of the runner group.
        group: Option<String>,
    },
}

impl RegisteredAt {
    /// The same without the group.
    pub fn level(&self) -> RunnerLevel {
        match self {
            Self::Repository => RunnerLevel::Repository,
            Self::Organization { .. } => RunnerLevel::Organization,
        }
    }
}

impl Profiles {
    /// Reads a list of `[[profile]]` tables; blank text means the built-in default, which serves
    /// `self-hosted` + `slurm` with the cluster's defaults.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            profile: Vec<Profile>,
            #[serde(default)]
            defaults: Defaults,
            #[serde(default)]
            people: People,
        }
        if text.trim().is_empty() {
            let labels = vec!["self-hosted".to_owned(), "slurm".to_owned()];
            let default = Profile { name: "default".to_owned(), labels, ..Profile::default() };
            return Ok(Self(vec![default], People::default()));
        }
        let mut file: File = basic_toml::from_str(text).map_err(|error| ProfileError::Malformed(error.to_string()))?;
        if file.profile.is_empty() {
            return Err(ProfileError::Malformed("there is no [[profile]]".to_owned()));
        }
        file.people.check().map_err(ProfileError::Malformed)?;
        file.profile.iter_mut().for_each(|profile| profile.inherit(&file.defaults));
        file.profile.iter().try_for_each(Profile::check)?;
        Ok(Self(file.profile, file.people))
    }

    /// The first profile for a job. No profile serves a job without labels.
    pub fn find(&self, wanted: Wanted<'_>) -> Result<Match, NotOurs> {
        let Wanted { labels, repository, public, .. } = wanted;
        let mut refusal = None;
        for profile in &self.0 {
            let Some(asks) = profile.serves(labels) else { continue };
            let refused = if !profile.allows(repository) {
                Some(NotOurs::Repository { profile: profile.name.clone(), repository: repository.clone() })
            } else if public == Some(true) && profile.public != Some(true) {
                Some(NotOurs::Public { profile: profile.name.clone(), repository: repository.clone() })
            } else {
                None
            };
            match refused {
                Some(why) => drop(refusal.get_or_insert(why)),
                None => return profile.resolve(&asks, &self.1, wanted.starter),
            }
        }
        Err(refusal.unwrap_or_else(|| match labels.iter().find(|label| !is_label(label)) {
            _ if labels.is_empty() => NotOurs::NoLabels,
            // Among others it would read like two.
            Some(label) => NotOurs::NoLabel(clean(label, MOST_TOLD)),
            None => NotOurs::Labels(labels.to_string()),
        }))
    }

    /// The first of the profiles that lack the fewest of the labels, and the labels that it lacks.
    pub fn nearest(&self, labels: &LabelSet) -> Option<(&Profile, Vec<String>)> {
        let lacks = |profile: &Profile| -> Vec<String> {
            let own: LabelSet = profile.labels.iter().collect();
            let asks = |label: &str| {
                profile.dynamic.as_ref().is_some_and(|limits| limits.ask(label).is_some())
                    || profile.cluster_of_label(label).is_some()
            };
            labels.iter().filter(|label| !own.has(label) && !asks(label)).map(str::to_owned).collect()
        };
        self.0.iter().map(|profile| (profile, lacks(profile))).min_by_key(|(_, lacking)| lacking.len())
    }

    /// In the order in which they are tried.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.0.iter()
    }

    /// The levels at which runners are registered, each once.
    pub fn levels(&self) -> Vec<RunnerLevel> {
        let uses = |level: &RunnerLevel| self.0.iter().any(|profile| profile.level.unwrap_or_default() == *level);
        [RunnerLevel::Repository, RunnerLevel::Organization].into_iter().filter(uses).collect()
    }

    /// The names, in the order in which the profiles are tried.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|profile| profile.name.as_str())
    }
}

impl Profile {
    fn check(&self) -> Result<(), ProfileError> {
        let invalid = |problem: String| Err(ProfileError::Invalid { profile: self.name.clone(), problem });
        if !is_plain(&self.name, b"-_.", 100) {
            return invalid("the name must consist of letters, digits, '-', '_' or '.'".to_owned());
        }
        if self.labels.is_empty() {
            return invalid("it needs at least one label".to_owned());
        }
        // A runner reads its labels from one comma-separated line of a job script.
        if let Some(label) = self.labels.iter().find(|label| !is_label(label)) {
            return invalid(format!(
                "the label {label:?} must consist of letters, digits or -_.:=+@/, and not start with '-'"
            ));
        }
        if let Some(pattern) = self.repositories.iter().find(|pattern| !is_pattern(pattern)) {
            return invalid(format!("the repository pattern {pattern:?} must be owner/name or owner/*"));
        }
        let counts = [
            ("gpus", self.gpus),
            ("max_running", self.max_running),
            ("max_running_per_repository", self.max_running_per_repository),
        ];
        for (key, value) in counts {
            if value == Some(0) {
                return invalid(format!("{key} must be at least 1"));
            }
        }
        if self.gpus.is_some() && self.gres.is_some() {
            return invalid("gpus and gres cannot be used together: put the GPUs into gres".to_owned());
        }
        let lists = [
            ("events", &self.events),
            ("branches", &self.branches),
            ("workflows", &self.workflows),
            ("actors", &self.actors),
        ];
        for (key, list) in lists {
            // Empty, it would allow everything where it looks as if it allowed nothing.
            if list.as_ref().is_some_and(Vec::is_empty) {
                return invalid(format!("{key} is empty: name what is allowed, or leave it out to allow everything"));
            }
            if let Some(pattern) = list.iter().flatten().find(|pattern| !is_word_pattern(pattern)) {
                return invalid(format!("{key}: {pattern:?} must be a word, with * at its end at most"));
            }
        }
        if let Some(group) = &self.runner_group {
            if self.level != Some(RunnerLevel::Organization) {
                return invalid("runner_group needs level = \"organization\": a repository has no groups".to_owned());
            }
            if group.trim().is_empty() || group.len() > 200 || group.chars().any(char::is_control) {
                return invalid("runner_group must be the name of a runner group".to_owned());
            }
        }
        self.check_placement().or_else(invalid)?;
        self.resources().check().map_err(|error| error.to_string()).or_else(invalid)?;
        if let Some(dynamic) = &self.dynamic {
            dynamic.check(self).or_else(invalid)?;
        }
        Ok(())
    }

    /// The dynamic labels among the labels, if all others are this profile's own.
    fn serves<'a>(&'a self, labels: &'a LabelSet) -> Option<Asks<'a>> {
        let (mut own, mut asks, mut clusters) = (0, Vec::new(), Vec::new());
        for label in labels.iter() {
            if self.labels.iter().any(|mine| mine.to_lowercase() == label) {
                own += 1;
            } else if let Some(cluster) = self.cluster_of_label(label) {
                clusters.push((label, cluster));
            } else {
                asks.push(self.dynamic.as_ref()?.ask(label)?);
            }
        }
        // Dynamic labels alone do not say that a job is for this profile.
        (own > 0).then_some(Asks { asks, clusters })
    }

    /// What a job without dynamic labels gets.
    pub fn resources(&self) -> Resources {
        Resources {
            partition: self.partition.clone(),
            nodes: self.nodes,
            ntasks: self.ntasks,
            ntasks_per_node: self.ntasks_per_node,
            cpus: self.cpus,
            memory: self.memory,
            mem_per_cpu: self.mem_per_cpu,
            gres: self.gres.clone().or_else(|| self.gpus.map(Gres::gpus)),
            time_limit: self.time_limit,
            constraint: self.constraint.clone(),
            prefer: self.prefer.clone(),
            nodelist: self.nodelist.clone(),
            exclude: self.exclude.clone(),
            reservation: self.reservation.clone(),
            licenses: self.licenses.clone(),
            tmp: self.tmp,
            nice: self.nice,
            wckey: self.wckey.clone(),
            exclusive: self.exclusive,
            ..Resources::default()
        }
    }

    /// What a job gets by its dynamic labels, or the label that is refused.
    fn resolve(&self, asks: &Asks<'_>, people: &People, starter: Starter<'_>) -> Result<Match, NotOurs> {
        let dynamic =
            |label: &str, problem| NotOurs::Dynamic { profile: self.name.clone(), label: label.to_owned(), problem };
        let cluster = match asks.clusters.as_slice() {
            [] => None,
            [(label, asked)] => Some(self.one_cluster(asked).map_err(|problem| dynamic(label, problem))?),
            [_, (label, _), ..] => return Err(dynamic(label, "a job names one cluster at most".to_owned())),
        };
        let mut asked = Asked { resources: self.resources(), slurm_user: None, memory: false, licenses: false };
        for ask in &asks.asks {
            let refused = |problem| dynamic(ask.label(), problem);
            ask.apply(&mut asked).map_err(refused)?;
            if let (Some(user), true, Starter::Told(person)) = (&asked.slurm_user, ask.names_a_user(), starter) {
                people.check_person(person, user).map_err(refused)?;
            }
        }
        let Asked { resources, slurm_user, .. } = asked;
        // The profile's own fit together.
        if let (Err(error), Some(ask)) = (resources.check(), asks.asks.last()) {
            return Err(dynamic(ask.label(), error.to_string()));
        }
        let mut rules = self.rules();
        if let (Some(_), Starter::Told(Some((id, _)))) = (&slurm_user, starter) {
            rules.person = Some(id);
        }
        Ok(Match {
            profile: self.name.clone(),
            resources,
            max_running: self.max_running,
            max_running_per_repository: self.max_running_per_repository,
            rules,
            slurm_user,
            registered_at: self.registered_at(),
            placement: self.placement(cluster),
        })
    }

    /// Takes over what it does not set itself.
    fn inherit(&mut self, defaults: &Defaults) {
        self.public = self.public.or(defaults.public);
        self.forks = self.forks.or(defaults.forks);
        let lists = [
            (&mut self.events, &defaults.events),
            (&mut self.branches, &defaults.branches),
            (&mut self.workflows, &defaults.workflows),
            (&mut self.actors, &defaults.actors),
        ];
        for (own, default) in lists {
            if own.is_none() {
                own.clone_from(default);
            }
        }
    }

    /// What may run.
    pub fn rules(&self) -> Rules {
        let list = |patterns: &Option<Vec<String>>| patterns.clone().unwrap_or_default();
        Rules {
            public: self.public.unwrap_or_default(),
            forks: self.forks.unwrap_or_default(),
            events: list(&self.events),
            branches: list(&self.branches),
            workflows: list(&self.workflows),
            actors: list(&self.actors),
            person: None,
        }
    }

    fn registered_at(&self) -> RegisteredAt {
        match self.level {
            Some(RunnerLevel::Organization) => RegisteredAt::Organization { group: self.runner_group.clone() },
            Some(RunnerLevel::Repository) | None => RegisteredAt::Repository,
        }
    }

    /// The owners, in lower case, that its repositories are limited to; empty means all.
    pub fn owners(&self) -> Vec<String> {
        let owner = |pattern: &String| Some(pattern.split_once('/')?.0.to_lowercase());
        let mut owners: Vec<String> = self.repositories.iter().filter_map(owner).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    fn allows(&self, repository: &RepositoryName) -> bool {
        self.repositories.is_empty()
            || self.repositories.iter().any(|pattern| match pattern.strip_suffix("/*") {
                Some(owner) => owner.eq_ignore_ascii_case(repository.owner()),
                None => pattern.eq_ignore_ascii_case(&repository.to_string()),
            })
    }
}

fn is_pattern(pattern: &str) -> bool {
    let example = pattern.strip_suffix("/*").map(|owner| format!("{owner}/any"));
    RepositoryName::try_from(example.unwrap_or_else(|| pattern.to_owned())).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"
        [[profile]]
        name = "big"
        labels = ["self-hosted.24gb"]
        repositories = ["octo/*", "other/one"]
        memory = "24G"
        exclusive = true

        [[profile]]
        name = "cpu"
        labels = ["Self-Hosted", "slurm", "x64"]
        partition = "short"
        cpus = 4
        time_limit = "02:00:00"
    "#;

    fn find(text: &str, labels: &[&str], repository: &str) -> Result<String, NotOurs> {
        let repository = RepositoryName::try_from(repository.to_owned()).unwrap();
        Profiles::parse(text)
            .unwrap()
            .find(Wanted::of(&labels.iter().collect(), &repository))
            .map(|found| found.profile)
    }

    #[test]
    fn the_first_profile_that_includes_all_labels_takes_the_job() {
        assert_eq!(find(TWO, &["self-hosted", "SLURM"], "a/b").as_deref(), Ok("cpu"));
        assert_eq!(find(TWO, &["self-hosted.24GB"], "Octo/any").as_deref(), Ok("big"));
        assert_eq!(find(TWO, &["self-hosted.24gb"], "other/One").as_deref(), Ok("big"));
        assert_eq!(find("", &["slurm"], "a/b").as_deref(), Ok("default"));
    }

    #[test]
    fn a_job_that_is_not_ours_is_told_why() {
        for labels in [&["ubuntu-latest"][..], &["self-hosted", "gpu"], &["not-self-hosted-at-all"]] {
            assert!(matches!(find(TWO, labels, "a/b"), Err(NotOurs::Labels(_))), "{labels:?}");
        }
        assert_eq!(find(TWO, &[], "a/b"), Err(NotOurs::NoLabels));
        for label in ["self-hosted, slurm", "größe"] {
            assert_eq!(find(TWO, &["self-hosted", label], "a/b"), Err(NotOurs::NoLabel(label.to_owned())));
        }
        assert!(matches!(find(TWO, &["self-hosted.24gb"], "octopus/x"), Err(NotOurs::Repository { .. })));
    }

    #[test]
    fn levels_and_owners_are_those_of_the_profiles() {
        let profile = |more: &str| format!("[[profile]]\nname = 'p'\nlabels = ['a']\n{more}\n");
        let levels = |text: &str| Profiles::parse(text).unwrap().levels();
        let (organization, repository) = (profile("level = 'organization'"), profile(""));
        assert_eq!(levels(""), [RunnerLevel::Repository]);
        assert_eq!(levels(&organization), [RunnerLevel::Organization]);
        let both = [RunnerLevel::Repository, RunnerLevel::Organization];
        assert_eq!(levels(&(organization.clone() + &repository + &organization)), both);
        let owned = Profiles::parse(&profile("repositories = ['b/x', 'A/*', 'a/y']")).unwrap();
        assert_eq!(owned.iter().next().unwrap().owners(), ["a", "b"]);
    }

    #[test]
    fn a_profile_that_makes_no_sense_is_refused_by_name() {
        for bad in [
            "labels = []",
            "labels = ['a,b']",
            "labels = ['a b']",
            "labels = ['-a']",
            "labels = [\"a\\nb\"]",
            "labels = ['a']\nmax_running = 0",
            "labels = ['a']\nmax_running_per_repository = 0",
            "labels = ['a']\ngpus = 1\ngres = 'gpu:1'",
            "labels = ['a']\nmemory = '1G'\nmem_per_cpu = '1G'",
            "labels = ['a']\n[profile.dynamic]\ngpu_types = ['a100']",
            "labels = ['a']\nnodes = 2\nntasks = 1",
            "labels = ['a']\nnodes = 1\nconstraint = '[a*1&b*1]'",
            "labels = ['a']\nrepositories = ['*']",
            "labels = ['a']\nrepositories = ['a/b*']",
        ] {
            let error = Profiles::parse(&format!("[[profile]]\nname = 'p'\n{bad}")).unwrap_err();
            assert!(matches!(error, ProfileError::Invalid { ref profile, .. } if profile == "p"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_malformed_text_names_the_key() {
        for (bad, named) in [
            ("profile = 1", "profile"),
            ("profile = []", "[[profile]]"),
            ("[[profile]]\nname = 'p'\nlabels = ['a']\ncpu = 1", "cpu"),
            ("[[profile]]\nname = 'p'\nlabels = ['a']\nmemory = 'lots'", "lots"),
            ("[[profile]]\nname = 'p'\nlabels = ['a']\ncpus = -1", "cpus"),
            ("[[profile]]\nname = 'p'\nlabels = ['a']\ncpus = 0", "cpus"),
            ("[[profile]]\nname = 'p'\nlabels = ['a']\ncpus = 70000", "cpus"),
            ("[[profile]]\nname = 'p'\nlabels = ['a']\npartition = '$(id)'", "partition"),
            ("[[profile]]\nname = 'p'\nlabels = ['a']\npartition = '-x'", "partition"),
            ("[[profile]]\nname = 'p'\nlabels = ['a']\n[profile.dynamic]\npartitions = ['a b']", "partitions"),
            ("[[profile]]\nname = 'p'\nlabels = ['a']\ngres = 'gpu=2'", "gres"),
            ("[[profile]]\nname = 'p'\nlabels = ['a']\nconstraint = 'a100 --uid=0'", "constraint"),
            ("[[profile]]\nlabels = ['a']", "name"),
        ] {
            let error = Profiles::parse(bad).unwrap_err();
            assert!(matches!(error, ProfileError::Malformed(ref text) if text.contains(named)), "{bad}: {error}");
        }
    }
}
