//! Amounts that Slurm understands, parsed once and written in one form, so that no text of a workflow or of a
//! configuration file reaches Slurm as it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A text that is not the amount it should be.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum AmountError {
    /// Not a memory size.
    #[error("{0:?} is no memory size: write a whole number and K, M, G or T, such as 16G")]
    Memory(String),
    /// Not a time limit.
    #[error("{0:?} is no time limit: write minutes, H:M:S, D-H or D-H:M:S, such as 02:00:00")]
    TimeLimit(String),
}

/// Memory per node, in MiB, at least 1. Slurm's units are powers of 1024, and MiB is its default
/// (sbatch's manual page, `--mem`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Memory(u64);

impl Memory {
    /// The size in MiB.
    pub fn mebibytes(self) -> u64 {
        self.0
    }

    /// A share of it, of so many; `None` for less than 1 MiB.
    pub fn share(self, of: u32) -> Option<Self> {
        self.0.checked_div(of.into()).filter(|share| *share > 0).map(Self)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}M", self.0)
    }
}

impl FromStr for Memory {
    type Err = AmountError;

    /// Reads `512`, `512M`, `16G`, `16gb`, `1T`; kilobytes are rounded up to a whole MiB.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let malformed = || AmountError::Memory(text.to_owned());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| malformed())?;
        let mebibytes = match unit.to_ascii_lowercase().as_str() {
            "k" | "kb" => Some(number.div_ceil(1024)),
            "" | "m" | "mb" => Some(number),
            "g" | "gb" => number.checked_mul(1024),
            "t" | "tb" => number.checked_mul(1024 * 1024),
            _ => None,
        };
        match mebibytes {
            Some(size) if size > 0 => Ok(Self(size)),
            _ => Err(malformed()),
        }
    }
}

impl TryFrom<String> for Memory {
    type Error = AmountError;

    fn try_from(text: String) -> Result<Self, AmountError> {
        text.parse()
    }
}

impl From<Memory> for String {
    fn from(size: Memory) -> Self {
        size.to_string()
    }
}

/// A Slurm time limit, in whole minutes, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TimeLimit(u64);

impl TimeLimit {
    /// The limit in minutes.
    pub fn minutes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TimeLimit {
    type Err = AmountError;

    /// Reads the forms of sbatch's `--time`: `M`, `M:S`, `H:M:S`, `D-H`, `D-H:M`, `D-H:M:S`. Seconds are rounded up to
    /// a whole minute, as Slurm does.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let malformed = || AmountError::TimeLimit(text.to_owned());
        let number = |part: &str| match part.bytes().all(|byte| byte.is_ascii_digit()) {
            true => part.parse::<u64>().map_err(|_| malformed()),
            false => Err(malformed()),
        };
        let (days, clock) = match text.split_once('-') {
            Some((days, clock)) => (Some(number(days)?), clock),
            None => (None, text),
        };
        let fields = clock.split(':').map(number).collect::<Result<Vec<_>, _>>()?;
        let (hours, minutes, seconds) = match (days, fields.as_slice()) {
            (None, [minutes]) => (0, *minutes, 0),
            (None, [minutes, seconds]) => (0, *minutes, *seconds),
            (_, [hours, minutes, seconds]) => (*hours, *minutes, *seconds),
            (Some(_), [hours]) => (*hours, 0, 0),
            (Some(_), [hours, minutes]) => (*hours, *minutes, 0),
            _ => return Err(malformed()),
        };
        let total = days
            .unwrap_or(0)
            .checked_mul(24)
            .and_then(|from_days| from_days.checked_add(hours))
            .and_then(|hours| hours.checked_mul(60))
            .and_then(|from_hours| from_hours.checked_add(minutes))
            .and_then(|minutes| minutes.checked_add(seconds.div_ceil(60)));
        match total {
            Some(minutes) if minutes > 0 => Ok(Self(minutes)),
            _ => Err(malformed()),
        }
    }
}

impl TryFrom<String> for TimeLimit {
    type Error = AmountError;

    fn try_from(text: String) -> Result<Self, AmountError> {
        text.parse()
    }
}

impl From<TimeLimit> for String {
    fn from(limit: TimeLimit) -> Self {
        limit.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_slurms_units() {
        for (text, mebibytes) in
            [("512", 512), ("512M", 512), ("16G", 16_384), ("24gb", 24_576), ("1T", 1_048_576), ("1500K", 2)]
        {
            assert_eq!(text.parse::<Memory>().unwrap().mebibytes(), mebibytes, "{text}");
        }
        for bad in ["", "G", "0", "0G", "-1G", "+1G", "1.5G", "16 G", "16P", "16G;id", "99999999999999999999", "ä"] {
            assert!(bad.parse::<Memory>().is_err(), "{bad:?}");
        }
        assert!(format!("{}T", u64::MAX).parse::<Memory>().is_err(), "an overflow is an error");
    }

    #[test]
    fn time_limits_are_read_in_every_form_of_sbatch() {
        for (text, minutes) in [
            ("90", 90),
            ("90:30", 91),
            ("02:00:00", 120),
            ("00:00:01", 1),
            ("1-0", 1440),
            ("1-02:30", 1590),
            ("2-00:00:30", 2881),
        ] {
            assert_eq!(text.parse::<TimeLimit>().unwrap().minutes(), minutes, "{text}");
        }
        for bad in ["", "0", "-", "1-", "-1", "1:2:3:4", "1-1:1:1:1", "+5", "5m", "1:", "UNLIMITED", "5\n", "٣"] {
            assert!(bad.parse::<TimeLimit>().is_err(), "{bad:?}");
        }
        assert!(format!("{}-0", u64::MAX).parse::<TimeLimit>().is_err(), "an overflow is an error");
    }
}
