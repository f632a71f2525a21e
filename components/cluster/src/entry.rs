//! Where Spin calls the component.

// The macro's exported function is unsafe by nature; nothing else here is.
#![allow(unsafe_code)]

use spin_sdk::http::{IncomingRequest, ResponseOutparam};
use spin_sdk::http_component;

use crate::exchange::{MAX_BODY_BYTES, exchange};

#[http_component]
fn handle(request: IncomingRequest, out: ResponseOutparam) {
    gha_slurm_adapter::serve("exchange", MAX_BODY_BYTES, request, out, exchange);
}
