//! A gateway that answers at once and keeps the launch tokens: what is measured is the application, not what is behind.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;

#[derive(Default)]
struct Shared {
    tokens: Mutex<Vec<String>>,
    jobs: AtomicU64,
}

/// The gateway. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gateway {
    shared: Arc<Shared>,
    address: SocketAddr,
}

pub(crate) const SECRET: &str = "a-gateway-secret-for-benchmarks";

impl Gateway {
    pub(crate) async fn start(listen: SocketAddr) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let router = Router::new().route("/runner/start", post(start)).with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { shared, address })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The token of a launch that nobody has redeemed yet.
    pub(crate) fn token(&self) -> Option<String> {
        self.tokens().pop()
    }

    fn tokens(&self) -> MutexGuard<'_, Vec<String>> {
        self.shared.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn start(State(shared): State<Arc<Shared>>, body: Bytes) -> String {
    // The whole body is the app's; only this one string is of use here.
    let text = String::from_utf8_lossy(&body);
    if let Some((_, rest)) = text.split_once("\"launcherToken\":\"")
        && let Some((token, _)) = rest.split_once('"')
    {
        shared.tokens.lock().unwrap_or_else(PoisonError::into_inner).push(token.to_owned());
    }
    let job = shared.jobs.fetch_add(1, Ordering::Relaxed);
    format!("{{\"status\":\"OK!\",\"job_id\":{job}}}")
}
