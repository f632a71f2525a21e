//! What a launch asks of Slurm, and how it is written in a launch request.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::amounts::{Memory, TimeLimit};
use crate::values::{Cpus, Gres, SlurmName};

/// What a launch asks of Slurm, resolved. What is absent is left to the cluster's defaults, also in what a build wrote that
/// did not know it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Partition.
    pub partition: Option<SlurmName>,
    /// CPUs per task.
    pub cpus: Option<Cpus>,
    /// Memory per node.
    pub memory: Option<Memory>,
    /// Generic resources, such as `gpu:2`.
    pub gres: Option<Gres>,
    /// How long the Slurm job may run.
    pub time_limit: Option<TimeLimit>,
    /// Whether the node is for this Slurm job alone.
    pub exclusive: bool,
    /// Charged account.
    pub account: Option<SlurmName>,
    /// Quality of service.
    pub qos: Option<SlurmName>,
}

/// [`Resources`] on the wire: strings, because the original service takes no other type. Empty means absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceFields {
    /// CPUs per task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// Memory per node, in MiB with the unit: `24576M`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// `true`, or absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclusive: Option<String>,
    /// Time limit in minutes. The original ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Slurm partition. The original ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Generic resources. The original does not know them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gres: Option<String>,
    /// Charged account. The original does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Quality of service. The original does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
}

/// A field of a request that is not the value it should be.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{field}: {problem}")]
pub struct MalformedField {
    /// The field's name on the wire.
    pub field: &'static str,
    /// What is wrong with it. Never the value of a secret.
    pub problem: String,
}

impl From<&Resources> for ResourceFields {
    fn from(resources: &Resources) -> Self {
        Self {
            cpus: resources.cpus.map(|cpus| cpus.to_string()),
            memory: resources.memory.map(|memory| memory.to_string()),
            exclusive: resources.exclusive.then(|| "true".to_owned()),
            duration: resources.time_limit.map(|limit| limit.minutes().to_string()),
            partition: resources.partition.clone().map(String::from),
            gres: resources.gres.clone().map(String::from),
            account: resources.account.clone().map(String::from),
            qos: resources.qos.clone().map(String::from),
        }
    }
}

impl TryFrom<&ResourceFields> for Resources {
    type Error = MalformedField;

    fn try_from(fields: &ResourceFields) -> Result<Self, MalformedField> {
        Ok(Self {
            partition: field("partition", fields.partition.as_deref())?,
            cpus: field("cpus", fields.cpus.as_deref())?,
            memory: field("memory", fields.memory.as_deref())?,
            gres: field("gres", fields.gres.as_deref())?,
            time_limit: field("duration", fields.duration.as_deref())?,
            exclusive: match fields.exclusive.as_deref() {
                None | Some("" | "false") => false,
                Some("true") => true,
                Some(_) => {
                    return Err(MalformedField { field: "exclusive", problem: "must be true or false".to_owned() });
                }
            },
            account: field("account", fields.account.as_deref())?,
            qos: field("qos", fields.qos.as_deref())?,
        })
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
    const FIELDS: [(&str, &str, &str); 8] = [
        ("cpus", "2", "70000"),
        ("memory", "16384M", "16P"),
        ("exclusive", "true", "yes"),
        ("duration", "120", "5m"),
        ("partition", "gha", "-x"),
        ("gres", "gpu:a100:2", "gpu=2"),
        ("account", "physics", "-x"),
        ("qos", "high", ".x"),
    ];

    fn read(fields: Value) -> Result<Resources, MalformedField> {
        Resources::try_from(&serde_json::from_value::<ResourceFields>(fields).unwrap())
    }

    #[test]
    fn every_resource_goes_over_the_wire_unchanged() {
        let all: Value = FIELDS.iter().map(|(field, good, _)| (*field, *good)).collect();
        let resources = read(all.clone()).unwrap();
        assert_eq!(json!(ResourceFields::from(&resources)), all);
        let written = json!(resources);
        let unset = written.as_object().unwrap().values().filter(|value| value.is_null() || **value == false);
        assert_eq!(unset.count(), 0, "a resource has no row above");
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
    fn empty_fields_are_absent_ones() {
        let all: Value = FIELDS.iter().map(|(field, ..)| (*field, "")).collect();
        assert_eq!(read(all), Ok(Resources::default()));
    }

    #[test]
    fn what_an_older_build_wrote_is_read() {
        assert_eq!(serde_json::from_str::<Resources>("{}").unwrap(), Resources::default());
    }
}
