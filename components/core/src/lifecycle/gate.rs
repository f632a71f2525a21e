//! Jobs that GitHub holds back until somebody approves their deployment.
//!
//! Such a job is told of as *queued* with the status `waiting`, or by the action `waiting`, and once more as *queued* when it
//! is approved. The order in which that is received is believed: to be held is one fact, to be released another, each
//! written once. Where the order was another one at GitHub, a job is launched too early, which costs an idle runner, or
//! held too long, until the tick has asked GitHub.

use gha_slurm_protocol::identity::JobId;

use super::progress::{Patience, Progress};
use super::submit::{Destination, advance};
use super::{Fault, Need, withdraw_unneeded};
use crate::ledger::{Ledger, LostReason, Requested};
use crate::ports::Platform;

/// Withdraws what was launched, or stands in line, for a job that is held.
pub fn hold<P: Platform>(platform: &P, destination: &Destination, job: JobId) -> Result<(), Fault> {
    let Some(launch) = Need(platform).holder(job)? else { return Ok(()) };
    let facts = Ledger(platform).launch(launch);
    // Its place in the line is another one's now.
    if facts.ticket()?.is_some() && facts.launched()?.is_none() && !facts.withdrawn()? {
        facts.record_withdrawn()?;
    }
    withdraw_unneeded(platform, destination, launch)
}

/// Launches a job that was released.
pub fn release<P: Platform>(
    platform: &P,
    destination: &Destination,
    job: JobId,
    requested: &Requested,
) -> Result<Progress, Fault> {
    let need = Need(platform);
    if let Some(own) = need.own_launch(job)?
        && Ledger(platform).launch(own).withdrawn()?
        && !need.served(job)?
    {
        let facts = Ledger(platform).launch(own);
        // An attempt that died or whose answer was lost may have made a Slurm job.
        let submitted = facts.launched()?.is_some() || facts.submissions().any()?;
        facts.record_lost(if submitted { LostReason::Unserved } else { LostReason::Held })?;
    }
    advance(platform, destination, job, requested, Patience::AtOnce)
}
