//! The component `tick`: `POST /internal/tick`, the periodic repair, and `POST /internal/deliveries`, its part that reads
//! webhooks where none are received.
//!
//! It holds what the others hold apart, the gateway's secret and the App's key, because repairing takes both. It takes
//! orders from the holder of the admin token and from nobody else.

mod clean;
mod deliveries;
mod ends;
#[cfg(all(target_family = "wasm", feature = "entry"))]
mod entry;
mod held;
#[cfg(test)]
mod organization;
mod remove;
mod repair;
pub mod run;
mod status;
#[cfg(test)]
mod tests;
