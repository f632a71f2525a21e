//! The component `setup`: `/setup`, the set-up in the browser, while there is no GitHub App yet.
//!
//! It holds the secret of the set-up link and reaches GitHub alone; the gateway's secret and an App's key given by variables
//! are not here.

#[cfg(all(target_family = "wasm", feature = "entry"))]
mod entry;
pub mod flow;
mod manifest;
mod pages;
