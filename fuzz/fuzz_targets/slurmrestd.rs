//! An answer of slurmrestd: the first two bytes are its status, the rest its body.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: (u16, &[u8])| gha_slurm_gateway::fuzz::slurmrestd_answer(answer.0, answer.1));
