//! The domain of gha-slurm: what a webhook means, when a runner is launched, and who gets a credential.
//!
//! Nothing here does I/O: it is plain synchronous code over the small traits of [`ports`]. A Spin component lends it a
//! store, an HTTP client, a clock and a random source; a test lends it memory. Synchronous, because a component serves
//! one request per instance and every step waits for the one before it.
//!
//! What must never happen here: a panic on input, a secret in an error or in `Debug`, a decision that rests on
//! read-change-write of the store.

#![forbid(unsafe_code)]

pub mod answer;
pub mod console;
pub mod explain;
pub mod flows;
pub mod gateway;
pub mod github;
pub mod identity;
pub mod launch_token;
pub mod ledger;
pub mod lifecycle;
pub mod metrics;
pub mod overview;
pub mod ports;
pub mod profile;
pub mod request;
#[cfg(test)]
mod scene;
pub mod session;
pub mod settings;
pub mod setup;
pub mod signature;
#[cfg(test)]
mod testing;
pub mod text;
