//! Spin component for `POST /internal/tick`: the periodic repair.
//!
//! It holds what the others hold apart, the gateway's secret and the App's key, because repairing takes both. It takes
//! orders from whoever has the admin token and nothing else from outside.

// Its imports exist in Wasm alone: a native build of the workspace has nothing to link them to.
#![cfg(target_family = "wasm")]
// The macro's exported function is unsafe by nature; nothing else here is.
#![allow(unsafe_code)]

use gha_slurm_core::flows::tick::{MAX_BODY_BYTES, tick};
use spin_sdk::http::{IncomingRequest, ResponseOutparam};
use spin_sdk::http_component;

#[http_component]
fn handle(request: IncomingRequest, out: ResponseOutparam) {
    gha_slurm_adapter::serve("tick", MAX_BODY_BYTES, request, out, tick);
}
