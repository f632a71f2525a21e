//! The subcommands, one module each.

mod application;
pub(crate) mod demo;
pub(crate) mod gateway;
pub(crate) mod up;
