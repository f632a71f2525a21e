//! The domain of gha-slurm, as far as two or more components need it: settings, profiles, launch tokens, the ledger of
//! facts, the life of a job and its launches, and the clients of GitHub and the gateway.
//!
//! Nothing here does I/O: it is plain synchronous code over the small traits of [`ports`]. A Spin component lends it a
//! store, an HTTP client, a clock and a random source; a test lends it memory. Synchronous, because a component serves
//! one request per instance and every step waits for the one before it.
//!
//! What must never happen here: a panic on input, a secret in an error or in `Debug`, a decision that rests on
//! read-change-write of the store.

#![forbid(unsafe_code)]

pub mod audit;
pub mod cluster;
pub mod counters;
pub mod gateway;
pub mod github;
pub mod identity;
pub mod launch_keys;
pub mod launch_token;
pub mod ledger;
pub mod lifecycle;
pub mod policy;
pub mod ports;
pub mod profile;
pub mod sealing;
pub mod settings;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
