//! Requests as GitHub, a Slurm job and the operator send them, for unit tests.

#![allow(clippy::unwrap_used, reason = "only tests use it")]

use gha_slurm_protocol::hex::hex;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::request::Request;

/// The id of every delivery.
pub const DELIVERY: &str = "72d3162e-cc78-11e3-81ab-4c9367dc0958";

/// A *workflow_job* delivery, signed with the secret of [`gha_slurm_core::testing::Memory::configured`].
pub fn delivery(event: &serde_json::Value) -> Request {
    delivery_named(DELIVERY, event)
}

/// The same with another id.
pub fn delivery_named(id: &str, event: &serde_json::Value) -> Request {
    delivery_of("workflow_job", id, event)
}

/// A delivery of any event.
pub fn delivery_of(kind: &str, id: &str, event: &serde_json::Value) -> Request {
    let body = event.to_string().into_bytes();
    let mac = Hmac::<Sha256>::new_from_slice(b"It's a Secret to Everybody").unwrap().chain_update(&body);
    let digest = hex(mac.finalize().into_bytes());
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let headers = vec![
        header("X-GitHub-Event", kind),
        header("X-GitHub-Delivery", id),
        header("X-Hub-Signature-256", &format!("sha256={digest}")),
    ];
    Request { method: "POST".to_owned(), target: "/api/github/webhooks".to_owned(), headers, body }
}

/// A POST without a body that carries a credential.
pub fn authorized(credential: &str) -> Request {
    let headers = vec![("authorization".to_owned(), credential.as_bytes().to_vec())];
    Request { method: "POST".to_owned(), target: "/".to_owned(), headers, body: Vec::new() }
}

/// A GET with the admin token of [`gha_slurm_core::testing::Memory::configured`].
pub fn get(target: &str) -> Request {
    Request {
        method: "GET".to_owned(),
        target: target.to_owned(),
        ..authorized("Bearer an-admin-token-of-32-characters!")
    }
}
