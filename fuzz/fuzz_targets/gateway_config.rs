//! The gateway's configuration file.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| drop(gha_slurm_gateway::fuzz::configuration(text)));
