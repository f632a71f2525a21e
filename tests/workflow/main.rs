//! The application as shipped: the built `.wasm` files in the host's own process, a strict GitHub and a gateway in
//! others, real HTTP between them.

// clippy.toml lets tests panic; what they share is part of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod configuration;
mod console;
mod crash;
mod doctor;
mod dump;
mod fetching;
mod gateway_faults;
mod github_faults;
mod happy;
mod host;
mod limits;
mod log;
mod organizations;
mod pages;
mod policy;
mod races;
mod real_gateway;
mod redeem_bad_input;
mod repair;
mod setup;
mod start;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
mod swap;
mod tls;
mod wasm;
mod webhook_bad_input;
