//! What cannot be here, as strict fakes over real HTTP on loopback: GitHub itself, and a gateway with a Slurm behind it.
//!
//! The fakes check what the real ones check and fail as they fail: a client that is wrong here would be wrong there.
//! They hold no opinion about gha-slurm; only the demo, tests and benches use them.

// A fake that meets a broken lock or a missing id has a bug of its own; it may end there.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod event;
pub mod gateway;
pub mod github;
mod hold;
pub mod runner;
pub mod wire;

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use tokio::net::TcpListener;

/// Seconds of Unix time.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// RFC 3339 in UTC, as GitHub writes times.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let time = chrono::DateTime::from_timestamp(i64::try_from(seconds).unwrap_or(0), 0).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// Random text of `length` letters and digits.
pub(crate) fn random_text(length: usize) -> String {
    let mut bytes = vec![0; length];
    getrandom::getrandom(&mut bytes).unwrap();
    bytes.into_iter().map(|byte| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[usize::from(byte % 32)])).collect()
}

/// Serves on a free port of loopback until the process ends.
pub(crate) async fn serve(router: Router) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}
