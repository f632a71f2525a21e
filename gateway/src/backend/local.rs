//! No Slurm at all: the job script runs as a child of the gateway, as the gateway's own user. For the demo and for
//! development; what still runs when the gateway ends is told to end as well.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, geteuid};
use tokio::process::Command;

use super::user::Account;
use super::{BackendError, JobSpec, OwnJob, SlurmJobId, State};

/// This machine as a cluster of one node without limits.
pub struct Local {
    folder: PathBuf,
    jobs: Arc<Mutex<BTreeMap<SlurmJobId, Job>>>,
}

struct Job {
    name: String,
    process: Option<Pid>,
    state: &'static str,
}

fn lock(jobs: &Mutex<BTreeMap<SlurmJobId, Job>>) -> MutexGuard<'_, BTreeMap<SlurmJobId, Job>> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Local {
    /// Jobs write their output to `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, jobs: Arc::default() }
    }

    fn start(&self, job: &JobSpec) -> Result<SlurmJobId, BackendError> {
        let outage = |error: std::io::Error| BackendError::Outage(format!("cannot start the job script: {error}"));
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(outage)?;
        let mut jobs = lock(&self.jobs);
        let id = jobs.last_key_value().map_or(1, |(last, _)| last + 1);
        let output = File::create(self.folder.join(format!("{id}.out"))).map_err(outage)?;
        // In a file, not on standard input, which commands of a template may read.
        let path = self.folder.join(format!("{id}.sh"));
        let mut script =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(outage)?;
        script.write_all(job.script.as_bytes()).map_err(outage)?;
        let mut child = Command::new("bash")
            .arg(&path)
            .env_clear()
            .envs(job.environment.iter().map(|(name, value)| (name, value.expose())))
            .env("SLURM_JOB_ID", id.to_string())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(outage)?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .map_err(outage)?;
        let process = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        jobs.insert(id, Job { name: job.name.clone(), process, state: "RUNNING" });
        drop(jobs);
        let jobs = Arc::clone(&self.jobs);
        tokio::spawn(async move {
            let ended = child.wait().await;
            let _ = std::fs::remove_file(path);
            if let Some(job) = lock(&jobs).get_mut(&id) {
                job.process = None;
                job.state = match (job.state, ended) {
                    ("CANCELLED", _) => "CANCELLED",
                    (_, Ok(status)) if status.success() => "COMPLETED",
                    _ => "FAILED",
                };
            }
        });
        Ok(id)
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        for process in lock(&self.jobs).values().filter_map(|job| job.process) {
            let _ = killpg(process, Signal::SIGTERM);
        }
    }
}

impl Local {
    pub(super) async fn submit(&self, job: &JobSpec) -> Result<SlurmJobId, BackendError> {
        self.start(job)
    }

    pub(super) async fn find(&self, _user: &str, name: &str) -> Result<Option<SlurmJobId>, BackendError> {
        Ok(lock(&self.jobs).iter().rev().find(|(_, job)| job.name == name).map(|(id, _)| *id))
    }

    pub(super) async fn state(&self, asked: OwnJob<'_>) -> Result<Option<State>, BackendError> {
        let jobs = lock(&self.jobs);
        Ok(jobs.get(&asked.id).filter(|job| job.name == asked.name).map(|job| State::new(job.state, None)))
    }

    pub(super) async fn cancel(&self, asked: OwnJob<'_>) -> Result<(), BackendError> {
        if let Some(job) = lock(&self.jobs).get_mut(&asked.id).filter(|job| job.name == asked.name)
            && let Some(process) = job.process
        {
            job.state = "CANCELLED";
            // The script ends its runner by itself; a group that is gone already is what was wanted.
            let _ = killpg(process, Signal::SIGTERM);
        }
        Ok(())
    }

    pub(super) async fn probe(&self, _user: &str) -> Result<String, BackendError> {
        Ok("no Slurm: runners run on this machine".to_owned())
    }

    /// The gateway's own user, with a home of its own.
    pub(super) fn account(&self) -> Account {
        Account { uid: geteuid().as_raw(), home: self.folder.to_string_lossy().into_owned() }
    }
}
