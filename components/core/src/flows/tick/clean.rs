//! Deleting what is past the retention, bucket by bucket.

use super::{RETENTION_SECONDS, Tick};
use crate::ledger::{Bucket, Entry, Ledger, PREFIX, read, write};
use crate::lifecycle::{Fault, trim_line};
use crate::metrics::fold;
use crate::ports::Platform;
use gha_slurm_protocol::identity::JobId;

/// Where to begin when nothing was ever deleted: an application that ran so long without a tick keeps what is older.
const FIRST_LOOK_BUCKETS: u64 = 90 * 24;

impl<P: Platform> Tick<'_, P> {
    pub(super) fn clean(&mut self) -> Result<(), Fault> {
        let platform = self.platform;
        let journal = Ledger(platform).journal();
        let done_key = format!("{PREFIX}/tick/cleaned");
        let last = Bucket::at(platform.unix_seconds().saturating_sub(RETENTION_SECONDS)).0.saturating_sub(1);
        let begin = match read::<Bucket>(platform, &done_key)? {
            Some(done) => done.0 + 1,
            None => last.saturating_sub(FIRST_LOOK_BUCKETS),
        };
        for bucket in (begin..=last).map(Bucket) {
            let slots = journal.slots(bucket)?;
            if slots > 0 {
                fold(platform, bucket)?;
            }
            for slot in 1..=slots {
                if self.late() {
                    return Ok(());
                }
                match journal.entry(bucket, slot) {
                    Ok(Some(Entry::Job(job))) => self.forget(job)?,
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
        if begin <= last {
            write(platform, &done_key, &Bucket(last))?;
        }
        Ok(())
    }

    fn forget(&self, job: JobId) -> Result<(), Fault> {
        let facts = Ledger(self.platform).job(job);
        // What cannot be read is deleted all the same.
        let requested = facts.view().ok().and_then(|view| view.requested);
        self.platform.delete_many(&facts.keys()?)?;
        match requested {
            Some(requested) => trim_line(self.platform, &requested),
            None => Ok(()),
        }
    }
}
