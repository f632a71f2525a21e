//! What cannot be here, as strict fakes over real HTTP on loopback: GitHub itself, and a gateway with a Slurm behind it.
//!
//! The fakes check what the real ones check and fail as they fail: a client that is wrong here would be wrong there.
//! They hold no opinion about gha-slurm; only the demo, tests and benches use them.

// A fake that meets a broken lock or a missing id has a bug of its own; it may end there.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod clock;
pub mod event;
pub mod gateway;
pub mod github;
mod hold;
mod random;
pub mod runner;
mod server;
pub mod wire;

pub use self::server::Place;
