//! Spin component that only answers `ok`: what a fresh instance per request costs by itself.

#![cfg(target_family = "wasm")]
// The macro's exported function is unsafe by nature; nothing else here is.
#![allow(unsafe_code)]

use spin_sdk::http::{IncomingRequest, ResponseOutparam};
use spin_sdk::http_component;
use spin_sdk::wit::wasi::http0_2_0::types::{Fields, OutgoingBody, OutgoingResponse};

#[http_component]
fn floor(_request: IncomingRequest, out: ResponseOutparam) {
    let headers = Fields::new();
    let _ = headers.set("content-length", &[b"2".to_vec()]);
    let response = OutgoingResponse::new(headers);
    let body = response.body();
    out.set(response);
    if let Ok(body) = body
        && body.write().is_ok_and(|stream| stream.blocking_write_and_flush(b"ok").is_ok())
    {
        let _ = OutgoingBody::finish(body, None);
    }
}
