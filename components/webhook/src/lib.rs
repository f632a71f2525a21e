//! The component `webhook`: `POST /api/github/webhooks`, GitHub's deliveries.
//!
//! It holds the webhook secret and the gateway's secret and reaches the gateway alone; the App's key is not here.

#[cfg(all(target_family = "wasm", feature = "entry"))]
mod entry;
pub mod receive;
pub mod signature;
