//! What a launch asks of Slurm, and how it is written in a launch request.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::amounts::{Memory, TimeLimit};
use crate::selection::{Constraint, Licenses, Nodelist};
use crate::values::{Count, Cpus, Gres, Nice, SlurmName};

/// A field of a request that is not the value it should be.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{field}: {problem}")]
pub struct MalformedField {
    /// The field's name on the wire.
    pub field: &'static str,
    /// What is wrong with it. Never the value of a secret.
    pub problem: String,
}

macro_rules! resources {
    ($($(#[doc = $doc:literal])* $name:ident: $value:ty, $wire:ident;)*) => {
        /// What a launch asks of Slurm, resolved. What is absent is left to the cluster's defaults, also in what a build
        /// wrote that did not know it.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Resources {
            $($(#[doc = $doc])* pub $name: Option<$value>,)*
            /// Whether the node is for this Slurm job alone.
            pub exclusive: bool,
        }

        /// [`Resources`] on the wire: strings, because the original service takes no other type. Empty means absent. It
        /// knows `cpus`, `memory` and `exclusive`, and ignores the rest.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct ResourceFields {
            $(
                $(#[doc = $doc])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $wire: Option<String>,
            )*
            /// `true`, or absent.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub exclusive: Option<String>,
        }

        impl From<&Resources> for ResourceFields {
            fn from(resources: &Resources) -> Self {
                Self {
                    $($wire: resources.$name.as_ref().map(ToString::to_string),)*
                    exclusive: resources.exclusive.then(|| "true".to_owned()),
                }
            }
        }

        impl TryFrom<&ResourceFields> for Resources {
            type Error = MalformedField;

            fn try_from(fields: &ResourceFields) -> Result<Self, MalformedField> {
                let resources = Self {
                    $($name: field(stringify!($wire), fields.$wire.as_deref())?,)*
                    exclusive: match fields.exclusive.as_deref() {
                        None | Some("" | "false") => false,
                        Some("true") => true,
                        Some(_) => {
                            let problem = "must be true or false".to_owned();
                            return Err(MalformedField { field: "exclusive", problem });
                        }
                    },
                };
                resources.check()?;
                Ok(resources)
            }
        }
    };
}

// Each with its type and its name on the wire, where a time is in minutes and a memory in MiB with the unit: `24576M`.
resources! {
    /// Partition.
    partition: SlurmName, partition;
    /// Nodes, exactly so many.
    nodes: Count, nodes;
    /// Tasks on all nodes together, that is how many `srun` starts where it is not told.
    ntasks: Count, ntasks;
    /// Tasks on each node.
    ntasks_per_node: Count, ntasks_per_node;
    /// CPUs per task.
    cpus: Cpus, cpus;
    /// Memory per node.
    memory: Memory, memory;
    /// Memory per CPU, in place of that per node.
    mem_per_cpu: Memory, mem_per_cpu;
    /// Generic resources per node, such as `gpu:2`.
    gres: Gres, gres;
    /// How long the Slurm job may run.
    time_limit: TimeLimit, duration;
    /// Features that its nodes must have, such as `a100&ib`.
    constraint: Constraint, constraint;
    /// Features that it gets rather than others, where there is a choice.
    prefer: Constraint, prefer;
    /// Nodes that it gets, all of them.
    nodelist: Nodelist, nodelist;
    /// Nodes that it does not get.
    exclude: Nodelist, exclude;
    /// Reservation.
    reservation: SlurmName, reservation;
    /// Licenses, such as `ansys:2`.
    licenses: Licenses, licenses;
    /// Local disk that a node must have.
    tmp: Memory, tmp;
    /// By how much it steps back behind others.
    nice: Nice, nice;
    /// Workload characterization key.
    wckey: SlurmName, wckey;
    /// Charged account.
    account: SlurmName, account;
    /// Quality of service.
    qos: SlurmName, qos;
}

/// What it comes to on all of its nodes, which is what a limit is compared with.
impl Resources {
    /// Whether its parts fit together.
    pub fn check(&self) -> Result<(), MalformedField> {
        let nodes = self.total_nodes();
        let wrong = |field, problem| Err(MalformedField { field, problem });
        if self.constraint.as_ref().and_then(Constraint::nodes).is_some_and(|counted| counted > nodes) {
            return wrong("constraint", format!("counts more nodes than the {nodes} that are asked for"));
        }
        if self.nodelist.as_ref().is_some_and(|list| list.nodes() > nodes) {
            return wrong("nodelist", format!("names more nodes than the {nodes} that are asked for"));
        }
        if self.prefer.as_ref().is_some_and(|prefer| prefer.nodes().is_some()) {
            return wrong("prefer", "cannot count nodes".to_owned());
        }
        // Measured on 22.05: where it can, Slurm takes what is preferred in place of what is required.
        if self.prefer.is_some() && self.constraint.is_some() {
            return wrong("prefer", "cannot be used together with constraint, which Slurm would pass over".to_owned());
        }
        if self.memory.is_some() && self.mem_per_cpu.is_some() {
            return wrong("mem_per_cpu", "cannot be used together with memory".to_owned());
        }
        let Some(ntasks) = self.ntasks else { return Ok(()) };
        if ntasks.get() < nodes {
            return wrong("ntasks", format!("must be at least the number of nodes, {nodes}"));
        }
        if self.ntasks_per_node.is_some_and(|each| u64::from(ntasks.get()) > u64::from(nodes) * u64::from(each.get())) {
            return wrong("ntasks", "is more than ntasks_per_node on each node".to_owned());
        }
        Ok(())
    }

    /// How many nodes Slurm is told to give it, exactly. Tasks alone are on one node. Where it could get several, Slurm is
    /// always told, so that no part of a request adds nodes that no limit counts.
    pub fn told_nodes(&self) -> Option<u32> {
        let counted = self.constraint.as_ref().and_then(Constraint::nodes);
        let named = self.nodelist.as_ref().map(Nodelist::nodes);
        let tasks = self.ntasks.or(self.ntasks_per_node).map(|_| 1);
        self.nodes.map(Count::get).or(counted.max(named)).or(tasks)
    }

    /// How many nodes it gets.
    pub fn total_nodes(&self) -> u32 {
        self.told_nodes().unwrap_or(1)
    }

    /// Tasks: each node has room for those that it says, also where all together are fewer.
    pub fn total_tasks(&self) -> u64 {
        let each = self.ntasks_per_node.map_or(1, Count::get);
        let on_nodes = u64::from(self.total_nodes()).saturating_mul(each.into());
        on_nodes.max(self.ntasks.map_or(1, Count::get).into())
    }

    /// CPUs of all tasks; a task has at least one.
    pub fn total_cpus(&self) -> u64 {
        self.total_tasks().saturating_mul(self.cpus.map_or(1, Cpus::get).into())
    }

    /// MiB.
    pub fn total_memory(&self) -> Option<u64> {
        match (self.memory, self.mem_per_cpu) {
            (Some(memory), _) => Some(memory.mebibytes().saturating_mul(self.total_nodes().into())),
            (None, each) => Some(each?.mebibytes().saturating_mul(self.total_cpus())),
        }
    }

    /// Generic resources of one of these names.
    pub fn total_gres(&self, names: &[&str]) -> u64 {
        let all = self.gres.iter().flat_map(Gres::each);
        let those = all.filter(|(name, _)| names.iter().any(|one| one.eq_ignore_ascii_case(name)));
        let each = those.map(|(_, count)| u64::from(count)).fold(0, u64::saturating_add);
        each.saturating_mul(self.total_nodes().into())
    }
}

fn field<T>(field: &'static str, text: Option<&str>) -> Result<Option<T>, MalformedField>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|error: T::Err| MalformedField { field, problem: error.to_string() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Each field with a value that it takes and one that it does not.
    const FIELDS: [(&str, &str, &str); 21] = [
        ("cpus", "2", "70000"),
        ("nodes", "2", "1-2"),
        ("ntasks", "4", "0"),
        ("ntasks_per_node", "2", "2(x2)"),
        ("memory", "16384M", "16P"),
        ("mem_per_cpu", "2048M", "2P"),
        ("exclusive", "true", "yes"),
        ("duration", "120", "5m"),
        ("partition", "gha", "-x"),
        ("gres", "gpu:a100:2", "gpu=2"),
        ("constraint", "a100&ib", "a100&"),
        ("prefer", "nvme|ssd", "nvme|"),
        ("nodelist", "node[01-04,7]", "node[4-1]"),
        ("exclude", "n1,n2", "/etc/passwd"),
        ("reservation", "maintenance_1", "a,b"),
        ("licenses", "ansys:2,matlab:1", "ansys=2"),
        ("tmp", "1024M", "1P"),
        ("nice", "100", "-100"),
        ("wckey", "project-1", "*x"),
        ("account", "physics", "-x"),
        ("qos", "high", ".x"),
    ];

    fn read(fields: Value) -> Result<Resources, MalformedField> {
        Resources::try_from(&serde_json::from_value::<ResourceFields>(fields).unwrap())
    }

    #[test]
    fn every_resource_goes_over_the_wire_unchanged() {
        let mut without_row = json!(Resources::default());
        for (field, good, _) in FIELDS {
            let resources = read(json!({field: good})).unwrap();
            assert_eq!(json!(ResourceFields::from(&resources)), json!({field: good}));
            let set = json!(resources).as_object().unwrap().clone().into_iter();
            for (name, _) in set.filter(|(_, value)| !value.is_null() && *value != false) {
                without_row.as_object_mut().unwrap().remove(&name);
            }
        }
        assert_eq!(without_row, json!({}));
    }

    #[test]
    fn what_is_not_the_value_it_should_be_is_named_by_its_field() {
        for (field, _, bad) in FIELDS {
            assert_eq!(read(json!({field: bad})).unwrap_err().field, field);
        }
    }

    #[test]
    fn nothing_that_a_shell_would_read_is_a_value() {
        let plain = |letter: &char| letter.is_ascii_alphanumeric() || "-_.:,".contains(*letter);
        for (field, good, _) in FIELDS {
            for letter in ('\0'..='\u{ff}').filter(|letter| !plain(letter)) {
                for text in [format!("{letter}"), format!("{letter}{good}"), format!("{good}{letter}")] {
                    assert_eq!(read(json!({field: text})).unwrap_err().field, field, "{text:?}");
                }
            }
            assert_eq!(read(json!({field: "--x"})).unwrap_err().field, field);
        }
    }

    #[test]
    fn what_is_per_node_counts_on_each() {
        let one = read(json!({"memory": "2G", "gres": "gpu:a100:2,GPU:1,disk:9"})).unwrap();
        assert_eq!((one.told_nodes(), one.total_nodes(), one.total_cpus()), (None, 1, 1));
        assert_eq!((one.total_memory(), one.total_gres(&["gpu"])), (Some(2048), 3));
        let six = read(json!({"constraint": "[a*2&b*4]", "memory": "2G", "cpus": "8", "gres": "gpu:2"})).unwrap();
        assert_eq!((six.told_nodes(), six.total_cpus()), (Some(6), 48));
        assert_eq!((six.total_memory(), six.total_gres(&["gpu"])), (Some(6 * 2048), 12));
        assert_eq!(read(json!({"cpus": "8"})).unwrap().total_memory(), None);
        let tasks = read(json!({"nodes": "2", "ntasks_per_node": "4", "ntasks": "3", "cpus": "2"})).unwrap();
        assert_eq!((tasks.told_nodes(), tasks.total_tasks(), tasks.total_cpus()), (Some(2), 8, 16));
        let each = read(json!({"nodes": "2", "cpus": "4", "mem_per_cpu": "1G"})).unwrap();
        assert_eq!(each.total_memory(), Some(8 * 1024));
        assert_eq!(read(json!({"nodelist": "n[1-4]", "cpus": "2"})).unwrap().total_cpus(), 8);
        let alone = read(json!({"ntasks": "6"})).unwrap();
        assert_eq!((alone.told_nodes(), alone.total_cpus()), (Some(1), 6), "on one node");
        let most = read(json!({"nodes": "65535", "ntasks_per_node": "65535", "cpus": "65535"})).unwrap();
        assert_eq!(most.total_cpus(), 65_535_u64.pow(3));
    }

    #[test]
    fn what_does_not_fit_together_is_refused_by_a_field() {
        for (fields, field) in [
            (json!({"nodes": "3", "constraint": "[a*2&b*2]"}), "constraint"),
            (json!({"ntasks": "4", "constraint": "[a*2&b*3]"}), "ntasks"),
            (json!({"memory": "2G", "mem_per_cpu": "1G"}), "mem_per_cpu"),
            (json!({"prefer": "a*2"}), "prefer"),
            (json!({"prefer": "a", "constraint": "b"}), "prefer"),
            (json!({"nodes": "1", "nodelist": "n[1-2]"}), "nodelist"),
            (json!({"nodelist": "n[1-2]", "ntasks": "1"}), "ntasks"),
            (json!({"nodes": "3", "ntasks": "2"}), "ntasks"),
            (json!({"nodes": "2", "ntasks_per_node": "2", "ntasks": "5"}), "ntasks"),
        ] {
            assert_eq!(read(fields).unwrap_err().field, field);
        }
        read(json!({"nodes": "5", "constraint": "[a*2&b*2]"})).unwrap();
    }

    #[test]
    fn empty_fields_are_absent_ones() {
        let all: Value = FIELDS.iter().map(|(field, ..)| (*field, "")).collect();
        assert_eq!(read(all), Ok(Resources::default()));
    }

    #[test]
    fn what_an_older_build_wrote_is_read() {
        assert_eq!(serde_json::from_str::<Resources>("{}").unwrap(), Resources::default());
    }
}
