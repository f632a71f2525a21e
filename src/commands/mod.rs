//! The subcommands, one module each.

pub(crate) mod demo;
pub(crate) mod gateway;
mod limits;
pub(crate) mod up;
