//! The component `runner`: `POST /gha/runner`, where a Slurm job exchanges its launch token for a runner credential.
//!
//! It holds the App's key and reaches GitHub alone; the gateway's secret is not here.

mod denied;
#[cfg(all(target_family = "wasm", feature = "entry"))]
mod entry;
mod judge;
pub mod redeem;
mod refused;
