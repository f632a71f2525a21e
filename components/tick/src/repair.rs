//! The walk through the journal: for each job what is still to be done.

use std::borrow::Cow;

use gha_slurm_core::github::client::{GitHubError, JobInfo, JobStatus};
use gha_slurm_core::github::credentials::Credentials;
use gha_slurm_core::ledger::RETENTION_SECONDS;
use gha_slurm_core::ledger::{Bucket, Entry, Ledger, LostReason, Requested, Standing, View, keys, read, write};
use gha_slurm_core::lifecycle::{
    Fault, Need, Patience, Progress, advance, advance_all, cancel_moved, move_on, ours, settle, withdraw_unneeded,
};
use gha_slurm_core::ports::Platform;
use gha_slurm_core::settings::Settings;
use gha_slurm_protocol::identity::JobId;
use gha_slurm_protocol::labels::LabelSet;
use serde::{Deserialize, Serialize};

use crate::ends::MOST_AT_ONCE;
use crate::run::Tick;

/// A runner that registered gets a waiting job within seconds; GitHub itself gives up on slow ones.
const IDLE_SECONDS: u64 = 5 * 60;
/// A runner that ended may have run another job, whose webhooks are late by seconds.
const LATE_SECONDS: u64 = 60;
/// How often GitHub is asked about a job that Slurm holds: its *completed* may have been lost.
const PENDING_SECONDS: u64 = 30 * 60;
/// How often GitHub is asked about a job that runs.
const RUNNING_SECONDS: u64 = 6 * 60 * 60;
/// How often GitHub is asked whether an old job is still queued.
const CONFIRM_SECONDS: u64 = 60;

/// So long after its job was over a launch is still cancelled. Its Slurm job gets no credential in any case.
const CANCEL_SECONDS: u64 = 60 * 60;

/// Where the walk stopped.
#[derive(Serialize, Deserialize)]
struct Cursor {
    bucket: Bucket,
    slot: i64,
}

impl<P: Platform> Tick<'_, P> {
    pub(crate) fn repair_all(&mut self) -> Result<(), Fault> {
        let now = self.platform.unix_seconds();
        let place_key = keys::tick_place();
        let (oldest, newest) = (Bucket::at(now.saturating_sub(RETENTION_SECONDS)), Bucket::at(now));
        let mut place = read::<Cursor>(self.platform, &place_key).unwrap_or_default();
        let begin = place.as_ref().map_or(oldest, |place| place.bucket.max(oldest));
        let buckets: Vec<Bucket> = (begin.0..=newest.0).map(Bucket).collect();
        for (bucket, hint, slots) in Ledger(self.platform).journal().open(&buckets)? {
            let from = place.take().filter(|place| place.bucket == bucket).map_or(0, |place| place.slot);
            let stopped = self.repair_bucket(bucket, from, hint, slots)?;
            // What was collected is done before the next walk begins behind it.
            if let Some(slot) = stopped {
                self.flush()?;
                write(self.platform, &place_key, &Cursor { bucket, slot })?;
                return Ok(());
            }
        }
        self.flush()?;
        if begin != oldest || self.platform.get(&place_key)?.is_some() {
            self.platform.delete(&place_key)?;
        }
        Ok(())
    }

    /// Returns the slot where time ran out.
    fn repair_bucket(&mut self, bucket: Bucket, from: i64, hint: i64, slots: i64) -> Result<Option<i64>, Fault> {
        let platform = self.platform;
        let journal = Ledger(platform).journal();
        let (mut settled, mut unbroken) = (hint, from <= hint);
        for slot in from.max(hint) + 1..=slots {
            if self.late() {
                return Ok(Some(slot - 1));
            }
            let done = match journal.entry(bucket, slot) {
                Ok(Some(Entry::Job(job))) => match self.repair(job) {
                    Ok(done) => done,
                    Err(error) => {
                        self.report.problem(format!("job {job}: {error}"));
                        false
                    }
                },
                Ok(Some(Entry::Delivery(_))) => true,
                // Its writer is about to fill it, or died.
                Ok(None) => bucket.end() < platform.unix_seconds(),
                Err(error) => {
                    self.report.problem(error);
                    true
                }
            };
            unbroken &= done;
            if unbroken {
                settled = slot;
            }
            if self.submissions.len() >= MOST_AT_ONCE || self.questions.len() >= MOST_AT_ONCE {
                self.flush()?;
            }
        }
        let whole = settled == slots && bucket.end() + 60 < platform.unix_seconds();
        if (settled > hint || whole) && slots > 0 {
            journal.record_settled(bucket, settled, whole)?;
        }
        Ok(None)
    }

    /// Submits and asks what was collected.
    fn flush(&mut self) -> Result<(), Fault> {
        self.ask_for_ends()?;
        let wanted = std::mem::take(&mut self.submissions);
        let results = advance_all(self.platform, &self.destination, &wanted, Patience::Due, &mut self.pace);
        for ((job, _), result) in wanted.iter().zip(results) {
            match result {
                Ok(Progress::Launched(_)) => self.report.launched += 1,
                Ok(_) => {}
                Err(error) => self.report.problem(format!("job {job}: {error}")),
            }
        }
        Ok(())
    }

    /// Does what is to be done for a job and its runners. Returns whether nothing ever will be again.
    pub(crate) fn repair(&mut self, job: JobId) -> Result<bool, Fault> {
        self.report.jobs += 1;
        let ledger = Ledger(self.platform);
        let view = ledger.job(job).view()?;
        let requested = view.requested.clone();
        let done = self.repair_job(job, view.clone())?;
        // A job that was never requested has no launch.
        let Some(requested) = requested else { return Ok(done) };
        let launches = ledger.standings(job)?;
        self.cancel_moved(&requested, &launches)?;
        let done = self.cancel_withdrawn(&view, &launches)? && done;
        let view = ledger.job(job).view()?;
        let all_ended = self.see_ends(&view, &requested, &launches);
        let all_told = self.tell_author(job, &view, &requested, &launches)?;
        Ok(self.remove_runners(&launches, &requested)? && all_ended && all_told && done)
    }

    /// Has gateways cancel what was withdrawn, should whoever withdrew it have died before that, or the gateway have been
    /// away. Returns whether nothing is left to be tried.
    fn cancel_withdrawn(&self, view: &View, launches: &[Standing]) -> Result<bool, Fault> {
        let now = self.platform.unix_seconds();
        let mut all = true;
        for launch in launches.iter().filter(|launch| launch.withdrawn && launch.launched.is_some()) {
            if launch.redeemed.is_some() || launch.took.is_some() || launch.ended.is_some() {
                continue;
            }
            withdraw_unneeded(self.platform, &self.destination, launch.id)?;
            all &= Ledger(self.platform).launch(launch.id).cancelled()?;
        }
        Ok(all || view.over_since(now).is_some_and(|over| over.saturating_add(CANCEL_SECONDS) <= now))
    }

    /// Has clusters that were silent cancel what they may have made of launches that were moved to others.
    fn cancel_moved(&mut self, requested: &Requested, launches: &[Standing]) -> Result<(), Fault> {
        if requested.clusters.len() < 2 {
            return Ok(());
        }
        for launch in launches.iter().filter(|launch| launch.lost) {
            let lost = Ledger(self.platform).launch(launch.id).lost()?;
            if lost.is_some_and(|lost| lost.reason == LostReason::Moved) {
                cancel_moved(self.platform, &self.destination, launch.id)?;
            }
        }
        Ok(())
    }

    fn repair_job(&mut self, job: JobId, mut view: View) -> Result<bool, Fault> {
        let platform = self.platform;
        let now = platform.unix_seconds();
        if view.finished.is_none()
            && let Some(started) = &view.started
            && let Some(requested) = &view.requested
            && self.silent_since(job, started.at, RUNNING_SECONDS)?
            && let Some(state) = self.ask(job, requested)?
            && state.status != JobStatus::Queued
        {
            view = self.close(job, &view, &state)?;
        }
        if view.started.is_some() || view.finished.is_some() {
            settle(platform, &self.destination, job, &view)?;
            return Ok(view.finished.is_some() || view.requested.is_none());
        }
        let Some(requested) = view.requested.clone() else { return Ok(true) };
        if view.denied.is_some() || view.expired(now) && !view.is_held() {
            if let Some(holder) = Need(platform).holder(job)? {
                withdraw_unneeded(platform, &self.destination, holder)?;
            }
            return Ok(view.expired(now));
        }
        if view.is_held() {
            return self.held(job, &view, &requested);
        }
        if requested.needs_confirmation() && !Ledger(platform).job(job).confirmed()? {
            return self.confirm(job, &view, &requested);
        }
        match Need(platform).own_launch(job)? {
            Some(own) if Ledger(platform).launch(own).launched()?.is_some() => {
                return self.check_launched(job, &view, &requested);
            }
            Some(_) => {
                if move_on(platform, &self.destination, job, &requested, &mut self.pace)? {
                    self.report.moved += 1;
                }
                self.submissions.push((job, requested));
            }
            None => {}
        }
        Ok(false)
    }

    /// A job that waits though its launch was submitted.
    fn check_launched(&mut self, job: JobId, view: &View, requested: &Requested) -> Result<bool, Fault> {
        let platform = self.platform;
        let need = Need(platform);
        if !need.served(job)? {
            // Its runner took another job, or its launch was withdrawn before that was known; and no launch is its by swaps.
            self.relaunch(job, requested, LostReason::Unserved)?;
            return Ok(false);
        }
        let Some(holder) = need.holder(job)? else { return Ok(false) };
        let facts = Ledger(platform).launch(holder);
        if facts.redeemed()?.is_none() && facts.committed()? {
            facts.record_redeemed(None)?;
        }
        let Some(launched) = facts.launched()? else { return Ok(false) };
        let ended = facts.ended()?;
        let asked = Ledger(platform).job(job).asked()?;
        let (since, patience) = match (&ended, facts.redeemed()?) {
            // Once soon, and then now and then, since GitHub may hold the job back.
            (Some(ended), redeemed) if asked.is_none_or(|asked| asked <= ended.at) => match redeemed {
                Some(_) => (ended.at, LATE_SECONDS),
                None => (0, 0),
            },
            (Some(ended), _) => (ended.at, IDLE_SECONDS),
            (None, Some(redeemed)) => (redeemed, IDLE_SECONDS),
            (None, None) => (launched.at, PENDING_SECONDS),
        };
        if !self.silent_since(job, since, patience)? {
            return Ok(false);
        }
        // Where GitHub cannot be asked, everything stays as it is: the launch may well be on its way.
        let Some(state) = self.ask(job, requested)? else { return Ok(false) };
        match state.status {
            JobStatus::InProgress | JobStatus::Completed => {
                return self.close_and_settle(job, view, &state);
            }
            JobStatus::Queued => {
                let reason = match (facts.redeemed()?, ended) {
                    (Some(_), _) => LostReason::Idle,
                    (None, Some(ended)) => LostReason::SlurmJobEnded(ended.how.to_string()),
                    (None, None) => return Ok(false),
                };
                let renamed = self.renamed(requested, &state)?;
                self.relaunch(job, &renamed, reason)?;
            }
            JobStatus::Held(_) => {}
        }
        Ok(false)
    }

    /// What is relaunched, under the name that its repository has at GitHub now: the job script starts no runner of a
    /// repository that is called otherwise than its launch's.
    fn renamed<'r>(&self, requested: &'r Requested, state: &JobInfo) -> Result<Cow<'r, Requested>, Fault> {
        Ok(match state.repository() {
            Some((repository, html_url))
                if repository != requested.repository && Settings(self.platform).is_github_page(&html_url)? =>
            {
                Cow::Owned(Requested { repository, html_url, ..requested.clone() })
            }
            _ => Cow::Borrowed(requested),
        })
    }

    fn relaunch(&mut self, job: JobId, requested: &Requested, reason: LostReason) -> Result<(), Fault> {
        let Some(own) = Need(self.platform).own_launch(job)? else { return Ok(()) };
        Ledger(self.platform).launch(own).record_lost(reason)?;
        if let Progress::Launched(_) = advance(self.platform, &self.destination, job, requested, Patience::Due)? {
            self.report.relaunched += 1;
        }
        Ok(())
    }

    /// An old payload launches nothing before GitHub says that the job is still queued.
    fn confirm(&mut self, job: JobId, view: &View, requested: &Requested) -> Result<bool, Fault> {
        if !self.silent_since(job, 0, CONFIRM_SECONDS)? {
            return Ok(false);
        }
        let Some(state) = self.ask(job, requested)? else { return Ok(false) };
        match state.status {
            JobStatus::Queued => {
                Ledger(self.platform).job(job).record_confirmed()?;
                if let Progress::Launched(_) = advance(self.platform, &self.destination, job, requested, Patience::Due)?
                {
                    self.report.launched += 1;
                }
                Ok(false)
            }
            JobStatus::InProgress | JobStatus::Completed => self.close_and_settle(job, view, &state),
            JobStatus::Held(_) => Ok(false),
        }
    }

    /// Whether nothing was heard for `patience` seconds, from GitHub's answer to an earlier question either.
    pub(crate) fn silent_since(&self, job: JobId, since: u64, patience: u64) -> Result<bool, Fault> {
        let heard = Ledger(self.platform).job(job).asked()?.unwrap_or(0).max(since);
        Ok(heard.saturating_add(patience) <= self.platform.unix_seconds())
    }

    /// What GitHub says of a job; `None` when it cannot be asked. A job that never existed, or is no longer to be seen,
    /// counts as completed.
    pub(crate) fn ask(&mut self, job: JobId, requested: &Requested) -> Result<Option<JobInfo>, Fault> {
        if self.late() {
            return Ok(None);
        }
        Ledger(self.platform).job(job).record_asked()?;
        self.report.asked += 1;
        match Credentials::new(self.platform, &self.github).job(requested.into(), job) {
            Ok(state) => Ok(Some(state)),
            Err(GitHubError::NotFound(_)) => {
                let conclusion = Some("unknown to GitHub".to_owned());
                Ok(Some(JobInfo {
                    run_id: None,
                    id: job,
                    name: String::new(),
                    status: JobStatus::Completed,
                    conclusion,
                    runner_name: None,
                    labels: LabelSet::default(),
                    html_url: None,
                }))
            }
            Err(error) => {
                self.report.problem(error);
                Ok(None)
            }
        }
    }

    /// Does what follows from a job that runs or is over by GitHub's word. Returns whether it is over.
    pub(crate) fn close_and_settle(&mut self, job: JobId, view: &View, state: &JobInfo) -> Result<bool, Fault> {
        let view = self.close(job, view, state)?;
        settle(self.platform, &self.destination, job, &view)?;
        Ok(view.finished.is_some())
    }

    /// Records what GitHub says in place of the webhooks that did not come.
    pub(crate) fn close(&mut self, job: JobId, view: &View, state: &JobInfo) -> Result<View, Fault> {
        let facts = Ledger(self.platform).job(job);
        let runner = state.runner_name.clone().filter(|name| !name.is_empty());
        if view.started.is_none()
            && (state.status == JobStatus::InProgress || runner.is_some())
            && let Some(requested) = &view.requested
        {
            let named = (requested.repository_id, &requested.repository);
            let launch = ours(self.platform, runner.as_deref(), named)?;
            facts.record_started(runner, launch, None, true)?;
        }
        if state.status == JobStatus::Completed {
            facts.record_finished(state.conclusion.clone(), None, true)?;
        }
        self.report.closed += 1;
        Ok(facts.view()?)
    }
}
