//! The component `setup`: `/setup`, the setup in the browser, while there is no GitHub App yet.
//!
//! It holds the secret of the setup link and connects only to GitHub; it has neither the gateway's secret nor the key of an
//! App that variables name.

#[cfg(all(target_family = "wasm", feature = "entry"))]
mod entry;
pub mod flow;
mod manifest;
mod pages;
