//! The subcommands, one module each.

mod application;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod gateway;
mod limits;
mod native;
pub(crate) mod order;
mod progress;
mod random;
pub(crate) mod shell;
pub(crate) mod up;
