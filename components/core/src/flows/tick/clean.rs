//! Deleting what is past the retention, bucket by bucket.

use super::deliveries::claim_key;
use super::{RETENTION_SECONDS, Tick};
use crate::ledger::{Bucket, Entry, Ledger, PREFIX, read, write};
use crate::lifecycle::Fault;
use crate::ports::Platform;

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
            for slot in 1..=journal.slots(bucket)? {
                if self.late() {
                    return Ok(());
                }
                match journal.entry(bucket, slot) {
                    Ok(Some(Entry::Job(job))) => platform.delete_many(&Ledger(platform).job(job).keys()?)?,
                    Ok(Some(Entry::Delivery(name))) => platform.delete(&claim_key(&name))?,
                    Ok(None) => {}
                    Err(error) => self.report.problem(error),
                }
                journal.delete_slot(bucket, slot)?;
                self.report.deleted += 1;
            }
            journal.delete_bucket(bucket)?;
        }
        if begin <= last {
            write(platform, &done_key, &Bucket(last))?;
        }
        Ok(())
    }
}
