//! The values that Slurm reads as words: names of partitions, accounts and QOS, CPU counts, generic resources.
//!
//! Each type has one spelling that both sides accept. No character in it means anything to a shell, to Slurm's own
//! option parser or in an HTTP header, so a value can be passed on as it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A text that is not the value it should be. It never repeats the text, which may come from a stranger.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct MalformedValue(pub &'static str);

/// Whether `text` has 1 to `longest` bytes, all ASCII letters, digits or one of `punctuation`.
pub fn is_plain(text: &str, punctuation: &[u8], longest: usize) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || punctuation.contains(&byte);
    !text.is_empty() && text.len() <= longest && text.bytes().all(allowed)
}

/// The name of a partition, an account or a QOS: up to 64 ASCII letters, digits, `-`, `_` and `.`, starting with a
/// letter, a digit or `_`, so that it can never be read as an option.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SlurmName(String);

impl SlurmName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SlurmName {
    type Error = MalformedValue;

    fn try_from(text: String) -> Result<Self, MalformedValue> {
        match is_plain(&text, b"-_.", 64) && !text.starts_with(['-', '.']) {
            true => Ok(Self(text)),
            false => Err(MalformedValue(
                "must be up to 64 letters, digits, '-', '_' or '.', and start with a letter, a digit or '_'",
            )),
        }
    }
}

macro_rules! number_value {
    ($(#[$doc:meta])* $name:ident to $most:literal, $problem:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u32", into = "u32")]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub struct $name(u32);

        impl $name {
            /// The number.
            pub fn get(self) -> u32 {
                self.0
            }
        }

        impl TryFrom<u32> for $name {
            type Error = MalformedValue;

            fn try_from(number: u32) -> Result<Self, MalformedValue> {
                match number {
                    1..=$most => Ok(Self(number)),
                    _ => Err(MalformedValue($problem)),
                }
            }
        }

        impl From<$name> for u32 {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl FromStr for $name {
            type Err = MalformedValue;

            fn from_str(text: &str) -> Result<Self, MalformedValue> {
                count(text).ok_or(MalformedValue($problem))?.try_into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_value! {
    /// How many CPUs a task gets: 1 to 65,535, the range of Slurm's `cpus_per_task`.
    Cpus to 65_535, "must be a number of CPUs from 1 to 65535"
}

number_value! {
    /// How many nodes or tasks a Slurm job gets: 1 to 65,535, the range of Slurm's `tasks_per_node`.
    Count to 65_535, "must be a number from 1 to 65535"
}

number_value! {
    /// How far a Slurm job's priority is lowered: Slurm's nice value. It cannot be raised.
    Nice to 2_147_483_645, "must be a number from 1 to 2147483645"
}

/// Generic resources as Slurm's `--gres` takes them: `name`, `name:count` or `name:type[:count]`, separated by commas,
/// such as `gpu:a100:2,shard:4`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Gres(String);

impl Gres {
    /// `gpu:COUNT`.
    pub fn gpus(count: u32) -> Self {
        Self(format!("gpu:{count}"))
    }

    /// `gpu:KIND:COUNT`.
    pub fn gpus_of(kind: &SlurmName, count: u32) -> Self {
        Self(format!("gpu:{kind}:{count}"))
    }

    /// The text, as Slurm reads it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Each resource with its count; one without a count counts as 1. Slurm compares the names without case.
    pub fn each(&self) -> impl Iterator<Item = (&str, u32)> {
        self.0.split(',').filter_map(|one| Some((one.split(':').next()?, one_gres(one)?)))
    }
}

impl TryFrom<String> for Gres {
    type Error = MalformedValue;

    fn try_from(text: String) -> Result<Self, MalformedValue> {
        match text.len() <= 256 && text.split(',').all(|one| one_gres(one).is_some()) {
            true => Ok(Self(text)),
            false => Err(MalformedValue("must be name:count or name:type:count, such as gpu:2 or gpu:a100:2")),
        }
    }
}

/// The count of one generic resource: `gpu` is 1, `gpu:2` and `gpu:a100:2` are 2.
fn one_gres(text: &str) -> Option<u32> {
    let named = |part: &str| is_plain(part, b"-_.", 64) && !part.starts_with('-');
    let mut parts = text.split(':');
    let name = parts.next().filter(|name| named(name))?;
    // Slurm's own keywords. `gres:gpu:2` is another spelling of `gpu:2`, which would pass by a limit on GPUs.
    if ["gres", "none", "help", "list"].contains(&name.to_ascii_lowercase().as_str()) {
        return None;
    }
    match (parts.next(), parts.next(), parts.next()) {
        (None, ..) => Some(1),
        (Some(last), None, _) if named(last) => match last.bytes().all(|byte| byte.is_ascii_digit()) {
            true => count(last),
            false => Some(1),
        },
        (Some(kind), Some(last), None) if named(kind) => count(last),
        _ => None,
    }
}

/// A whole number of at least 1, of digits alone.
pub fn count(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number > 0)
}

/// What a value of a text has: its text, and how it is read from one.
macro_rules! text_value {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = MalformedValue;

            fn from_str(text: &str) -> Result<Self, MalformedValue> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    )*};
}

pub(crate) use text_value;

text_value!(SlurmName Gres);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slurm_name_is_never_an_option() {
        for good in ["gha", "_x", "32GBRAM", "a-b.c_d", &"x".repeat(64)] {
            assert!(good.parse::<SlurmName>().is_ok(), "{good:?}");
        }
        for bad in ["", "-x", "--uid=0", ".x", "a b", "a,b", "a\nb", "ä", "$(id)", &"x".repeat(65)] {
            assert!(bad.parse::<SlurmName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn cpus_are_what_slurm_can_count() {
        assert_eq!("65535".parse::<Cpus>().unwrap().get(), 65_535);
        for bad in ["", "0", "-1", "+1", "65536", "70000", "1.5", "two", "٣"] {
            assert!(bad.parse::<Cpus>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn generic_resources_are_counted_as_slurm_counts_them() {
        for (text, counted) in [
            ("gpu", vec![("gpu", 1)]),
            ("gpu:2", vec![("gpu", 2)]),
            ("gpu:a100", vec![("gpu", 1)]),
            ("gpu:a100:2,shard:4", vec![("gpu", 2), ("shard", 4)]),
        ] {
            assert_eq!(text.parse::<Gres>().unwrap().each().collect::<Vec<_>>(), counted, "{text}");
        }
        for bad in [
            "",
            "gpu=2",
            "gpu:",
            ":2",
            "gpu:a:b",
            "gpu:1:2:3",
            "gpu:0",
            "gres:gpu:2",
            "NONE",
            "gpu,,x",
            "gpu/2",
            "-gpu",
        ] {
            assert!(bad.parse::<Gres>().is_err(), "{bad:?}");
        }
    }
}
