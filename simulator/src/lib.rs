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

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::Notify;

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

/// Where a fake is, and where its ids begin. An application that lives longer than the fakes around it knows them by
/// their addresses, and what it keeps by ids that must not come again.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The address.
    pub listen: SocketAddr,
    /// Ids begin after this one.
    pub after: u64,
}

impl Default for Place {
    /// A free port of loopback, and ids past what a JavaScript number holds exactly, as GitHub's are.
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), after: 9_007_199_254_740_992 }
    }
}

/// A server of one of the fakes.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    ends: Arc<Notify>,
}

impl Served {
    /// Serves until it is ended, or the process ends.
    pub(crate) async fn start(listen: SocketAddr, router: Router) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let ends = Arc::new(Notify::new());
        let ended = Arc::clone(&ends);
        let server = axum::serve(listener, router).with_graceful_shutdown(async move { ended.notified().await });
        tokio::spawn(server.into_future());
        Ok(Self { address, ends })
    }

    /// Frees the address and closes idle connections, in a moment.
    pub(crate) fn end(&self) {
        self.ends.notify_one();
    }
}
