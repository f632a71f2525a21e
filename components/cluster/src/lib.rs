//! The component `cluster`: `POST /clusters/{name}/exchange`, where the gateway of a cluster that nothing may reach from
//! outside fetches its launches and tells what became of them.
//!
//! It has no gateway's secret and no key of GitHub's, and reaches nobody. Each cluster proves itself by a secret of which
//! the configuration holds the digest, and is told of its own launches and of no others.

#[cfg(all(target_family = "wasm", feature = "entry"))]
mod entry;
pub mod exchange;
#[cfg(test)]
mod tests;
