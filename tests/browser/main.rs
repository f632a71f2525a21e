//! The pages as people use them: a real Chromium against the application as shipped.
//!
//! Without Debian's packages `chromium` and `chromium-driver` (a `chromedriver` on the path) these tests are skipped and
//! say so; `GHA_SLURM_REQUIRE_BROWSER=1` makes that a failure.

// clippy.toml lets tests panic; what they share is part of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod browser;
mod console;
mod harness;
mod pictures;
mod setup;
#[path = "../support/mod.rs"]
mod support;
