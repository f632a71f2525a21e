//! Spin component for `POST /gha/runner`: a Slurm job exchanges its launch token for a runner credential.
//!
//! It holds the App's key and reaches GitHub alone; the gateway's secret is not here.

// Its imports exist in Wasm alone: a native build of the workspace has nothing to link them to.
#![cfg(target_family = "wasm")]
// The macro's exported function is unsafe by nature; nothing else here is.
#![allow(unsafe_code)]

use gha_slurm_core::flows::redeem::{MAX_BODY_BYTES, redeem};
use spin_sdk::http::{IncomingRequest, ResponseOutparam};
use spin_sdk::http_component;

#[http_component]
fn runner(request: IncomingRequest, out: ResponseOutparam) {
    gha_slurm_adapter::serve("redeem", MAX_BODY_BYTES, request, out, redeem);
}
