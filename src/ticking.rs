//! The host's own clock for applications with a periodic repair: Spin has no scheduler, so a tick is an HTTP request that
//! anybody with the admin token may send, here this process to itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The route that is asked.
pub const ROUTE: &str = "/internal/tick";
/// From the end of one run to the next.
pub const INTERVAL: Duration = Duration::from_secs(30);
/// A run itself ends after 20 s.
const DEADLINE: Duration = Duration::from_secs(40);
const LONGEST_ANSWER: usize = 64 * 1024;

/// Sends a tick to the application at `address` every [`INTERVAL`], until it is dropped.
pub async fn run(address: SocketAddr, admin_token: String) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        match tokio::time::timeout(DEADLINE, tick(address, &admin_token)).await {
            Ok(Ok(200)) => {}
            Ok(Ok(status)) => tracing::warn!("the tick was answered with {status}"),
            Ok(Err(error)) => tracing::warn!("the tick failed: {error:#}"),
            Err(_) => tracing::warn!("the tick did not end within {} s", DEADLINE.as_secs()),
        }
    }
}

/// One tick; the status of its answer. What it did stands in the component's own log line.
pub async fn tick(address: SocketAddr, admin_token: &str) -> anyhow::Result<u16> {
    let stream = TcpStream::connect(reachable(address)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driving = tokio::spawn(connection);
    let request = hyper::Request::post(ROUTE)
        .header(HOST, "localhost")
        .header(AUTHORIZATION, format!("Bearer {admin_token}"))
        .body(Full::new(Bytes::new()))?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let read = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
    driving.abort();
    read.map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(status)
}

/// An address that listens on all interfaces is reached by loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
