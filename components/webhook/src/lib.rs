//! Spin component for `POST /api/github/webhooks`: GitHub's deliveries.
//!
//! It holds the webhook secret and the gateway's secret and reaches the gateway alone; the App's key is not here.

// Its imports exist in Wasm alone: a native build of the workspace has nothing to link them to.
#![cfg(target_family = "wasm")]
// The macro's exported function is unsafe by nature; nothing else here is.
#![allow(unsafe_code)]

use gha_slurm_core::flows::receive::{MAX_BODY_BYTES, receive};
use spin_sdk::http::{IncomingRequest, ResponseOutparam};
use spin_sdk::http_component;

#[http_component]
fn webhook(request: IncomingRequest, out: ResponseOutparam) {
    gha_slurm_adapter::serve("webhook", MAX_BODY_BYTES, request, out, receive);
}
