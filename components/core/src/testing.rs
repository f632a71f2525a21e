//! A platform in memory, for unit tests.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::ports::{Clock, Random, Store, StoreError};

/// A store, a clock that stands until it is moved, and randomness that never repeats.
pub(crate) struct Memory {
    values: RefCell<BTreeMap<String, Vec<u8>>>,
    counters: RefCell<BTreeMap<String, i64>>,
    pub(crate) seconds: Cell<u64>,
    drawn: Cell<u8>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            values: RefCell::default(),
            counters: RefCell::default(),
            seconds: Cell::new(1_800_000_000),
            drawn: Cell::new(0),
        }
    }
}

impl Store for Memory {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.values.borrow().get(key).cloned())
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.values.borrow_mut().insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.values.borrow_mut().remove(key);
        self.counters.borrow_mut().remove(key);
        Ok(())
    }

    fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        let mut counters = self.counters.borrow_mut();
        let counter = counters.entry(key.to_owned()).or_default();
        *counter += delta;
        Ok(*counter)
    }
}

impl Clock for Memory {
    fn now(&self) -> Duration {
        Duration::from_secs(self.seconds.get())
    }
}

impl Random for Memory {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            self.drawn.set(self.drawn.get().wrapping_add(1));
            *byte = self.drawn.get();
        }
    }
}
