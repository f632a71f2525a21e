//! What passes between the app and the gateway, and nothing else: names, amounts, the syntax of every value that reaches
//! Slurm, the messages, and the type that secrets travel in.
//!
//! The app and the gateway do not trust each other, but they must agree on what a well-formed value is: whatever a
//! profile accepts in the app, the gateway's request parser accepts as well. So each value has one parser, here. Nothing
//! in this crate signs, stores, sends or renders anything; auditing the gateway means reading this crate and that one.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod amounts;
pub mod exchange;
pub mod hex;
pub mod identity;
pub mod labels;
pub mod messages;
pub mod resources;
pub mod secret;
pub mod selection;
pub mod slurm_job;
pub mod values;
