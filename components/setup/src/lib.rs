//! Spin component for `/setup`: the set-up in the browser, while there is no GitHub App yet.
//!
//! It holds the secret of the set-up link and reaches GitHub alone; the gateway's secret and an App's key given by variables
//! are not here.

// Its imports exist in Wasm alone: a native build of the workspace has nothing to link them to.
#![cfg(target_family = "wasm")]
// The macro's exported function is unsafe by nature; nothing else here is.
#![allow(unsafe_code)]

use gha_slurm_core::setup::{MAX_BODY_BYTES, setup};
use spin_sdk::http::{IncomingRequest, ResponseOutparam};
use spin_sdk::http_component;

#[http_component]
fn handle(request: IncomingRequest, out: ResponseOutparam) {
    gha_slurm_adapter::serve("setup", MAX_BODY_BYTES, request, out, setup);
}
