//! What Slurm says about a launch: by its gateway, which is asked, or by what a gateway that fetches told last.

use std::time::Duration;

use gha_slurm_core::cluster::How;
use gha_slurm_core::gateway::slurm_job;
use gha_slurm_core::ledger::Ledger;
use gha_slurm_core::ports::{Clock, Platform, Store, StoreError, Variables};
use gha_slurm_core::settings::{GatewaySettings, SettingError, Settings};
use gha_slurm_overview::{LaunchDetail, SlurmSaid};
use gha_slurm_protocol::identity::{ClusterName, LaunchId};
use gha_slurm_protocol::slurm_job::SlurmJob;
use thiserror::Error;

/// For one question to a gateway.
const DEADLINE: Duration = Duration::from_secs(3);

/// What Slurm says about a Slurm job.
pub(crate) struct Said {
    pub(crate) slurm_job: SlurmJob,
    /// How long ago it was told, in seconds.
    pub(crate) age: u64,
}

/// How the cluster of a launch is reached.
pub(super) enum Way {
    Push(GatewaySettings),
    Fetch(ClusterName),
    /// It is not configured.
    Nowhere,
}

/// Why the cluster of a launch is not known.
#[derive(Debug, Error)]
pub(super) enum Lost {
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How the cluster of a launch is reached.
pub(super) fn way<P: Store + Clock + Variables>(platform: &P, launch: LaunchId) -> Result<Way, Lost> {
    let settings = Settings(platform);
    let definitions = settings.cluster_definitions()?;
    let Some(requested) = Ledger(platform).job(launch.job).requested()? else { return Ok(Way::Nowhere) };
    let clusters = definitions.without_gateways();
    let cluster = clusters.of_launch(platform, launch, &requested)?;
    Ok(match cluster.and_then(|cluster| definitions.get(cluster.name.as_str())) {
        Some(definition) if definition.reach == How::Fetch => Way::Fetch(definition.name.clone()),
        Some(definition) => Way::Push(settings.gateway(definition.gateway())?),
        None => Way::Nowhere,
    })
}

/// What Slurm says about a launch's Slurm job, if anybody can be asked or told it.
pub(crate) fn said_of<P: Platform>(platform: &P, launch: &LaunchDetail) -> Result<Option<Said>, String> {
    match way(platform, launch.launch).map_err(|error| error.to_string())? {
        Way::Push(gateway) => {
            let asked = slurm_job(platform, &gateway, launch.launch, DEADLINE).map_err(|error| error.to_string())?;
            Ok(asked.map(|slurm_job| Said { slurm_job, age: 0 }))
        }
        Way::Fetch(_) => {
            let now = platform.unix_seconds();
            Ok(launch.slurm_said.as_ref().map(|said| told(said, launch.slurm_job.clone(), now)))
        }
        Way::Nowhere => Ok(None),
    }
}

fn told(said: &SlurmSaid, job_id: Option<String>, now: u64) -> Said {
    let slurm_job = SlurmJob {
        job_id,
        state: said.state.clone(),
        reason: said.reason.clone(),
        starts_in: said.starts_at.map(|at| at.saturating_sub(now)),
        position: said.position,
    };
    Said { slurm_job, age: now.saturating_sub(said.at) }
}
