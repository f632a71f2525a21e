//! The native side of gha-slurm: a minimal host that runs the application where Spin is not installed.

pub mod building;
pub mod host;
pub mod logging;
pub mod loopback;
pub mod slimming;
pub mod ticking;
