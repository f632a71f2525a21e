//! The memory that requests' bodies may take together.
//!
//! A body counts as it comes, not as it is announced. When the budget is used up, the longest body that is still being
//! received gives way to a shorter one: who sends 25 MB to fill the memory is sent away before the first webhook is. Bodies
//! that are whole keep their memory until their instance has ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// How long a body waits for memory that is about to be free.
const PATIENCE: Duration = Duration::from_secs(2);

/// The budget of one host.
pub(super) struct Budget {
    bytes: usize,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Default)]
struct State {
    used: usize,
    next: u64,
    holders: HashMap<u64, Holder>,
}

struct Holder {
    bytes: usize,
    /// Whole: it is served now.
    settled: bool,
    /// Told to give way.
    leaving: bool,
    leave: Arc<Notify>,
}

/// There is no memory for this body now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl Budget {
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes, state: Mutex::default(), freed: Notify::new() })
    }

    /// A share of nothing so far.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        let leave = Arc::new(Notify::new());
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        let holder = Holder { bytes: 0, settled: false, leaving: false, leave: Arc::clone(&leave) };
        state.holders.insert(id, holder);
        Share { budget: Arc::clone(self), id, leave }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `id` has so many bytes more now; else whether to wait for it.
    fn try_grow(&self, id: u64, more: usize) -> Result<bool, Exhausted> {
        let mut state = self.state();
        let State { used, holders, .. } = &mut *state;
        let free = self.bytes.saturating_sub(*used);
        let own = holders.get_mut(&id).ok_or(Exhausted)?;
        if more <= free {
            own.bytes += more;
            *used += more;
            return Ok(true);
        }
        let wanted = own.bytes + more;
        let mut soon = free;
        let mut longest: Option<&mut Holder> = None;
        for (_, other) in holders.iter_mut().filter(|(other, _)| **other != id) {
            if other.settled || other.leaving {
                soon += other.bytes;
            } else if other.bytes > longest.as_ref().map_or(wanted, |longest| longest.bytes) {
                longest = Some(other);
            }
        }
        if more <= soon {
            return Ok(false);
        }
        let Some(longest) = longest else { return Err(Exhausted) };
        longest.leaving = true;
        longest.leave.notify_one();
        Ok(false)
    }
}

/// What one body has of the budget; given back when it is dropped.
pub(super) struct Share {
    budget: Arc<Budget>,
    id: u64,
    leave: Arc<Notify>,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        if let Some(holder) = state.holders.remove(&self.id) {
            state.used -= holder.bytes;
        }
        drop(state);
        self.budget.freed.notify_waiters();
    }
}

impl Share {
    /// Takes so many bytes more, as soon as they are free; [`Exhausted`] when that is not soon, or when this is the body
    /// that has to give way.
    pub(super) async fn grow(&self, more: usize) -> Result<(), Exhausted> {
        let growing = async {
            loop {
                let freed = self.budget.freed.notified();
                tokio::pin!(freed);
                // What is freed from here on wakes it.
                freed.as_mut().enable();
                if self.budget.try_grow(self.id, more)? {
                    return Ok(());
                }
                tokio::select! {
                    () = freed => {}
                    () = self.leave.notified() => return Err(Exhausted),
                }
            }
        };
        tokio::time::timeout(PATIENCE, growing).await.unwrap_or(Err(Exhausted))
    }

    /// Ends when this body has to give way.
    pub(super) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }

    /// The body is whole: it keeps what it has.
    pub(super) fn settle(&self) {
        if let Some(holder) = self.budget.state().holders.get_mut(&self.id) {
            holder.settled = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn with(budget: &Arc<Budget>, bytes: usize) -> Share {
        let share = budget.share();
        share.grow(bytes).await.unwrap();
        share
    }

    #[tokio::test]
    async fn a_shorter_body_takes_the_place_of_the_longest() {
        let budget = Budget::new(100);
        let (long, longer) = (with(&budget, 40).await, with(&budget, 60).await);
        let short = budget.share();
        let leaving = tokio::spawn(async move {
            longer.told_to_leave().await;
            drop(longer);
        });
        short.grow(10).await.unwrap();
        leaving.await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(20), long.told_to_leave()).await.is_err());
        assert_eq!(budget.state().used, 50);
        drop((short, long));
        assert_eq!(budget.state().used, 0);
    }

    #[tokio::test]
    async fn the_longest_body_itself_gets_no_more() {
        let budget = Budget::new(100);
        let (long, _short) = (with(&budget, 60).await, with(&budget, 40).await);
        assert_eq!(long.grow(1).await, Err(Exhausted));
        assert_eq!(budget.share().grow(101).await, Err(Exhausted));
    }

    #[tokio::test]
    async fn a_whole_body_is_waited_for() {
        let budget = Budget::new(100);
        let whole = with(&budget, 100).await;
        whole.settle();
        let later = tokio::spawn(async move {
            tokio::time::sleep(PATIENCE / 20).await;
            drop(whole);
        });
        budget.share().grow(1).await.unwrap();
        later.await.unwrap();
    }
}
