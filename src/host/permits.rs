//! Who may run an instance: so many at once in all, and some kept for each component.
//!
//! A component that strangers flood takes all that is shared, and no more: a quarter of the instances is divided among the
//! components, each part for one of them alone. So a flood of webhooks leaves redemptions their instances.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What part of all instances is kept for single components.
const KEPT: usize = 4;

/// The instances that one component may run.
pub(super) struct Permits {
    own: Arc<Semaphore>,
    shared: Arc<Semaphore>,
}

impl Permits {
    /// Divides `instances` among so many components.
    pub(super) fn divide(instances: usize, components: usize) -> Vec<Self> {
        let own = instances / KEPT / components.max(1);
        let shared = Arc::new(Semaphore::new(instances - own * components));
        let one = |_| Self { own: Arc::new(Semaphore::new(own)), shared: Arc::clone(&shared) };
        (0..components).map(one).collect()
    }

    /// One instance, if there is one now. The component's own come first, so that the shared ones stay for others.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        let take = |permits: &Arc<Semaphore>| Arc::clone(permits).try_acquire_owned().ok();
        take(&self.own).or_else(|| take(&self.shared))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flooded_component_leaves_the_others_their_part() {
        let divided = Permits::divide(128, 5);
        let [flooded, others @ ..] = &divided[..] else { panic!() };
        let taken: Vec<_> = std::iter::from_fn(|| flooded.take()).collect();
        assert_eq!(taken.len(), 104);
        let kept: Vec<_> = others.iter().map(|other| std::iter::from_fn(|| other.take()).collect::<Vec<_>>()).collect();
        assert_eq!(kept.iter().map(Vec::len).collect::<Vec<_>>(), [6; 4]);
        drop(taken);
        assert!(others[0].take().is_some());
    }

    #[test]
    fn few_instances_are_shared_by_all() {
        let divided = Permits::divide(2, 2);
        let taken: Vec<_> = std::iter::from_fn(|| divided[0].take()).collect();
        assert_eq!(taken.len(), 2);
        assert!(divided[1].take().is_none());
    }
}
