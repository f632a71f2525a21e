//! What is known of a delivery that failed: under the id of an attempt whether it was repeated, under the guid of all
//! attempts how often.

use super::{Attempts, Entry, Ledger, keys, read, write};
use crate::ports::{Clock, Store, StoreError};

/// Facts of one delivery, or of one attempt to deliver it.
#[derive(Debug)]
pub struct DeliveryFacts<'a, P> {
    store: &'a P,
    name: String,
}

impl<'a, P: Store + Clock> DeliveryFacts<'a, P> {
    pub(super) fn new(store: &'a P, name: &str) -> Self {
        Self { store, name: name.to_owned() }
    }

    /// Puts it into the journal, so that it is deleted in the end.
    pub fn remember(&self) -> Result<(), StoreError> {
        Ledger(self.store).journal().append(Entry::Delivery(self.name.clone()), Vec::new())
    }

    /// Attempts to have it repeated.
    pub fn repetitions(&self) -> Attempts<'a, P> {
        Attempts::new(self.store, keys::delivery_attempts(&self.name))
    }

    /// Records that it was repeated, or never will be.
    pub fn record_repeated(&self) -> Result<(), StoreError> {
        write(self.store, &keys::delivery_repeated(&self.name), &self.store.unix_seconds())
    }

    /// Whether it was repeated.
    pub fn repeated(&self) -> Result<bool, StoreError> {
        Ok(read::<u64>(self.store, &keys::delivery_repeated(&self.name))?.is_some())
    }

    /// Counts one repetition more; the count with it.
    pub fn count(&self) -> Result<i64, StoreError> {
        let count = self.store.increment(&keys::delivery_count(&self.name), 1)?;
        if count == 1 {
            self.remember()?;
        }
        Ok(count)
    }

    /// Counts so many repetitions more, of one that was counted before.
    pub fn count_again(&self, more: i64) -> Result<i64, StoreError> {
        self.store.increment(&keys::delivery_count(&self.name), more)
    }

    /// Every key that was ever written for it.
    pub fn keys(&self) -> Result<Vec<String>, StoreError> {
        let mut all = self.repetitions().keys()?;
        all.extend([keys::delivery_repeated(&self.name), keys::delivery_count(&self.name)]);
        Ok(all)
    }
}
