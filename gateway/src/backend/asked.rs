//! What a Slurm job asks for, under both of its names: the option of sbatch and the field of the REST API.
//!
//! They stand side by side, so that a new one is one line for both backends. What a version of the REST API writes in a
//! form of its own, as generic resources and whole nodes, is not here but in each backend.

use gha_slurm_protocol::amounts::Memory;

use super::JobSpec;

/// One thing that a Slurm job asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// sbatch's option, without its dashes.
    pub(super) option: &'static str,
    /// The REST API's field.
    pub(super) field: &'static str,
    /// How much, or which.
    pub(super) value: Setting,
}

/// A value in both forms.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// A word.
    Word(String),
    /// A number, plain in every version of the REST API.
    Count(u32),
    /// Names of nodes.
    Nodes(String),
    /// MiB, a plain number in every version of the REST API.
    Size(Memory),
    /// What could be without limit in the REST API, and is a text to sbatch.
    Limit { text: String, number: u64 },
}

impl Setting {
    /// As sbatch reads it.
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Word(text) | Self::Nodes(text) | Self::Limit { text, .. } => text,
            Self::Count(number) => number.to_string(),
            Self::Size(size) => size.to_string(),
        }
    }
}

/// All that a Slurm job asks for.
pub(super) fn asked(job: &JobSpec) -> impl Iterator<Item = Asked> {
    let of = &job.resources;
    let word = |value: Option<String>| value.map(Setting::Word);
    let limit = |text: String, number| Setting::Limit { text, number };
    let each = [
        ("partition", "partition", word(of.partition.clone().map(String::from))),
        ("account", "account", word(of.account.clone().map(String::from))),
        ("qos", "qos", word(of.qos.clone().map(String::from))),
        ("ntasks", "tasks", of.ntasks.map(|tasks| Setting::Count(tasks.get()))),
        ("ntasks-per-node", "tasks_per_node", of.ntasks_per_node.map(|tasks| Setting::Count(tasks.get()))),
        ("cpus-per-task", "cpus_per_task", of.cpus.map(|cpus| Setting::Count(cpus.get()))),
        ("mem", "memory_per_node", of.memory.map(|memory| limit(memory.to_string(), memory.mebibytes()))),
        // As a word every version of the REST API takes it: 22.05 ignores a list of numbers.
        ("mem-per-cpu", "memory_per_cpu", of.mem_per_cpu.map(|each| limit(each.to_string(), each.mebibytes()))),
        ("nodes", "nodes", word(of.told_nodes().map(|nodes| nodes.to_string()))),
        ("constraint", "constraints", word(of.constraint.clone().map(String::from))),
        ("prefer", "prefer", word(of.prefer.clone().map(String::from))),
        ("nodelist", "required_nodes", of.nodelist.clone().map(|list| Setting::Nodes(list.into()))),
        ("exclude", "excluded_nodes", of.exclude.clone().map(|list| Setting::Nodes(list.into()))),
        ("reservation", "reservation", word(of.reservation.clone().map(String::from))),
        ("licenses", "licenses", word(of.licenses.clone().map(String::from))),
        ("tmp", "temporary_disk_per_node", of.tmp.map(Setting::Size)),
        ("nice", "nice", of.nice.map(|nice| Setting::Count(nice.get()))),
        ("wckey", "wckey", word(of.wckey.clone().map(String::from))),
        ("time", "time_limit", of.time_limit.map(|time| limit(time.to_string(), time.minutes()))),
    ];
    each.into_iter().filter_map(|(option, field, value)| Some(Asked { option, field, value: value? }))
}

#[cfg(test)]
pub(super) mod tests {
    use gha_slurm_protocol::resources::Resources;
    use gha_slurm_protocol::secret::Secret;

    use super::*;

    /// A Slurm job that asks for every resource.
    pub(in crate::backend) fn job() -> JobSpec {
        JobSpec {
            name: "gha-slurm-42-1".into(),
            user: "alice".into(),
            comment: "https://github.com/o/r".into(),
            script: "#!/bin/bash\n".into(),
            environment: vec![("A".into(), Secret::new("b=c"))],
            resources: Resources {
                partition: "gha".parse().ok(),
                nodes: "2".parse().ok(),
                ntasks: "4".parse().ok(),
                ntasks_per_node: "2".parse().ok(),
                cpus: "2".parse().ok(),
                memory: "512".parse().ok(),
                mem_per_cpu: None,
                gres: "gpu:2,disk:1".parse().ok(),
                time_limit: "90".parse().ok(),
                constraint: "a100&ib".parse().ok(),
                prefer: "nvme|ssd".parse().ok(),
                nodelist: "n[1-2]".parse().ok(),
                exclude: "n3".parse().ok(),
                reservation: "course".parse().ok(),
                licenses: "ansys:2".parse().ok(),
                tmp: "10G".parse().ok(),
                nice: "100".parse().ok(),
                wckey: "w".parse().ok(),
                exclusive: true,
                account: "physics".parse().ok(),
                qos: None,
            },
            output: "/home/alice/%j".into(),
            directory: "/home/alice".into(),
        }
    }

    #[test]
    fn what_is_asked_for_has_both_names_and_what_is_not_has_none() {
        let found: Vec<_> = asked(&job()).map(|one| (one.option, one.field, one.value.into_text())).collect();
        let found: Vec<_> = found.iter().map(|(option, field, text)| (*option, *field, text.as_str())).collect();
        assert_eq!(
            found,
            [
                ("partition", "partition", "gha"),
                ("account", "account", "physics"),
                ("ntasks", "tasks", "4"),
                ("ntasks-per-node", "tasks_per_node", "2"),
                ("cpus-per-task", "cpus_per_task", "2"),
                ("mem", "memory_per_node", "512M"),
                ("nodes", "nodes", "2"),
                ("constraint", "constraints", "a100&ib"),
                ("prefer", "prefer", "nvme|ssd"),
                ("nodelist", "required_nodes", "n[1-2]"),
                ("exclude", "excluded_nodes", "n3"),
                ("reservation", "reservation", "course"),
                ("licenses", "licenses", "ansys:2"),
                ("tmp", "temporary_disk_per_node", "10240M"),
                ("nice", "nice", "100"),
                ("wckey", "wckey", "w"),
                ("time", "time_limit", "90"),
            ]
        );
        let nothing = JobSpec { resources: Resources::default(), ..job() };
        assert_eq!(asked(&nothing).count(), 0);
        let resources = Resources { mem_per_cpu: "2G".parse().ok(), ..Resources::default() };
        let each: Vec<_> = asked(&JobSpec { resources, ..job() }).collect();
        let value = Setting::Limit { text: "2048M".to_owned(), number: 2048 };
        assert_eq!(each, [Asked { option: "mem-per-cpu", field: "memory_per_cpu", value }]);
        let resources = Resources { constraint: "[a*2&b*1]".parse().ok(), ..Resources::default() };
        let counted: Vec<_> = asked(&JobSpec { resources, ..job() }).map(|one| one.value.into_text()).collect();
        assert_eq!(counted, ["3", "[a*2&b*1]"], "as many nodes as are counted, so that it gets no more");
    }
}
