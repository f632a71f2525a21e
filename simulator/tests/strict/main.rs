//! The fake GitHub refuses what GitHub refuses: were it lenient, a client that is wrong would pass every test. What the
//! real one does on a bad day can be switched on, and is told apart by what a caller sees.

// clippy.toml lets tests panic; what they share is part of them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod client;
mod conditional;
mod credentials;
mod deliveries;
mod gateway;
mod groups;
mod hooks;
mod jobs;
mod limits;
mod program;
mod recorded;
mod repositories;
mod runners;
mod runs;
mod statuses;
