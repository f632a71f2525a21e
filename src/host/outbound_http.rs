//! Outbound HTTP: only to the hosts that the manifest names, never without a deadline, over connections that are kept.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::{Host, Url};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::body::Paced;
use super::manifest::ManifestError;
use super::variables::VariableError;

/// No guest may wait longer for one step of a request.
const LONGEST: Duration = Duration::from_secs(30);
/// How long an idle connection is kept. Shorter than most servers keep theirs, because a request that meets the end of
/// its connection is lost.
const IDLE: Duration = Duration::from_secs(15);

/// The hosts that one component may reach.
#[derive(Debug, Default)]
pub struct AllowedHosts(Vec<Allowed>);

#[derive(Debug, PartialEq)]
struct Allowed {
    scheme: Option<String>,
    host: HostPattern,
    port: Option<u16>,
}

#[derive(Debug, PartialEq)]
enum HostPattern {
    Any,
    Exact(String),
    Under(String),
}

impl AllowedHosts {
    /// Reads the entries of `allowed_outbound_hosts`. A malformed entry is an error when it stands in the manifest; when
    /// it comes from a variable it allows nothing, and the application says what is wrong with its variable.
    pub fn resolve(
        component: &str,
        entries: &[String],
        render: impl Fn(&str) -> Result<String, VariableError>,
    ) -> Result<Self, ManifestError> {
        let mut allowed = Vec::new();
        for entry in entries {
            let templated = entry.contains("{{");
            let parsed = render(entry).map_err(|error| error.to_string()).and_then(|text| Allowed::parse(&text));
            match parsed {
                Ok(host) => allowed.push(host),
                Err(why) if templated => tracing::warn!(component, "allowed_outbound_hosts {entry}: {why}"),
                Err(why) => {
                    let (component, entry) = (component.to_owned(), entry.clone());
                    return Err(ManifestError::AllowedHost { component, entry, why });
                }
            }
        }
        Ok(Self(allowed))
    }

    fn allows(&self, uri: &hyper::Uri) -> bool {
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else { return false };
        let port = uri.port_u16().or_else(|| default_port(scheme));
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        self.0.iter().any(|allowed| {
            allowed.scheme.as_deref().is_none_or(|only| only == scheme)
                && (allowed.port.is_none() || allowed.port == port)
                && match &allowed.host {
                    HostPattern::Any => true,
                    HostPattern::Exact(only) => *only == host,
                    HostPattern::Under(domain) => host.strip_suffix(domain).is_some_and(|sub| sub.ends_with('.')),
                }
        })
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

impl Allowed {
    /// `scheme://host[:port]`, each part possibly `*`, the host possibly `*.domain`.
    fn parse(entry: &str) -> Result<Self, String> {
        let form = || "it must be scheme://host or scheme://host:port".to_owned();
        let (scheme, rest) = entry.trim().split_once("://").ok_or_else(form)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('/') {
            return Err("a path is not allowed".to_owned());
        }
        if scheme != "*" && default_port(scheme).is_none() {
            return Err(format!("the scheme {scheme} is not supported by this host"));
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let port = match port {
            Some("*") => None,
            Some(number) => Some(number.parse().map_err(|_| form())?),
            None => default_port(scheme),
        };
        let host = match host {
            "*" => HostPattern::Any,
            _ => match host.strip_prefix("*.") {
                Some(domain) => HostPattern::Under(exact(domain).ok_or_else(form)?),
                None => HostPattern::Exact(exact(host).ok_or_else(form)?),
            },
        };
        Ok(Self { scheme: (scheme != "*").then(|| scheme.to_owned()), host, port })
    }
}

fn exact(host: &str) -> Option<String> {
    let url = Url::parse(&format!("http://{host}")).ok()?;
    let plain = url.path() == "/" && url.username().is_empty() && url.query().is_none() && url.port().is_none();
    match url.host()? {
        _ if !plain => None,
        Host::Ipv6(address) => Some(address.to_string()),
        other => Some(other.to_string()),
    }
}

/// Sends guests' requests, over connections that are kept for the next one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client(legacy::Client<HttpsConnector<HttpConnector>, WasiBody>);

impl Client {
    /// A client that keeps at most `idle` idle connections per host.
    pub fn new(idle: usize) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(LONGEST));
        let connector =
            HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().wrap_connector(tcp);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(idle)
            .build(connector);
        Self(client)
    }

    /// Sends a request; its answer's body ends with an error when the other side pauses for longer than `pause`.
    async fn send(
        &self,
        request: hyper::Request<WasiBody>,
        first_byte: Duration,
        pause: Duration,
    ) -> Result<hyper::Response<WasiBody>, Error> {
        // TLS has no time-out of its own.
        let sent = tokio::time::timeout(first_byte, self.0.request(request)).await;
        let response = sent.map_err(|_| Error::ConnectionReadTimeout)?.map_err(failure)?;
        Ok(response
            .map(|body| Paced::new(body.map_err(Error::from), pause, || Error::ConnectionReadTimeout).boxed_unsync()))
    }
}

/// What a guest is told of a failure: whether there was a connection at all.
fn failure(error: legacy::Error) -> Error {
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(why) = cause {
        if let Some(io) = why.downcast_ref::<io::Error>() {
            let io = io::Error::new(io.kind(), io.to_string());
            // rustls tells of a certificate or a protocol that is wrong by this kind.
            return if io.kind() == io::ErrorKind::InvalidData { Error::Tls(io) } else { Error::Connect(io) };
        }
        cause = why.source();
    }
    if error.is_connect() { Error::DestinationUnavailable } else { Error::HttpResponseIncomplete }
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
        if !self.allowed.allows(request.uri()) {
            let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(component = %self.component, "refused to reach {authority}: not in allowed_outbound_hosts");
            return Box::new(async { Err(Error::HttpRequestDenied) });
        }
        let options = options.unwrap_or_default();
        let within = |limit: Option<Duration>| limit.unwrap_or(LONGEST).min(LONGEST);
        let first_byte = within(options.connect_timeout) + within(options.first_byte_timeout);
        let pause = within(options.between_bytes_timeout);
        let client = self.client.clone();
        Box::new(async move {
            let response = client.send(request, first_byte, pause).await?;
            // The connection drives itself.
            Ok((response, Box::new(async { Ok(()) }) as Io))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(entry: &str, uri: &str) -> bool {
        let hosts = AllowedHosts::resolve("x", &[entry.to_owned()], |text| Ok(text.to_owned())).unwrap();
        hosts.allows(&uri.parse().unwrap())
    }

    #[test]
    fn only_the_scheme_host_and_port_of_an_entry_are_reached() {
        for (entry, uri, expected) in [
            ("https://a.example", "https://a.example/x", true),
            ("https://a.example/", "https://A.example:443/x", true),
            ("https://a.example", "http://a.example/x", false),
            ("https://a.example", "https://a.example:8443/", false),
            ("https://a.example", "https://a.example.evil/", false),
            ("https://a.example", "https://ba.example/", false),
            ("http://127.0.0.1:81", "http://127.0.0.1:81/", true),
            ("http://127.0.0.1:81", "http://127.0.0.1/", false),
            ("http://[::1]:81", "http://[::1]:81/", true),
            ("https://*.example", "https://a.example/", true),
            ("https://*.example", "https://example/", false),
            ("https://*.example", "https://bexample/", false),
            ("*://*:*", "http://anything:9/", true),
            ("https://*", "https://anything/", true),
        ] {
            assert_eq!(allows(entry, uri), expected, "{entry} {uri}");
        }
    }

    #[test]
    fn a_malformed_entry_is_an_error_and_from_a_variable_it_allows_nothing() {
        for bad in ["a.example", "https://a/x", "https://", "ftp://a", "https://a:b", "https://u@a", "self"] {
            let entry = [bad.to_owned()];
            assert!(AllowedHosts::resolve("x", &entry, |text| Ok(text.to_owned())).is_err(), "{bad}");
            let hosts = AllowedHosts::resolve("x", &["{{ v }}".to_owned()], |_| Ok(bad.to_owned())).unwrap();
            assert!(!hosts.allows(&"https://a/".parse().unwrap()), "{bad}");
        }
    }
}
