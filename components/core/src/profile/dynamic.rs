//! Dynamic labels: `slurm-cpus=8` in a workflow's `runs-on`, within the limits of a profile.

use std::str::FromStr;

use gha_slurm_protocol::amounts::{Memory, TimeLimit};
use gha_slurm_protocol::identity::SlurmUser;
use gha_slurm_protocol::resources::Resources;
use gha_slurm_protocol::selection::Licenses;
use gha_slurm_protocol::values::{Count, Cpus, Gres, Nice, SlurmName, count};
use serde::{Deserialize, Serialize};

use super::Profile;
use super::people::user_of_label;
use crate::policy::{allows, is_pattern};

/// Limits for what dynamic labels may request. What is null cannot be requested at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DynamicLimits {
    /// For slurm-nodes=2.
    pub nodes: Option<Count>,
    /// For slurm-ntasks=8.
    pub ntasks: Option<Count>,
    /// For slurm-ntasks-per-node=4.
    pub ntasks_per_node: Option<Count>,
    /// For slurm-cpus=8.
    pub cpus: Option<Cpus>,
    /// For slurm-memory=32G.
    pub memory: Option<Memory>,
    /// For slurm-mem-per-cpu=2G.
    pub mem_per_cpu: Option<Memory>,
    /// For slurm-gpus=1.
    pub gpus: Option<u32>,
    /// For slurm-gpus=a100:1: one of these types, within the same limit.
    #[serde(default)]
    pub gpu_types: Vec<SlurmName>,
    /// For slurm-time=02:00:00.
    pub time_limit: Option<TimeLimit>,
    /// For slurm-partition=long: one of these.
    #[serde(default)]
    pub partitions: Vec<SlurmName>,
    /// For slurm-constraint=a100: one of these features, in place of the profile's constraint.
    #[serde(default)]
    pub constraints: Vec<SlurmName>,
    /// For slurm-prefer=nvme: one of these features, in place of what the profile prefers.
    #[serde(default)]
    pub preferences: Vec<SlurmName>,
    /// For slurm-reservation=course: one of these.
    #[serde(default)]
    pub reservations: Vec<SlurmName>,
    /// For slurm-licenses=ansys:2: the most of each.
    pub licenses: Option<Licenses>,
    /// For slurm-tmp=100G.
    pub tmp: Option<Memory>,
    /// For slurm-nice=100: from the profile's own up to this.
    pub nice: Option<Nice>,
    /// For slurm-wckey=project: one of these.
    #[serde(default)]
    pub wckeys: Vec<SlurmName>,
    /// For slurm-user=ada: one of these, with * at the end of a word. The gateway decides who may be whom.
    #[serde(default)]
    pub slurm_users: Vec<String>,
    /// For slurm-account=physics: one of these.
    #[serde(default)]
    pub accounts: Vec<SlurmName>,
    /// For slurm-qos=high: one of these.
    #[serde(default)]
    pub qoses: Vec<SlurmName>,
}

/// A dynamic label that a profile allows, with its limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    label: &'a str,
    value: &'a str,
    limits: &'a DynamicLimits,
    key: Key,
}

#[derive(Debug, Clone, Copy)]
enum Key {
    Nodes(Count),
    Tasks(Count),
    TasksPerNode(Count),
    Cpus(Cpus),
    Memory(Memory),
    MemoryPerCpu(Memory),
    Gpus(u32),
    Time(TimeLimit),
    Partition,
    Constraint,
    Prefer,
    Reservation,
    Licenses,
    Tmp(Memory),
    Nice(Nice),
    Wckey,
    User,
    Account,
    Qos,
}

/// What the dynamic labels of a job ask for together.
pub(super) struct Asked {
    pub(super) resources: Resources,
    pub(super) slurm_user: Option<SlurmUser>,
    /// Whether a label says how much memory.
    pub(super) memory: bool,
    /// Whether a label names licenses.
    pub(super) licenses: bool,
}

impl DynamicLimits {
    pub(super) fn check(&self, profile: &Profile) -> Result<(), String> {
        if self == &Self::default() {
            return Err("dynamic allows nothing: add a limit, or remove it".to_owned());
        }
        if let Some(pattern) = self.slurm_users.iter().find(|pattern| !is_pattern(pattern)) {
            return Err(format!("dynamic slurm_users: {pattern:?} must be a Slurm user, with * at its end at most"));
        }
        if self.gpus.is_none() && !self.gpu_types.is_empty() {
            return Err("dynamic gpu_types needs dynamic gpus, the most that a job may have".to_owned());
        }
        if self.gpus.is_some() && profile.gres.is_some() {
            return Err("dynamic gpus would replace gres: use gpus instead of gres".to_owned());
        }
        Ok(())
    }

    /// What the label requests, if it is a dynamic one that is allowed.
    pub(super) fn ask<'a>(&'a self, label: &'a str) -> Option<Ask<'a>> {
        let (name, value) = label.strip_prefix("slurm-")?.split_once('=')?;
        let key = match name {
            "nodes" => Key::Nodes(self.nodes?),
            "ntasks" => Key::Tasks(self.ntasks?),
            "ntasks-per-node" => Key::TasksPerNode(self.ntasks_per_node?),
            "cpus" => Key::Cpus(self.cpus?),
            "memory" => Key::Memory(self.memory?),
            "mem-per-cpu" => Key::MemoryPerCpu(self.mem_per_cpu?),
            "gpus" => Key::Gpus(self.gpus?),
            "time" => Key::Time(self.time_limit?),
            "partition" if !self.partitions.is_empty() => Key::Partition,
            "constraint" if !self.constraints.is_empty() => Key::Constraint,
            "prefer" if !self.preferences.is_empty() => Key::Prefer,
            "reservation" if !self.reservations.is_empty() => Key::Reservation,
            "licenses" if self.licenses.is_some() => Key::Licenses,
            "tmp" => Key::Tmp(self.tmp?),
            "nice" => Key::Nice(self.nice?),
            "wckey" if !self.wckeys.is_empty() => Key::Wckey,
            "user" if !self.slurm_users.is_empty() => Key::User,
            "account" if !self.accounts.is_empty() => Key::Account,
            "qos" if !self.qoses.is_empty() => Key::Qos,
            _ => return None,
        };
        Some(Ask { label, value, limits: self, key })
    }
}

impl Ask<'_> {
    pub(super) fn label(&self) -> &str {
        self.label
    }

    /// Whether it says whom the job runs as.
    pub(super) fn names_a_user(&self) -> bool {
        matches!(self.key, Key::User)
    }

    /// Sets what is requested, or says why it is refused.
    pub(super) fn apply(&self, asked_for: &mut Asked) -> Result<(), String> {
        let resources = &mut asked_for.resources;
        match self.key {
            Key::Nodes(limit) => resources.nodes = Some(self.at_most(limit)?),
            Key::Tasks(limit) => resources.ntasks = Some(self.at_most(limit)?),
            Key::TasksPerNode(limit) => resources.ntasks_per_node = Some(self.at_most(limit)?),
            Key::Cpus(limit) => resources.cpus = Some(self.at_most(limit)?),
            Key::Gpus(limit) => {
                let (kind, number) = match self.value.rsplit_once(':') {
                    Some((kind, number)) if !self.limits.gpu_types.is_empty() => (Some(kind), number),
                    _ => (None, self.value),
                };
                let asked = count(number).ok_or("it must be a whole number of at least 1")?;
                let asked = within(asked, limit)?;
                let kind = kind.map(|kind| one_of(kind, &self.limits.gpu_types)).transpose()?;
                resources.gres = Some(kind.map_or_else(|| Gres::gpus(asked), |kind| Gres::gpus_of(&kind, asked)));
            }
            Key::Memory(_) | Key::MemoryPerCpu(_) if asked_for.memory => {
                return Err("a job says once how much memory".to_owned());
            }
            Key::Memory(limit) => {
                (resources.memory, resources.mem_per_cpu) = (Some(self.at_most(limit)?), None);
                asked_for.memory = true;
            }
            Key::MemoryPerCpu(limit) => {
                (resources.memory, resources.mem_per_cpu) = (None, Some(self.at_most(limit)?));
                asked_for.memory = true;
            }
            Key::Time(limit) => {
                let asked = self.value.parse::<TimeLimit>().map_err(|error| error.to_string())?;
                let asked = within(asked, limit).map_err(|problem| format!("{problem} minutes"))?;
                resources.time_limit = Some(asked);
            }
            Key::Partition => resources.partition = Some(self.one_of(&self.limits.partitions)?),
            Key::Constraint => resources.constraint = Some(self.one_of(&self.limits.constraints)?.into()),
            Key::Prefer => resources.prefer = Some(self.one_of(&self.limits.preferences)?.into()),
            Key::Reservation => resources.reservation = Some(self.one_of(&self.limits.reservations)?),
            Key::Wckey => resources.wckey = Some(self.one_of(&self.limits.wckeys)?),
            Key::Tmp(limit) => resources.tmp = Some(self.at_most(limit)?),
            Key::Nice(limit) => {
                let asked: Nice = self.at_most(limit)?;
                // To step forward is not a workflow's choice.
                if let Some(own) = resources.nice.filter(|own| asked < *own) {
                    return Err(format!("the least is {own}, the profile's own"));
                }
                resources.nice = Some(asked);
            }
            Key::Licenses if asked_for.licenses => return Err("a job has one label for licenses at most".to_owned()),
            Key::Licenses => {
                let asked = self.value.parse::<Licenses>().map_err(|error| error.to_string())?;
                let limit = self.limits.licenses.as_ref().ok_or("no license is allowed")?;
                let granted = asked.within(limit).ok_or_else(|| format!("the limit is {limit}"))?;
                resources.licenses = Some(granted);
                asked_for.licenses = true;
            }
            Key::Account => resources.account = Some(self.one_of(&self.limits.accounts)?),
            Key::Qos => resources.qos = Some(self.one_of(&self.limits.qoses)?),
            Key::User => {
                if asked_for.slurm_user.is_some() {
                    return Err("a job names one Slurm user at most".to_owned());
                }
                let user = user_of_label(self.value)?;
                if !allows(&self.limits.slurm_users, user.as_str()) {
                    return Err("the profile does not let workflows name this Slurm user".to_owned());
                }
                asked_for.slurm_user = Some(user);
            }
        }
        Ok(())
    }

    /// What the label asks for, within its limit.
    fn at_most<T>(&self, limit: T) -> Result<T, String>
    where
        T: PartialOrd + std::fmt::Display + FromStr<Err: std::fmt::Display>,
    {
        within(self.value.parse().map_err(|error: T::Err| error.to_string())?, limit)
    }

    fn one_of(&self, names: &[SlurmName]) -> Result<SlurmName, String> {
        one_of(self.value, names)
    }
}

/// The name that a label means, as the profile spells it: labels have no case.
fn one_of(value: &str, names: &[SlurmName]) -> Result<SlurmName, String> {
    let same = |name: &&SlurmName| name.as_str().eq_ignore_ascii_case(value);
    names.iter().find(same).cloned().ok_or_else(|| {
        let names: Vec<&str> = names.iter().map(SlurmName::as_str).collect();
        format!("it must be one of {}", names.join(", "))
    })
}

fn within<T: PartialOrd + std::fmt::Display>(asked: T, limit: T) -> Result<T, String> {
    if asked <= limit { Ok(asked) } else { Err(format!("the limit is {limit}")) }
}

#[cfg(test)]
mod tests {
    use gha_slurm_protocol::identity::RepositoryName;
    use gha_slurm_protocol::resources::Resources;

    use crate::profile::{NotOurs, ProfileError, Profiles, Wanted};

    const TEXT: &str = r#"
        [[profile]]
        name = "flexible"
        labels = ["slurm"]
        cpus = 2
        gpus = 1
        memory = "1G"
        [profile.dynamic]
        cpus = 64
        memory = "256G"
        mem_per_cpu = "8G"
        gpus = 4
        gpu_types = ["A100", "h100"]
        time_limit = "1-0"
        partitions = ["Long", "short"]
        constraints = ["A100", "ib"]

        [[profile]]
        name = "fixed"
        labels = ["fixed", "slurm-cpus=8"]
    "#;

    fn find(labels: &[&str]) -> Result<(String, Resources), NotOurs> {
        let repository = RepositoryName::try_from("a/b".to_owned()).unwrap();
        let found = Profiles::parse(TEXT).unwrap().find(Wanted::of(&labels.iter().collect(), &repository))?;
        Ok((found.profile, found.resources))
    }

    #[test]
    fn a_workflow_sets_what_the_profile_lets_it_set() {
        let asked = ["slurm", "slurm-cpus=64", "slurm-memory=32gb", "slurm-gpus=2", "slurm-time=2:0:0"];
        let (_, resources) = find(&asked).unwrap();
        let expected = Resources {
            cpus: "64".parse().ok(),
            memory: "32G".parse().ok(),
            gres: "gpu:2".parse().ok(),
            time_limit: "120".parse().ok(),
            ..Resources::default()
        };
        assert_eq!(resources, expected);
        assert_eq!(find(&["slurm", "slurm-partition=LONG"]).unwrap().1.partition, "Long".parse().ok());
        assert_eq!(find(&["slurm", "slurm-constraint=a100"]).unwrap().1.constraint, "A100".parse().ok());
        assert_eq!(find(&["slurm", "slurm-gpus=a100:2"]).unwrap().1.gres, "gpu:A100:2".parse().ok());
        let each = find(&["slurm", "slurm-mem-per-cpu=4G"]).unwrap().1;
        assert_eq!((each.memory, each.mem_per_cpu), (None, "4G".parse().ok()), "in place of the profile's");
        assert!(find(&["slurm", "slurm-mem-per-cpu=4G", "slurm-memory=4G"]).is_err());
        let plain = find(&["slurm"]).unwrap().1;
        assert_eq!((plain.cpus, plain.gres), ("2".parse().ok(), "gpu:1".parse().ok()));
    }

    #[test]
    fn past_a_limit_or_without_meaning_it_is_refused_with_the_label() {
        for label in [
            "slurm-cpus=65",
            "slurm-cpus=0",
            "slurm-cpus=+1",
            "slurm-cpus=",
            "slurm-cpus=$(id)",
            "slurm-memory=257G",
            "slurm-memory=lots",
            "slurm-gpus=5",
            "slurm-gpus=a100:5",
            "slurm-gpus=v100:1",
            "slurm-gpus=a100",
            "slurm-gpus=a100:1:1",
            "slurm-mem-per-cpu=9G",
            "slurm-time=1-1",
            "slurm-partition=secret",
            "slurm-constraint=debug",
            "slurm-constraint=a100&ib",
            "slurm-constraint=",
            "slurm-cpus=99999999999",
        ] {
            let refused = find(&["slurm", label]);
            assert!(
                matches!(&refused, Err(NotOurs::Dynamic { label: named, .. }) if *named == label.to_lowercase()),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_dynamic_label_alone_or_where_none_is_allowed_is_not_ours() {
        for labels in [&["slurm-cpus=8", "slurm-gpus=1"][..], &["slurm", "slurm-nodes=2"], &["fixed", "slurm-gpus=1"]] {
            assert!(matches!(find(labels), Err(NotOurs::Labels(_))), "{labels:?}");
        }
        assert_eq!(find(&["fixed", "slurm-cpus=8"]).unwrap().0, "fixed", "a profile may own such a label");
    }

    #[test]
    fn several_nodes_are_asked_for_as_one_whole() {
        let text = "[[profile]]\nname = 'p'\nlabels = ['slurm']\nntasks = 4\n\
                    [profile.dynamic]\nnodes = 8\nntasks = 16\nntasks_per_node = 2";
        let profiles = Profiles::parse(text).unwrap();
        let repository = RepositoryName::try_from("a/b".to_owned()).unwrap();
        let find = |labels: &[&str]| {
            let labels = ["slurm"].iter().chain(labels).collect();
            profiles.find(Wanted::of(&labels, &repository)).map(|found| found.resources)
        };
        let four = find(&["slurm-nodes=4", "slurm-ntasks-per-node=2", "slurm-ntasks=8"]).unwrap();
        assert_eq!((four.total_nodes(), four.total_tasks()), (4, 8));
        for (labels, problem) in [
            (&["slurm-nodes=9", "slurm-ntasks=16"][..], "the limit is 8"),
            (&["slurm-nodes=8"], "ntasks: must be at least the number of nodes, 8"),
            (&["slurm-ntasks=3", "slurm-ntasks-per-node=2"], "ntasks: is more than"),
            (&["slurm-nodes=1-2"], "must be a number"),
        ] {
            let told = find(labels).unwrap_err().to_string();
            assert!(told.contains(problem), "{told}");
        }
    }

    #[test]
    fn what_else_slurm_knows_is_named_from_a_list_or_within_a_limit() {
        let text = "[[profile]]\nname = 'p'\nlabels = ['slurm']\nnice = 10\n[profile.dynamic]\nnice = 100\ntmp = '100G'\n\
                    licenses = 'Ansys:4'\nreservations = ['Course']\nwckeys = ['w']\npreferences = ['nvme']";
        let profiles = Profiles::parse(text).unwrap();
        let repository = RepositoryName::try_from("a/b".to_owned()).unwrap();
        let find = |labels: &[&str]| {
            let labels = ["slurm"].iter().chain(labels).collect();
            profiles.find(Wanted::of(&labels, &repository)).map(|found| found.resources)
        };
        let all = ["slurm-nice=50", "slurm-tmp=50G", "slurm-licenses=ansys:2", "slurm-reservation=course"];
        let all = find(&[&all[..], &["slurm-wckey=w", "slurm-prefer=nvme"]].concat()).unwrap();
        let expected = Resources {
            nice: "50".parse().ok(),
            tmp: "50G".parse().ok(),
            licenses: "Ansys:2".parse().ok(),
            reservation: "Course".parse().ok(),
            wckey: "w".parse().ok(),
            prefer: "nvme".parse().ok(),
            ..Resources::default()
        };
        assert_eq!(all, expected);
        for labels in [
            &["slurm-nice=9"][..],
            &["slurm-nice=101"],
            &["slurm-nice=-1"],
            &["slurm-nice=0"],
            &["slurm-tmp=101G"],
            &["slurm-licenses=ansys:5"],
            &["slurm-licenses=matlab"],
            &["slurm-licenses=ansys:3", "slurm-licenses=ansys:2"],
            &["slurm-reservation=x"],
            &["slurm-wckey=x"],
            &["slurm-prefer=x"],
        ] {
            assert!(matches!(find(labels), Err(NotOurs::Dynamic { .. })), "{labels:?}");
        }
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        for bad in ["[profile.dynamic]", "gres = 'gpu:1'\n[profile.dynamic]\ngpus = 1"] {
            let error = Profiles::parse(&format!("[[profile]]\nname = 'p'\nlabels = ['a']\n{bad}")).unwrap_err();
            assert!(matches!(error, ProfileError::Invalid { .. }), "{bad}: {error}");
        }
    }
}
