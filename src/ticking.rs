//! The host's own clock: Spin has no scheduler, so what is to be done at intervals is an HTTP request that anybody with the
//! tick token or the admin token may send, here this process to itself. One is for the periodic repair; another one, where
//! webhooks are not received, has GitHub's list of deliveries read.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::header::AUTHORIZATION;

use crate::loopback;

/// The route of the periodic repair.
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
    ask(address, ROUTE, admin_token).await
}

/// The route that reads GitHub's list of deliveries.
pub const DELIVERIES: &str = "/internal/deliveries";
/// While the list, or what comes next in it, cannot be read, it is asked for less and less often, down to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Has GitHub's list of deliveries read, at once and then from the end of one reading to the next, until it is dropped.
pub async fn read_deliveries(address: SocketAddr, token: String, interval: Duration) {
    let (mut pause, mut failing) = (interval, false);
    loop {
        let asked = tokio::time::timeout(DEADLINE, ask(address, DELIVERIES, &token)).await;
        let failure = match asked {
            Ok(Ok(200)) => None,
            Ok(Ok(status)) => Some(format!("the answer was {status}")),
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some(format!("it did not end within {} s", DEADLINE.as_secs())),
        };
        match &failure {
            None if failing => tracing::info!("GitHub's deliveries are read again"),
            Some(why) if !failing => tracing::warn!("GitHub's deliveries cannot be read: {why}"),
            _ => {}
        }
        failing = failure.is_some();
        pause = if failing { (pause * 2).min(LONGEST_PAUSE) } else { interval };
        tokio::time::sleep(pause).await;
    }
}

async fn ask(address: SocketAddr, route: &str, token: &str) -> anyhow::Result<u16> {
    let request = hyper::Request::post(route).header(AUTHORIZATION, format!("Bearer {token}"));
    loopback::ask(address, request).await
}
