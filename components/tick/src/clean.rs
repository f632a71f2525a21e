//! Deleting what is past the retention, bucket by bucket.

use std::collections::HashMap;

use gha_slurm_core::launch_keys::forget_dead;
use gha_slurm_core::ledger::RETENTION_SECONDS;
use gha_slurm_core::ledger::{Bucket, Entry, Ledger, Requested, keys, read, write};
use gha_slurm_core::lifecycle::{Fault, remember_clusters, trim_line, trim_orders};
use gha_slurm_core::ports::Platform;
use gha_slurm_core::settings::Settings;
use gha_slurm_overview::tally::fold;
use gha_slurm_protocol::identity::JobId;

use crate::run::Tick;

/// Where to begin when nothing was ever deleted: an application that ran so long without a tick keeps what is older.
const FIRST_LOOK_BUCKETS: u64 = 90 * 24;

impl<P: Platform> Tick<'_, P> {
    pub(crate) fn clean(&mut self) -> Result<(), Fault> {
        let platform = self.platform;
        if let Err(error) = self.keep_secrets() {
            self.report.problem(error);
        }
        remember_clusters(platform, &self.destination)?;
        let journal = Ledger(platform).journal();
        let done_key = keys::tick_cleaned();
        let last = Bucket::at(platform.unix_seconds().saturating_sub(RETENTION_SECONDS)).0.saturating_sub(1);
        let begin = match read::<Bucket>(platform, &done_key)? {
            Some(done) => done.0 + 1,
            None => last.saturating_sub(FIRST_LOOK_BUCKETS),
        };
        let buckets: Vec<Bucket> = (begin..=last).map(Bucket).collect();
        let sizes = journal.sizes(&buckets)?;
        let mut lines = HashMap::new();
        for (bucket, slots) in buckets.into_iter().zip(sizes) {
            if slots > 0 {
                fold(platform, bucket)?;
            }
            for slot in 1..=slots {
                if self.late() {
                    return Ok(());
                }
                match journal.entry(bucket, slot) {
                    Ok(Some(Entry::Job(job))) => {
                        if let Some(requested) = self.forget(job)? {
                            lines.insert(requested.profile.clone(), requested);
                        }
                    }
                    Ok(Some(Entry::Delivery(name))) => {
                        platform.delete_many(&Ledger(platform).delivery(&name).keys()?)?
                    }
                    Ok(None) => {}
                    Err(error) => self.report.problem(error),
                }
                journal.delete_slot(bucket, slot)?;
                self.report.deleted += 1;
            }
            journal.delete_bucket(bucket, slots)?;
        }
        for requested in lines.values() {
            trim_line(platform, requested)?;
        }
        if begin <= last {
            trim_orders(platform, &self.destination)?;
            write(platform, &done_key, &Bucket(last))?;
        }
        Ok(())
    }

    /// Deletes keys that are dead, and seals what an earlier start without `store_key` stored in clear.
    fn keep_secrets(&self) -> Result<(), Fault> {
        forget_dead(self.platform)?;
        if let Some(seal) = Settings(self.platform).app_key_seal()? {
            Ledger(self.platform).registration().seal_private_key(&seal)?;
        }
        Ok(())
    }

    /// Deletes all of a job; its request, if it had one.
    fn forget(&self, job: JobId) -> Result<Option<Requested>, Fault> {
        let facts = Ledger(self.platform).job(job);
        // What cannot be read is deleted all the same.
        let requested = facts.view().ok().and_then(|view| view.requested);
        let mut all = facts.keys()?;
        all.extend(requested.as_ref().and_then(|requested| Some(keys::run(requested.run_id?, requested.run_attempt))));
        self.platform.delete_many(&all)?;
        Ok(requested)
    }
}
