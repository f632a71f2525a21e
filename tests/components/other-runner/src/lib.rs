//! Another component for `POST /gha/runner`: it keeps the contract (docs/components.md) and says in a header of its own
//! that it is not the shipped one.

#![cfg(target_family = "wasm")]
// The macro's exported function is unsafe by nature; nothing else here is.
#![allow(unsafe_code)]

use gha_slurm_runner::redeem::{MAX_BODY_BYTES, redeem};
use spin_sdk::http::{IncomingRequest, ResponseOutparam};
use spin_sdk::http_component;

#[http_component]
fn other_runner(request: IncomingRequest, out: ResponseOutparam) {
    let answer = |platform: &_, request: &_| redeem(platform, request).with_header("x-runner-component", "other");
    gha_slurm_adapter::serve("redeem", MAX_BODY_BYTES, request, out, answer);
}
