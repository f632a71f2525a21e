//! The subcommands, one module each.

pub(crate) mod demo;
mod limits;
pub(crate) mod up;
