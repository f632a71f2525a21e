//! Outbound HTTP: only to the hosts that the manifest names, never without a deadline, over connections that are kept.
//!
//! Certificates are checked against the system's roots, through a proxy where the environment names one. Why a request
//! failed is told twice: to the guest as the code that `wasi:http` has for it, and in the log with the cause.

mod allowed_hosts;
mod connector;
mod failure;
pub mod tls;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::header::PROXY_AUTHORIZATION;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

pub use self::allowed_hosts::AllowedHosts;
use self::connector::{Connector, Proxies};
pub use self::failure::Failure;
use self::tls::{ClientTls, TlsError};
use super::body::Paced;

/// No guest may wait longer for one step of a request.
const LONGEST: Duration = Duration::from_secs(30);
/// How long an idle connection is kept. Shorter than most servers keep theirs, because a request that meets the end of
/// its connection is lost.
const IDLE: Duration = Duration::from_secs(15);

type Sender = legacy::Client<HttpsConnector<Connector>, WasiBody>;

/// Sends requests, over connections that are kept for the next one. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    everywhere: Sender,
    /// With certificates of their own.
    special: Vec<(ClientTls, Sender)>,
    proxies: Arc<Proxies>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// To the connection and the answer's head together.
    pub first_byte: Duration,
    /// Between two parts of the answer's body.
    pub pause: Duration,
}

impl Client {
    /// A client that keeps at most `idle` idle connections per host, with what the runtime configuration says about
    /// certificates.
    pub fn new(idle: usize, client_tls: Vec<ClientTls>) -> Result<Self, TlsError> {
        let proxies = Arc::new(Proxies::from_environment());
        let sender = |config| {
            legacy::Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(idle)
                .build(HttpsConnector::from((Connector::new(LONGEST, &proxies), config)))
        };
        let everywhere = sender(tls::default_config()?);
        let mut special = Vec::new();
        for entry in client_tls {
            let sender = sender(entry.config()?);
            special.push((entry, sender));
        }
        Ok(Self(Arc::new(Inner { everywhere, special, proxies })))
    }

    /// Sends a request for a component, or for this program itself; its answer's body ends with an error when the other
    /// side pauses for too long.
    pub async fn send(
        &self,
        component: Option<&str>,
        mut request: hyper::Request<WasiBody>,
        deadlines: Deadlines,
    ) -> Result<hyper::Response<WasiBody>, Failure> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let special = self.0.special.iter().find(|(entry, _)| entry.is_for(component, &host));
        let sender = special.map_or(&self.0.everywhere, |(_, sender)| sender);
        if let Some(authorization) = self.0.proxies.authorization(request.uri()) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization);
        }
        let sent = tokio::time::timeout(deadlines.first_byte, sender.request(request)).await;
        let response = sent.map_err(|_| Failure::late())?.map_err(|error| Failure::of(&host, &error))?;
        let late = || Error::ConnectionReadTimeout;
        Ok(response.map(|body| Paced::new(body.map_err(Error::from), deadlines.pause, late).boxed_unsync()))
    }

    /// The same for a body that is here.
    pub async fn send_bytes(
        &self,
        request: hyper::Request<Bytes>,
        deadlines: Deadlines,
    ) -> Result<hyper::Response<WasiBody>, Failure> {
        let whole = |body| http_body_util::Full::new(body).map_err(|never| match never {}).boxed_unsync();
        self.send(None, request.map(whole), deadlines).await
    }
}

/// Decides on, and bounds, each request of one guest.
#[derive(Debug)]
pub struct OutboundHttp {
    component: String,
    allowed: Arc<AllowedHosts>,
    client: Client,
}

impl OutboundHttp {
    /// For the component of that id.
    pub fn new(component: &str, allowed: &Arc<AllowedHosts>, client: &Client) -> Self {
        Self { component: component.to_owned(), allowed: Arc::clone(allowed), client: client.clone() }
    }
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for OutboundHttp {
    fn send_request(
        &mut self,
        request: hyper::Request<WasiBody>,
        options: Option<RequestOptions>,
        _written: Io,
    ) -> Box<dyn Future<Output = Result<(hyper::Response<WasiBody>, Io), Error>> + Send> {
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        if !self.allowed.allows(request.uri()) {
            tracing::warn!(component = %self.component, "refused to reach {authority}: not in allowed_outbound_hosts");
            return Box::new(async { Err(Error::HttpRequestDenied) });
        }
        let options = options.unwrap_or_default();
        let within = |limit: Option<Duration>| limit.unwrap_or(LONGEST).min(LONGEST);
        let deadlines = Deadlines {
            first_byte: within(options.connect_timeout) + within(options.first_byte_timeout),
            pause: within(options.between_bytes_timeout),
        };
        let (client, component) = (self.client.clone(), self.component.clone());
        Box::new(async move {
            let sent = client.send(Some(&component), request, deadlines).await;
            let response = sent.map_err(|failure| {
                tracing::warn!(component, "a request to {authority} failed: {failure}");
                failure.code()
            })?;
            // The connection drives itself.
            Ok((response, Box::new(async { Ok(()) }) as Io))
        })
    }
}
