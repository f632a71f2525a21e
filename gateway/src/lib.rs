//! The Slurm side of gha-slurm.
//!
//! The gateway lives where Slurm trusts it. It takes launch requests from the app, which it knows by a shared secret, or
//! fetches them from the app, to which it proves itself by a secret of its cluster. It maps the repository to a Slurm user, and submits the runner as that user's Slurm job. It shares only message types
//! with the app; it holds no GitHub credential and sees none: the job's script exchanges the launch token by itself.
//!
//! What must never happen here: text from a request read by a shell, a Slurm job as anybody but the mapped user, two
//! Slurm jobs for one launch, a secret in a log or an argv.

#![forbid(unsafe_code)]

mod audit;
pub mod backend;
mod causes;
pub mod check;
pub mod cli;
mod comment;
pub mod config;
pub mod fetching;
#[doc(hidden)]
pub mod fuzz;
pub mod http;
mod impossible;
mod index;
pub mod launch;
mod node_policy;
pub mod people;
mod runs_as;
pub mod script;
mod secret_file;
pub mod service;
mod tls;
