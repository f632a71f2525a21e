//! Connections: plain or TLS, with deadlines for those who say nothing and a share for each address, ended gracefully.
//!
//! Not by axum-server: it has neither a cap on connections nor one for each address, and its header time-out has to be
//! set on the builder below all the same.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(30);
const MAX_CONNECTIONS: usize = 2048;
/// So that one address cannot take them all. The app, or a proxy before the gateway, has a few hundred at most.
const MAX_PER_ADDRESS: usize = 512;
const MAX_HEADERS: usize = 64;
/// Of a request's head, and read at a time of its body.
const MAX_BUFFER_BYTES: usize = 32 * 1024;

/// The other end of a request's connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// How many connections each address has.
#[derive(Clone, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Addresses {
    /// A place for one more connection from there.
    fn join(&self, address: IpAddr) -> Option<Joined> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= MAX_PER_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Joined { addresses: self.clone(), address })
    }
}

/// A connection's place, until it is dropped.
struct Joined {
    addresses: Addresses,
    address: IpAddr,
}

impl Drop for Joined {
    fn drop(&mut self) {
        let mut counts = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Serves until `shutdown`, then lets requests finish. Each connection asks `tls` anew, since a certificate is renewed.
pub async fn serve(
    listener: TcpListener,
    tls: impl Fn() -> Option<TlsAcceptor>,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let addresses = Addresses::default();
    // Dropped at the end, so that nobody waits for a handshake that does not come.
    let (serving, ended) = watch::channel(());
    tokio::pin!(shutdown);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut shutdown => break,
        };
        let Ok((stream, peer)) = accepted else {
            // Out of file descriptors, most likely: others will be freed.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Closed without a word: an answer would cost more than it is worth.
        let Some(joined) = addresses.join(peer.ip().to_canonical()) else { continue };
        let _ = stream.set_nodelay(true);
        let (watcher, router, tls) = (graceful.watcher(), router.clone(), tls());
        let mut ended = ended.clone();
        tokio::spawn(async move {
            let _place = (place, joined);
            match tls {
                None => connection(stream, peer, router, watcher).await,
                Some(tls) => {
                    let handshake = tokio::time::timeout(HANDSHAKE_DEADLINE, tls.accept(stream));
                    let stream = tokio::select! {
                        stream = handshake => stream,
                        _ = ended.changed() => return,
                    };
                    if let Ok(Ok(stream)) = stream {
                        connection(stream, peer, router, watcher).await;
                    }
                }
            }
        });
    }
    drop((listener, serving));
    let _ = tokio::time::timeout(SHUTDOWN_DEADLINE, graceful.shutdown()).await;
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    watcher: Watcher,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let _ = watcher.watch(connection).await;
}
