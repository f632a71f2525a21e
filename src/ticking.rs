//! The host's own clock for applications with a periodic repair: Spin has no scheduler, so a tick is an HTTP request that
//! anybody with the tick token or the admin token may send, here this process to itself.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::header::AUTHORIZATION;

use crate::loopback;

/// The route that is asked.
pub const ROUTE: &str = "/internal/tick";
/// From the end of one run to the next.
pub const INTERVAL: Duration = Duration::from_secs(30);
/// A run itself ends after 20 s.
const DEADLINE: Duration = Duration::from_secs(40);

/// Sends a tick to the application at `address` every [`INTERVAL`], until it is dropped.
pub async fn run(address: SocketAddr, token: String) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        match tokio::time::timeout(DEADLINE, tick(address, &token)).await {
            Ok(Ok(200)) => {}
            Ok(Ok(status)) => tracing::warn!("the tick was answered with {status}"),
            Ok(Err(error)) => tracing::warn!("the tick failed: {error:#}"),
            Err(_) => tracing::warn!("the tick did not end within {} s", DEADLINE.as_secs()),
        }
    }
}

/// One tick; the status of its answer. What it did stands in the component's own log line.
pub async fn tick(address: SocketAddr, admin_token: &str) -> anyhow::Result<u16> {
    let request = hyper::Request::post(ROUTE).header(AUTHORIZATION, format!("Bearer {admin_token}"));
    loopback::ask(address, request).await
}
