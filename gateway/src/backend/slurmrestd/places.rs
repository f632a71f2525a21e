//! Who may speak to slurmrestd at the same time.
//!
//! slurmrestd serves few connections and shuts everybody out when they are taken. So the gateway has a small share, and
//! what has to wait for too long, or behind too many, is told so: the app asks again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::backend::BackendError;

/// The longest that a request waits for its turn.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// The most that wait at a time. At some 270 submissions a second they are served long before [`LONGEST_WAIT`].
const MOST_WAITING: usize = 512;

pub(super) struct Places {
    free: Semaphore,
    all: usize,
    waiting: AtomicUsize,
    longest_wait: Duration,
}

impl Places {
    pub(super) fn new(all: usize) -> Self {
        Self { free: Semaphore::new(all), all, waiting: AtomicUsize::new(0), longest_wait: LONGEST_WAIT }
    }

    /// A place, until it is dropped.
    pub(super) async fn take(&self) -> Result<SemaphorePermit<'_>, BackendError> {
        if let Ok(place) = self.free.try_acquire() {
            return Ok(place);
        }
        let waiting = Waiting::join(&self.waiting);
        if waiting.before >= MOST_WAITING {
            return Err(BackendError::Later(format!("{} requests wait for slurmrestd already", waiting.before)));
        }
        match tokio::time::timeout(self.longest_wait, self.free.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(BackendError::Later(format!(
                "slurmrestd is slow: none of {} connections was free within {} s",
                self.all,
                self.longest_wait.as_secs()
            ))),
        }
    }
}

/// One who waits, until it is dropped.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    before: usize,
}

impl<'a> Waiting<'a> {
    fn join(count: &'a AtomicUsize) -> Self {
        Self { before: count.fetch_add(1, Ordering::Relaxed), count }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_for_too_long_or_behind_too_many_is_told() {
        let places = Places { longest_wait: Duration::from_secs(1), ..Places::new(1) };
        let place = places.take().await.unwrap();
        let late = places.take().await.map(drop);
        assert!(matches!(&late, Err(BackendError::Later(words)) if words.contains("within 1 s")), "{late:?}");
        places.waiting.store(MOST_WAITING, Ordering::Relaxed);
        let many = places.take().await.map(drop);
        assert!(matches!(&many, Err(BackendError::Later(words)) if words.contains("512 requests wait")), "{many:?}");
        places.waiting.store(0, Ordering::Relaxed);
        drop(place);
        drop(places.take().await.unwrap());
        assert_eq!(places.waiting.load(Ordering::Relaxed), 0);
    }
}
