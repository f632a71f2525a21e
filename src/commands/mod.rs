//! The subcommands, one module each.

pub(crate) mod demo;
pub(crate) mod gateway;
pub(crate) mod up;
