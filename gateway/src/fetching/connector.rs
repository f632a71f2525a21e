//! How the app, and where the runner comes from, is reached: straight, or through the proxy that the environment names for
//! it, and whose certificates are believed.
//!
//! `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` mean what curl makes of them. What is on this machine itself is
//! never asked through a proxy. With TLS the proxy opens a tunnel by `CONNECT`, so it sees no more than the host's name.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use crate::config::{ConfigError, invalid};

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The way to one server.
#[derive(Clone)]
pub(crate) enum Way {
    Straight(HttpConnector),
    /// To a proxy that is given whole requests.
    Proxy(HttpConnector, Uri),
    Tunnel(Tunnel<HttpConnector>),
}

impl Way {
    /// With it comes what a proxy that is given whole requests is told by each of them. `key` is what names the server.
    pub(crate) fn to(key: &str, app: &Uri, proxies: &Matcher) -> Result<(Self, Option<HeaderValue>), ConfigError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_DEADLINE));
        let Some(proxy) = proxies.intercept(app).filter(|_| !is_here(app)) else {
            return Ok((Self::Straight(tcp), None));
        };
        if proxy.uri().scheme_str() != Some("http") {
            let shown = proxy.uri().authority().map(ToString::to_string).unwrap_or_default();
            let problem = format!("the proxy {shown} that the environment names for it has no URL with http://");
            return Err(invalid(key, problem));
        }
        let authorization = proxy.basic_auth().cloned();
        if app.scheme_str() != Some("https") {
            return Ok((Self::Proxy(tcp, proxy.uri().clone()), authorization));
        }
        let tunnel = Tunnel::new(proxy.uri().clone(), tcp);
        let tunnel = match authorization {
            Some(authorization) => tunnel.with_auth(authorization),
            None => tunnel,
        };
        Ok((Self::Tunnel(tunnel), None))
    }

    /// With TLS where the app has it.
    pub(crate) fn with_tls(self, config: ClientConfig) -> HttpsConnector<Self> {
        HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(self)
    }
}

pub(crate) fn is_here(app: &Uri) -> bool {
    let host = app.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

impl Service<Uri> for Way {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Straight(tcp) | Self::Proxy(tcp, _) => tcp.poll_ready(cx).map_err(Into::into),
            Self::Tunnel(tunnel) => tunnel.poll_ready(cx).map_err(Into::into),
        }
    }

    fn call(&mut self, app: Uri) -> Self::Future {
        let (mut way, proxied) = (self.clone(), matches!(self, Self::Proxy(..)));
        Box::pin(async move {
            let io = match &mut way {
                Self::Straight(tcp) => tcp.call(app).await?,
                Self::Proxy(tcp, proxy) => tcp.call(proxy.clone()).await?,
                Self::Tunnel(tunnel) => tunnel.call(app).await?,
            };
            Ok(Stream { io, proxied })
        })
    }
}

/// A connection, and whether it leads to a proxy that is given whole requests.
pub(crate) struct Stream {
    io: TokioIo<TcpStream>,
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
}

/// Believes the system's authorities, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name instead, and those of
/// the file that `key` names besides. Where a system has none at all, as in an empty container, Mozilla's stand in for them.
pub(crate) fn tls(key: &str, ca_file: Option<&Path>) -> Result<ClientConfig, ConfigError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(path) = ca_file {
        let wrong = |problem: &str| invalid(key, format!("{}: {problem}", path.display()));
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let (added, _) = roots.add_parsable_certificates(read.map_err(|error| wrong(&error.to_string()))?);
        if added == 0 {
            return Err(wrong("no certificate is in it"));
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| invalid(key, error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environments_proxy_is_used_for_what_is_elsewhere() {
        let proxies = Matcher::builder().all("http://ada:secret@proxy.example:3128").no("near.example").build();
        let to = |app: &'static str| Way::to("app.url", &Uri::from_static(app), &proxies).unwrap();
        assert!(matches!(to("https://app.example/x"), (Way::Tunnel(_), None)), "its password is for the proxy alone");
        assert!(matches!(to("http://app.example/x"), (Way::Proxy(..), Some(_))));
        for straight in ["https://near.example", "http://127.0.0.1:3000", "http://localhost", "https://[::1]:3000"] {
            assert!(matches!(to(straight), (Way::Straight(_), None)), "{straight}");
        }
        let odd = Matcher::builder().all("socks5://proxy.example:1080").build();
        let error =
            Way::to("app.url", &Uri::from_static("https://app.example"), &odd).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("app.url: the proxy proxy.example:1080"), "{error}");
    }
}
