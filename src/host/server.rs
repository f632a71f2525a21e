//! Serving: HTTP/1.1 in, bounded in connections, headers and time; what becomes of a request is in [`request`].
//!
//! [`request`]: super::request

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};

use super::client_address::TrustedProxies;
use super::connections::Connections;
use super::engine::Engine;
use super::limits::Limits;
use super::paced_writes::PacedWrites;
use super::request::{App, Target};
use super::routing::Router;

const DRAIN: Duration = Duration::from_secs(10);
/// What one connection too many is told, as far as that can be written at once.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// The connection was chosen to be closed for another one.
#[derive(Debug, Error)]
#[error("closed to make room")]
struct Evicted;

/// A bound application.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    limits: Limits,
    app: Arc<App>,
    proxies: Arc<TrustedProxies>,
    // Keeps the epochs going.
    _engine: Engine,
}

impl Server {
    pub(super) async fn bind(
        address: SocketAddr,
        engine: Engine,
        router: Router<Arc<Target>>,
        limits: Limits,
        proxies: TrustedProxies,
    ) -> Result<Self, super::Error> {
        let listen = |why| super::Error::Listen { address, why };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let proxies = Arc::new(proxies);
        let app = Arc::new(App::new(router, limits.clone(), Arc::clone(&proxies)));
        Ok(Self { listener, address, limits, app, proxies, _engine: engine })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether a component serves this path.
    pub fn serves(&self, path: &str) -> bool {
        self.app.serves(path)
    }

    /// Serves until `stop`, then lets running requests end, for at most 10 s.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_deadline)
            .max_buf_size(self.limits.header_bytes);
        let connections =
            Connections::new(self.limits.connections, self.limits.connections_per_address, Arc::clone(&self.proxies));
        tokio::pin!(stop);
        loop {
            let (stream, peer) = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok(connection) => connection,
                    Err(error) => {
                        // Out of file descriptors, most likely: without a pause this would spin.
                        tracing::warn!("cannot accept a connection: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
                () = &mut stop => break,
            };
            let Some(place) = connections.admit(peer.ip()).map(Arc::new) else {
                refuse(&stream);
                continue;
            };
            // Headers and body are small segments; together with delayed acknowledgements they would wait 40 ms.
            let _ = stream.set_nodelay(true);
            let (app, its) = (Arc::clone(&self.app), Arc::clone(&place));
            let service = service_fn(move |request| {
                let (app, busy) = (Arc::clone(&app), its.begin());
                async move { Ok::<_, Evicted>(app.serve(request, peer, busy.ok_or(Evicted)?).await) }
            });
            let stream = PacedWrites::new(stream, self.limits.body_deadline, self.limits.body_rate);
            let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
            tokio::spawn(async move {
                tokio::select! {
                    ended = connection => if let Err(error) = ended {
                        tracing::debug!("a connection broke: {error}");
                    },
                    () = place.evicted() => tracing::debug!("a connection was closed to make room"),
                }
            });
        }
        drop(self.listener);
        if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests did not end within {} s", DRAIN.as_secs());
        }
    }
}

/// Answers without waiting for anything: the socket's buffer is empty.
fn refuse(stream: &TcpStream) {
    let _ = stream.try_write(FULL);
}
