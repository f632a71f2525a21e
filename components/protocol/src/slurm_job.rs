//! What Slurm says about a Slurm job, as the gateway passes it on.

use serde::{Deserialize, Serialize};

/// What Slurm says about a launch's Slurm job: the gateway's answer to `GET /runner/{launch}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SlurmJob {
    /// Its ID; null while the gateway does not know whether it was submitted.
    pub job_id: Option<String>,
    /// Its state in Slurm's words, such as `PENDING`; `UNKNOWN` if Slurm has forgotten it.
    pub state: String,
    /// Slurm's reason for that state, such as `Resources`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many seconds from now Slurm expects to start it: an estimate, and only of one that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_in: Option<u64>,
    /// Its place among the Slurm jobs that wait for its partition, from 1, where Slurm shows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
}

impl SlurmJob {
    /// Whether it does nothing any more. Slurm forgets only what is over.
    pub fn is_over(&self) -> bool {
        self.job_id.is_some() && is_final(&self.state)
    }
}

/// What the gateway says of a Slurm job that Slurm has forgotten.
pub const UNKNOWN: &str = "UNKNOWN";

/// The states in which a Slurm job does nothing any more (the job states of squeue's manual).
const ENDS: [&str; 13] = [
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "LAUNCH_FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "RECONFIG_FAIL",
    "REVOKED",
    "TIMEOUT",
    UNKNOWN,
];
/// The states of a Slurm job that is not at an end yet, apart from flags.
const LIVES: [&str; 3] = ["PENDING", "RUNNING", "SUSPENDED"];
/// A flag that says nothing about the Slurm job itself.
const SILENT: &str = "UPDATE_DB";

/// Whether a Slurm job in that state does nothing any more. A state that is not known here, such as one of a newer Slurm,
/// is no end: to take a living Slurm job for a dead one starts a second runner.
pub fn is_final(state: &str) -> bool {
    ENDS.contains(&state.trim().to_ascii_uppercase().as_str())
}

/// The one state that matters of those that Slurm tells together, in any order and case: a state and flags, such as
/// `NODE_FAIL` with `REQUEUED`, which is about to run again. Only when all are ends is it an end.
pub fn one_state<'a>(told: impl IntoIterator<Item = &'a str>) -> String {
    let words = told.into_iter().map(|word| word.trim().to_ascii_uppercase());
    let mut words: Vec<String> = words.filter(|word| !word.is_empty() && word != SILENT).collect();
    words.sort_by_key(|word| (is_final(word), !LIVES.contains(&word.as_str())));
    words.into_iter().next().unwrap_or_else(|| UNKNOWN.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_end_is_one() {
        for end in ["COMPLETED", "cancelled", "NODE_FAIL", "UNKNOWN", " TIMEOUT "] {
            assert!(is_final(end), "{end}");
        }
        for lives in ["PENDING", "running", "COMPLETING", "EXPEDITING", "REQUEUED", "A_STATE_OF_2030", ""] {
            assert!(!is_final(lives), "{lives}");
        }
    }

    #[test]
    fn of_several_states_the_living_one_counts() {
        for (told, expected) in [
            (&["NODE_FAIL", "REQUEUED"][..], "REQUEUED"),
            (&["REQUEUED", "NODE_FAIL"], "REQUEUED"),
            (&["CANCELLED", "COMPLETING"], "COMPLETING"),
            (&["CONFIGURING", "RUNNING"], "RUNNING"),
            (&["completed"], "COMPLETED"),
            (&["UPDATE_DB", "COMPLETED"], "COMPLETED"),
            (&["TIMEOUT", "NEWSTATE"], "NEWSTATE"),
            (&[], "UNKNOWN"),
        ] {
            assert_eq!(one_state(told.iter().copied()), expected, "{told:?}");
        }
    }
}
