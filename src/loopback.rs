//! Requests of this process to the application that it serves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const LONGEST_ANSWER: usize = 64 * 1024;

/// Sends a request without a body, and reads the whole answer; its status. What it says stands in the component's own
/// log line.
pub async fn ask(address: SocketAddr, request: hyper::http::request::Builder) -> anyhow::Result<u16> {
    let stream = TcpStream::connect(reachable(address)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driving = tokio::spawn(connection);
    let request = request.header(HOST, "localhost").body(Full::new(Bytes::new()))?;
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
