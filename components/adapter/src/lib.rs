//! Where gha-slurm meets Spin: the traits of `gha_slurm_core::ports` on spin-sdk, and the way of a request through a
//! component. It decides nothing; all that a component says comes from core.
//!
//! Synchronous, on the raw `wasi:http` interfaces: spin-sdk's own client sets no time-outs, and Spin's default is ten
//! minutes.

// Spin's interfaces exist in Wasm alone.
#![cfg(target_family = "wasm")]

mod inbound;
mod outbound;

pub use self::inbound::serve;

use std::cell::OnceCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gha_slurm_core::ports::{Audit, Clock, Random, Store, StoreError, VariableError, Variables};
use spin_sdk::variables;
use spin_sdk::wit::wasi::keyvalue::{atomics, batch, store};

/// What Spin lends a component, for one request.
#[derive(Default)]
pub struct Spin {
    bucket: OnceCell<store::Bucket>,
}

impl Spin {
    /// The component's `default` store, opened when it is first needed.
    fn bucket(&self) -> Result<&store::Bucket, StoreError> {
        if let Some(bucket) = self.bucket.get() {
            return Ok(bucket);
        }
        let opened = store::open("default").map_err(store_error)?;
        Ok(self.bucket.get_or_init(|| opened))
    }
}

/// Bounds what one batch holds in memory on both sides.
const MOST_AT_ONCE: usize = 1000;

fn store_error(error: store::Error) -> StoreError {
    StoreError(match error {
        store::Error::NoSuchStore => "there is no key-value store named default".to_owned(),
        store::Error::AccessDenied => "the component has no key_value_stores = [\"default\"]".to_owned(),
        store::Error::Other(why) => why,
    })
}

impl Store for Spin {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.bucket()?.get(key).map_err(store_error)
    }

    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut values = Vec::with_capacity(keys.len());
        for some in keys.chunks(MOST_AT_ONCE) {
            // Spin's Redis backend panics on a batch of one key.
            if let [key] = some {
                values.push(self.get(key)?);
                continue;
            }
            // It answers with something else than was asked for: then they are read one by one.
            match batch::get_many(self.bucket()?, some) {
                Ok(found) if found.iter().map(|(key, _)| key).eq(some) => {
                    values.extend(found.into_iter().map(|(_, value)| value));
                }
                _ => {
                    for key in some {
                        values.push(self.get(key)?);
                    }
                }
            }
        }
        Ok(values)
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.bucket()?.set(key, value).map_err(store_error)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.bucket()?.delete(key).map_err(store_error)
    }

    fn set_many(&self, values: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
        match values {
            // One is as good alone, and every backend has that.
            [(key, value)] => self.set(key, value),
            _ => batch::set_many(self.bucket()?, values).map_err(store_error),
        }
    }

    fn delete_many(&self, keys: &[String]) -> Result<(), StoreError> {
        batch::delete_many(self.bucket()?, keys).map_err(store_error)
    }

    fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        atomics::increment(self.bucket()?, key, delta).map_err(store_error)
    }
}

impl Variables for Spin {
    fn variable(&self, name: &str) -> Result<Option<String>, VariableError> {
        match variables::get(name) {
            Ok(value) => Ok(Some(value)),
            Err(variables::Error::Undefined(_)) => Ok(None),
            Err(variables::Error::InvalidName(_)) => Err(VariableError("its name is not valid".to_owned())),
            Err(variables::Error::Provider(_) | variables::Error::Other(_)) => {
                Err(VariableError("the variable provider failed".to_owned()))
            }
        }
    }
}

impl Clock for Spin {
    fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

impl Random for Spin {
    fn fill(&self, buffer: &mut [u8]) {
        if getrandom::getrandom(buffer).is_err() {
            // WASI's random source does not fail; without one there is no key to be made.
            std::process::abort();
        }
    }
}

impl Audit for Spin {
    fn audit(&self, line: &str) {
        println!("{line}");
    }
}
