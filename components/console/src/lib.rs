//! Spin component for everything that shows: the API `GET /api/v1/…`, `GET /metrics` and `GET /gha/installations`.
//!
//! It only looks; of what it may write, the store keeps nothing but digests of what is there. It holds the App's key and
//! the gateway's secret to ask both about a job, and answers the holder of the admin token alone.

// Its imports exist in Wasm alone: a native build of the workspace has nothing to link them to.
#![cfg(target_family = "wasm")]
// The macro's exported function is unsafe by nature; nothing else here is.
#![allow(unsafe_code)]

use gha_slurm_core::console::{MAX_BODY_BYTES, answer};
use spin_sdk::http::{IncomingRequest, ResponseOutparam};
use spin_sdk::http_component;

#[http_component]
fn handle(request: IncomingRequest, out: ResponseOutparam) {
    gha_slurm_adapter::serve("console", MAX_BODY_BYTES, request, out, answer);
}
