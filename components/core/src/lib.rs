//! The domain of gha-slurm: what a webhook means, when a runner is launched, and who gets a credential.
//!
//! Nothing here does I/O. The two flows ([`flows::receive`] and [`flows::redeem`]) are plain synchronous functions over
//! the small traits of [`ports`]; a Spin component lends them its store, HTTP client, clock and random source, a test
//! lends them memory. Synchronous, because a component serves one request per instance and every step waits for the one
//! before it.
//!
//! What must never happen here: a panic on input, a secret in an error or in `Debug`, a decision that rests on
//! read-change-write of the store (see [`ledger`]).

#![forbid(unsafe_code)]

pub mod answer;
pub mod flows;
pub mod gateway;
pub mod github;
pub mod identity;
pub mod labels;
pub mod launch;
pub mod ledger;
pub mod ports;
pub mod profile;
pub mod resources;
pub mod secret;
pub mod settings;
#[cfg(test)]
mod testing;
