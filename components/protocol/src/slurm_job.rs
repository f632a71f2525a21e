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

    /// Why Slurm will never start it as it is, in words; `None` for one that may start.
    pub fn never_starts(&self) -> Option<&'static str> {
        let reason = self.reason.as_deref().filter(|_| self.state == PENDING)?;
        never_passes(reason)
    }
}

/// The state of a Slurm job that waits.
pub const PENDING: &str = "PENDING";

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

/// What is wrong with a Slurm job that waits for this reason of Slurm's (squeue's manual, JOB REASON CODES); `None` for
/// what passes by itself, as other Slurm jobs end or nodes come back, and for what is not known here.
///
/// PartitionNodeLimit is not among them: it also stands for nodes that are down. Nor is a job that somebody holds.
pub fn never_passes(reason: &str) -> Option<&'static str> {
    let reason = reason.trim();
    Some(match reason {
        "AccountNotAllowed" => "its partition does not admit its account",
        "BadConstraints" => "no node has what it asks for",
        "DependencyNeverSatisfied" => "it waits for a Slurm job that ended otherwise",
        "InvalidAccount" => "Slurm does not know its account, or its user is not in it",
        "InvalidQOS" => "Slurm does not know its QOS, or its user or account may not use it",
        "MaxMemPerLimit" => "it asks for more memory than Slurm or its partition allows",
        "PartitionConfig" => "it asks for what no node of its partition has, or its user may not use the partition",
        "PartitionTimeLimit" => "its time limit is longer than the partition's",
        "QOSNotAllowed" => "its partition does not admit its QOS",
        "ReservationDeleted" | "ReservationInvalid" => "its reservation does not exist, or is over",
        _ if reason.starts_with("QOSMin") => "it asks for less than its QOS demands",
        // A limit on all Slurm jobs of somebody together passes, one on a single one does not.
        _ if per_one(reason) => "it asks for more than one Slurm job may have by its QOS or account",
        _ if in_words(reason) => "its partition does not admit its account or QOS",
        _ => return None,
    })
}

/// Such as `QOSMaxWallDurationPerJobLimit` and `AssocMaxCpuPerNode`.
fn per_one(reason: &str) -> bool {
    let limit = reason.strip_prefix("QOSMax").or_else(|| reason.strip_prefix("AssocMax"));
    let limit = limit.map(|limit| limit.trim_end_matches("Limit"));
    limit.is_some_and(|limit| limit.ends_with("PerJob") || limit.ends_with("PerNode"))
}

/// What squeue tells in place of AccountNotAllowed and QOSNotAllowed, with blanks or underscores, such as `Job's account not
/// permitted to use this partition (gha denies …)`.
fn in_words(reason: &str) -> bool {
    let reason = reason.replace('_', " ");
    reason.starts_with("Job's ")
        && ["not permitted to use this partition", "can't use this partition"].iter().any(|sign| reason.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_end_is_one() {
        for end in ["COMPLETED", "cancelled", "NODE_FAIL", "UNKNOWN", " TIMEOUT "] {
            assert!(is_final(end), "{end}");
        }
        let flags = "COMPLETING CONFIGURING EXPEDITING POWER_UP_NODE REQUEUED REQUEUE_FED REQUEUE_HOLD RESIZING RESV_DEL_HOLD \
                     SIGNALING SPECIAL_EXIT STAGE_OUT STOPPED";
        for lives in ["PENDING", "running", "SUSPENDED", "A_STATE_OF_2030", ""].into_iter().chain(flags.split(' ')) {
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
    #[test]
    fn what_passes_by_itself_is_told_from_what_never_does() {
        for never in [
            "PartitionConfig",
            "PartitionTimeLimit",
            "AccountNotAllowed",
            "BadConstraints",
            "InvalidQOS",
            "AssocMaxCpuPerJobLimit",
            "AssocMaxGRESMinutesPerJob",
            "QOSMaxWallDurationPerJobLimit",
            "QOSMaxMemoryPerNode",
            "QOSMinGRES",
            "Job's account not known, so it can't use this partition (closed allows physics)",
            "Job's_QOS_not_permitted_to_use_this_partition_(gha_allows_high_not_normal)",
        ] {
            assert!(never_passes(never).is_some(), "{never}");
        }
        for passes in [
            "",
            "Resources",
            "Priority",
            "ReqNodeNotAvail, UnavailableNodes:n1",
            "ReqNodeNotAvail,_Reserved_for_maintenance",
            "PartitionDown",
            "PartitionNodeLimit",
            "JobHeldUser",
            "QOSMaxJobsPerUserLimit",
            "QOSMaxSubmitJobPerUserLimit",
            "QOSMaxCpuPerUserLimit",
            "QOSGrpCpuLimit",
            "AssocGrpCpuLimit",
            "AssocMaxJobsLimit",
            "MaxMemoryPerAccount",
            "AReasonOf2030",
        ] {
            assert_eq!(never_passes(passes), None, "{passes}");
        }
        let job = |state: &str| SlurmJob {
            job_id: Some("17".to_owned()),
            state: state.to_owned(),
            reason: Some("PartitionTimeLimit".to_owned()),
            starts_in: None,
            position: None,
        };
        assert!(job("PENDING").never_starts().is_some());
        assert_eq!(job("CANCELLED").never_starts(), None, "it waits for nothing any more");
    }
}
