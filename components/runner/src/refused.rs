//! A job that the check on a compute node refused: `POST /gha/runner/refused`.
//!
//! GitHub gives a runner to any job that its labels fit. The gateway's own check looks at that job on the node, before its
//! first step, and ends the Slurm job if the gateway's policy does not allow it; then the job script tells the app, with the
//! launch token that it redeemed. What it tells is shown to people and counted. The one thing that follows from it is that the
//! launch serves nobody any more: a job that it was made for, and that still waits, gets a new one from the periodic repair.

use gha_slurm_core::audit::{Record, record};
use gha_slurm_core::counters::Counter;
use gha_slurm_core::identity::RunId;
use gha_slurm_core::launch_token::LaunchTokens;
use gha_slurm_core::ledger::{End, Ledger, LostReason};
use gha_slurm_core::ports::Platform;
use gha_slurm_core::settings::Settings;
use gha_slurm_core::text::Text;
use gha_slurm_edge::answer::Answer;
use gha_slurm_protocol::identity::LaunchId;
use serde::Deserialize;
use serde_json::json;

use crate::denied::Denied;

/// What the job script tells.
#[derive(Debug, Deserialize)]
struct Refusal {
    reason: Text,
    #[serde(default)]
    repository: Text,
    #[serde(default)]
    run_id: Option<RunId>,
}

/// Answers one such report.
pub(crate) fn refused<P: Platform>(platform: &P, token: &str, body: &[u8]) -> Answer {
    let Ok(refusal) = serde_json::from_slice::<Refusal>(body) else {
        return Answer::error(400, "the body must be JSON with the field reason");
    };
    let noted = match Settings(platform).redeem_url() {
        Ok(audience) => {
            let verified = LaunchTokens::new(platform, audience.as_str()).verify(token).map_err(Denied::from);
            verified.and_then(|id| note(platform, id, &refusal))
        }
        Err(error) => Err(error.into()),
    };
    noted.unwrap_or_else(Answer::from)
}

fn note<P: Platform>(platform: &P, id: LaunchId, refusal: &Refusal) -> Result<Answer, Denied> {
    let ledger = Ledger(platform);
    let facts = ledger.launch(id);
    if facts.redeemed()?.is_none() && !facts.committed()? {
        // Without a credential there was no runner that GitHub could have given anything.
        return Ok(Answer::error(409, "this launch has no runner"));
    }
    let Refusal { reason, repository, run_id } = refusal;
    if facts.record_refused_at_node(reason.clone(), repository.clone(), *run_id)? {
        Counter::RefusedAtNode.count(platform);
        let refused = Record::RefusedAtNode {
            job: id.job,
            launch: id,
            reason: reason.some().unwrap_or_default(),
            repository: repository.some(),
            run: run_id.map(|run| run.0),
        };
        record(platform, &refused);
        // The job script tells it as the last thing that it does: the place in a line is free.
        facts.record_ended(End::Slurm("the check on its node refused the job".to_owned()))?;
    }
    // Where the refused job is of the run that the launch was made for, its own job is refused as well, for the same reason.
    // Otherwise no launch of the job that took the runner is good for the robbed one: it is for whom this node refuses.
    let view = ledger.job(id.job).view()?;
    let waits = view.waiting(platform.unix_seconds()).is_some();
    let own_run = view.requested.and_then(|requested| requested.run_id);
    if waits && facts.lost()?.is_none() && run_id.is_some() && *run_id != own_run {
        facts.record_lost(LostReason::RefusedAtNode)?;
    }
    Ok(Answer::new(200, json!({"recorded": true, "launch": id})))
}
