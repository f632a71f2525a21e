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
}

impl SlurmJob {
    /// Whether it does nothing any more. Slurm forgets only what is over.
    pub fn is_over(&self) -> bool {
        self.job_id.is_some() && is_final(&self.state)
    }
}

/// Whether a Slurm job in that state does nothing any more (the job states of squeue's manual).
pub fn is_final(state: &str) -> bool {
    !matches!(
        state,
        "PENDING"
            | "RUNNING"
            | "SUSPENDED"
            | "CONFIGURING"
            | "COMPLETING"
            | "POWER_UP_NODE"
            | "REQUEUED"
            | "REQUEUE_FED"
            | "REQUEUE_HOLD"
            | "RESIZING"
            | "RESV_DEL_HOLD"
            | "SIGNALING"
            | "SPECIAL_EXIT"
            | "STAGE_OUT"
            | "STOPPED"
    )
}
