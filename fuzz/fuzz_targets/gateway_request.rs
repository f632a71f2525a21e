//! A launch request from somebody who knows the shared secret.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| drop(gha_slurm_gateway::fuzz::launch_request(body)));
