//! A delivery with a right signature: the first line names the event, the rest is the payload. Whatever it says, it is
//! answered, and never as our own fault.

#![no_main]

use std::time::Duration;

use gha_slurm_core::ports::SendError;
use gha_slurm_core::testing::Memory;
use gha_slurm_edge::request::Request;
use gha_slurm_protocol::hex::hex;
use gha_slurm_webhook::receive::receive;
use hmac::{Hmac, Mac};
use libfuzzer_sys::fuzz_target;
use sha2::Sha256;

fuzz_target!(|delivery: &[u8]| {
    let (event, body) = delivery.split_at(delivery.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let mac = Hmac::<Sha256>::new_from_slice(b"It's a Secret to Everybody").unwrap().chain_update(body);
    let signature = format!("sha256={}", hex(mac.finalize().into_bytes()));
    let request = Request {
        method: "POST".to_owned(),
        target: "/api/github/webhooks".to_owned(),
        headers: vec![
            ("x-github-event".to_owned(), event.to_vec()),
            ("x-github-delivery".to_owned(), b"1".to_vec()),
            ("x-hub-signature-256".to_owned(), signature.into_bytes()),
        ],
        body: body.to_vec(),
    };
    let platform = Memory::configured();
    // No gateway and no GitHub: what would be launched is deferred.
    platform.serve(|_, _| Err(SendError::Deadline(Duration::from_secs(5))));
    let answer = receive(&platform, &request);
    assert!(matches!(answer.status, 200 | 202 | 400), "{answer:?}");
});
