//! Connections: straight to where a request goes, or through the proxy that the environment names for it.
//!
//! `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` mean what curl makes of them. What goes to this machine itself
//! never goes through a proxy. A request without TLS is given to the proxy, one with TLS goes through a tunnel that the
//! proxy opens by `CONNECT`, so it sees no more of it than the host's name.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Uri;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiResolver, Name};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use thiserror::Error;
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The proxies of the environment.
pub(super) struct Proxies(Matcher);

impl Proxies {
    pub(super) fn from_environment() -> Self {
        Self(Matcher::from_env())
    }

    fn of(&self, destination: &Uri) -> Option<Intercept> {
        let host = destination.host()?.trim_matches(['[', ']']);
        let here = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        if here { None } else { self.0.intercept(destination) }
    }

    /// What the proxy of a request without TLS is told with the request itself.
    pub(super) fn authorization(&self, destination: &Uri) -> Option<HeaderValue> {
        if is_tls(destination) { None } else { self.of(destination)?.basic_auth().cloned() }
    }
}

fn is_tls(destination: &Uri) -> bool {
    destination.scheme_str() == Some("https")
}

/// There is no address for a name.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct Unresolved(io::Error);

/// The system's resolver, with an error that can be told from others.
#[derive(Clone)]
struct Resolver(GaiResolver);

impl Service<Name> for Resolver {
    type Response = GaiAddrs;
    type Error = Unresolved;
    type Future = Pin<Box<dyn Future<Output = Result<GaiAddrs, Unresolved>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unresolved>> {
        self.0.poll_ready(cx).map_err(Unresolved)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolving = self.0.call(name);
        Box::pin(async { resolving.await.map_err(Unresolved) })
    }
}

/// What the proxy did not do.
#[derive(Debug, Error)]
pub(super) enum ProxyError {
    #[error("the proxy {proxy} must have a URL with http://")]
    Scheme { proxy: String },
    #[error("the proxy {proxy} cannot be reached: {why}")]
    Unreachable { proxy: String, why: String },
    #[error("the proxy {proxy} wants another user or password (407)")]
    Authorization { proxy: String },
    #[error("the proxy {proxy} answers {status} where it should connect to {destination}")]
    Refused { proxy: String, destination: String, status: u16 },
}

/// Makes connections for the HTTP client.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector<Resolver>,
    proxies: Arc<Proxies>,
}

impl Connector {
    pub(super) fn new(deadline: Duration, proxies: &Arc<Proxies>) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(deadline));
        Self { tcp, proxies: Arc::clone(proxies) }
    }

    async fn connect(
        mut tcp: HttpConnector<Resolver>,
        destination: Uri,
        proxy: Option<Intercept>,
    ) -> Result<Stream, BoxError> {
        let Some(proxy) = proxy else {
            return Ok(Stream { io: Box::new(tcp.call(destination).await?), proxied: false });
        };
        let shown = proxy.uri().authority().map(ToString::to_string).unwrap_or_default();
        if proxy.uri().scheme_str() != Some("http") {
            return Err(ProxyError::Scheme { proxy: shown }.into());
        }
        let unreachable = |why: &dyn std::error::Error| {
            let source = why.source().map_or_else(|| why.to_string(), ToString::to_string);
            ProxyError::Unreachable { proxy: shown.clone(), why: source }
        };
        let io = tcp.call(proxy.uri().clone()).await.map_err(|error| unreachable(&error))?;
        if !is_tls(&destination) {
            return Ok(Stream { io: Box::new(io), proxied: true });
        }
        let asked = format!("{}:{}", destination.host().unwrap_or_default(), destination.port_u16().unwrap_or(443));
        let mut request = hyper::Request::connect(asked.as_str()).header(HOST, &asked);
        if let Some(authorization) = proxy.basic_auth() {
            request = request.header(PROXY_AUTHORIZATION, authorization);
        }
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(io).await.map_err(|error| unreachable(&error))?;
        tokio::spawn(connection.with_upgrades());
        let answer = sender.send_request(request.body(Empty::<Bytes>::new())?);
        let answer = answer.await.map_err(|error| unreachable(&error))?;
        match answer.status().as_u16() {
            200..300 => Ok(Stream { io: Box::new(hyper::upgrade::on(answer).await?), proxied: false }),
            407 => Err(ProxyError::Authorization { proxy: shown }.into()),
            status => Err(ProxyError::Refused { proxy: shown, destination: asked, status }.into()),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let proxy = self.proxies.of(&destination);
        Box::pin(Self::connect(self.tcp.clone(), destination, proxy))
    }
}

trait Io: Read + Write + Send + Unpin {}
impl<T: Read + Write + Send + Unpin> Io for T {}

/// A connection, and whether it leads to a proxy that is given whole requests.
pub(super) struct Stream {
    io: Box<dyn Io>,
    proxied: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }
}
