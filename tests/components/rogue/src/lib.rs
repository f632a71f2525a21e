//! Spin component that misbehaves as its path says: `/loop`, `/bomb`, `/trap`, `/silent`, `/slow`, which holds its
//! instance for a second, or `/large`, which answers 32 MiB. Any other path is answered.

#![cfg(target_family = "wasm")]
// The macro's exported function is unsafe by nature; nothing else here is.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::time::Duration;

use spin_sdk::http::{IncomingRequest, ResponseOutparam};
use spin_sdk::http_component;
use spin_sdk::wit::wasi::http0_2_0::types::{Fields, OutgoingBody, OutgoingResponse};

#[http_component]
fn rogue(request: IncomingRequest, out: ResponseOutparam) {
    let path = request.path_with_query().unwrap_or_default();
    match path.rsplit('/').next() {
        Some("loop") => loop {
            black_box(());
        },
        Some("bomb") => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(black_box(vec![1u8; 1 << 20]));
            }
        }
        Some("trap") => std::process::abort(),
        Some("silent") => return,
        Some("slow") => std::thread::sleep(Duration::from_secs(1)),
        _ => {}
    }
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body();
    out.set(response);
    if let Ok(body) = body {
        if path.ends_with("/large")
            && let Ok(stream) = body.write()
        {
            let part = [b'x'; 4096];
            for _ in 0..8192 {
                if stream.blocking_write_and_flush(&part).is_err() {
                    return;
                }
            }
        }
        let _ = OutgoingBody::finish(body, None);
    }
}
