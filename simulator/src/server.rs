//! The HTTP server under each fake.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::Notify;

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

/// A running server.
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
