//! Serving: HTTP/1.1 in, one fresh instance per request, an answer out, all of it bounded.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::engine::{CONCURRENCY, Engine, Guest};
use super::routing::{Match, Router};
use super::{Error, engine};

/// The longest body of a request.
pub const BODY_LIMIT: usize = 25_000_000;
/// How much and how long a client whose body is too long may go on sending: one that is cut off while it sends does not
/// see the answer.
const LINGER_BYTES: usize = 64 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(2);
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
const DRAIN: Duration = Duration::from_secs(10);
const HEALTH: &str = "/.well-known/spin/health";

/// A bound application.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
}

struct App {
    router: Router<Guest>,
    permits: Arc<Semaphore>,
    // Keeps the epochs going.
    _engine: Engine,
}

impl Server {
    pub(super) async fn bind(address: SocketAddr, engine: Engine, router: Router<Guest>) -> Result<Self, Error> {
        let listen = |why| Error::Listen { address, why };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let permits = Arc::new(Semaphore::new(CONCURRENCY as usize));
        Ok(Self { listener, address, app: Arc::new(App { router, permits, _engine: engine }) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether a component serves this path.
    pub fn serves(&self, path: &str) -> bool {
        self.app.router.find(path).is_some()
    }

    /// Serves until `stop`, then lets running requests end, for at most 10 s.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
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
            // Headers and body are small segments; together with delayed acknowledgements they would wait 40 ms.
            let _ = stream.set_nodelay(true);
            let app = Arc::clone(&self.app);
            let service = service_fn(move |request| {
                let app = Arc::clone(&app);
                async move { Ok::<_, Infallible>(app.serve(request, peer).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_DEADLINE)
                .serve_connection(TokioIo::new(stream), service);
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!("a connection broke: {error}");
                }
            });
        }
        drop(self.listener);
        if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests did not end within {} s", DRAIN.as_secs());
        }
    }
}

fn answer(status: StatusCode, message: &str) -> Response<HyperOutgoingBody> {
    let body = serde_json::json!({ "error": message }).to_string();
    let mut response = Response::new(Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl App {
    async fn serve(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Response<HyperOutgoingBody> {
        let path = request.uri().path().to_owned();
        if path == HEALTH {
            return Response::new(Full::new(Bytes::from("OK")).map_err(|never| match never {}).boxed_unsync());
        }
        let Some(found) = self.router.find(&path) else {
            return answer(StatusCode::NOT_FOUND, "nothing is served at this path");
        };
        let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > BODY_LIMIT as u64) {
            // Who waits for a word before sending gets the answer instead of that word.
            if !request.headers().contains_key(EXPECT) {
                let rest = Limited::new(request.into_body(), LINGER_BYTES);
                let _ = tokio::time::timeout(LINGER, discard(rest)).await;
            }
            let mut response =
                answer(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body is larger than {BODY_LIMIT} bytes"));
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            return response;
        }
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once");
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return response;
        };
        if request.headers().get(HOST).is_none_or(|host| host.to_str().is_err()) {
            return answer(StatusCode::BAD_REQUEST, "the Host header is missing or malformed");
        }
        spin_headers(&mut request, &found, peer);
        let guest = Arc::clone(found.target);
        let id = guest.id.clone();
        match run(guest, request, permit).await {
            Ok(response) => response,
            Err(Failure::Deadline) => {
                tracing::error!(component = %id, "no answer within {} s", REQUEST_DEADLINE.as_secs());
                answer(StatusCode::GATEWAY_TIMEOUT, "the component did not answer in time")
            }
            Err(Failure::Guest(why)) => {
                tracing::error!(component = %id, "{why}");
                answer(StatusCode::INTERNAL_SERVER_ERROR, "the component failed")
            }
        }
    }
}

/// Reads a body without keeping it.
async fn discard(mut body: Limited<Incoming>) {
    while let Some(Ok(_)) = body.frame().await {}
}

enum Failure {
    Deadline,
    Guest(String),
}

/// Runs one instance for one request. It may go on after its answer, within the deadline.
async fn run(
    guest: Arc<Guest>,
    request: Request<Incoming>,
    permit: tokio::sync::OwnedSemaphorePermit,
) -> Result<Response<HyperOutgoingBody>, Failure> {
    let failed = |error: wasmtime::Error| Failure::Guest(format!("{error:#}"));
    let request = request.map(|body| {
        Limited::new(body, BODY_LIMIT)
            .map_err(|_| wasmtime_wasi_http::Error::HttpRequestBodySize(Some(BODY_LIMIT as u64)))
    });
    let mut store: wasmtime::Store<engine::State> = guest.instance_state();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let request = store.data_mut().http().new_incoming_request(Scheme::Http, request).map_err(failed)?;
    let out = store.data_mut().http().new_response_outparam(sender).map_err(failed)?;
    let task = tokio::spawn(async move {
        let _permit = permit;
        let work = async {
            let proxy = guest.pre.instantiate_async(&mut store).await?;
            proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
        };
        match tokio::time::timeout(REQUEST_DEADLINE, work).await {
            Ok(ended) => ended.map_err(failed),
            Err(_) => Err(Failure::Deadline),
        }
    });
    match receiver.await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(code)) => Err(Failure::Guest(format!("it answered with the error {code}"))),
        // The instance is gone without an answer.
        Err(_) => match task.await {
            Ok(Ok(())) => Err(Failure::Guest("it ended without an answer".to_owned())),
            Ok(Err(failure)) => Err(failure),
            Err(error) => Err(Failure::Guest(error.to_string())),
        },
    }
}

/// Replaces the `spin-*` headers, which a client must not be able to set, by what Spin tells a component.
fn spin_headers(request: &mut Request<Incoming>, found: &Match<'_, Guest>, peer: SocketAddr) {
    let uri = request.uri().clone();
    let headers: &mut HeaderMap = request.headers_mut();
    let foreign: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with("spin-")).cloned().collect();
    for name in foreign {
        headers.remove(name);
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let path_and_query = uri.path_and_query().map_or("/", |path| path.as_str());
    let base = found.route.trim_end_matches("/...");
    let mut entries = vec![
        ("spin-full-url".to_owned(), format!("http://{host}{path_and_query}")),
        ("spin-path-info".to_owned(), found.rest.clone()),
        ("spin-matched-route".to_owned(), found.route.to_owned()),
        ("spin-raw-component-route".to_owned(), found.route.to_owned()),
        ("spin-component-route".to_owned(), if found.prefix { base.to_owned() } else { found.route.to_owned() }),
        ("spin-base-path".to_owned(), "/".to_owned()),
        ("spin-client-addr".to_owned(), peer.to_string()),
    ];
    for (name, value) in &found.parameters {
        entries.push((format!("spin-path-match-{}", name.to_lowercase()), value.clone()));
    }
    for (name, value) in entries {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
}
