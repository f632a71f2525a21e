//! What becomes of one request: refused here, or given to a fresh instance.
//!
//! The instance runs in the connection's own task until it has answered, which spares a hand-over between threads; what
//! it does after that, or after its client went away, goes on in a task of its own.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::body::{Begun, BodyError, Paced};
use super::limits::Limits;
use super::routing::Router;
use super::sandbox::Guest;
use super::spin_headers;

/// How much and how long a client whose body is too long may go on sending: one that is cut off while it sends does not
/// see the answer.
const LINGER_BYTES: usize = 64 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(2);
const HEALTH: &str = "/.well-known/spin/health";

/// An application that takes requests.
pub(super) struct App {
    router: Router<Guest>,
    limits: Limits,
    permits: Arc<Semaphore>,
}

fn answer(status: StatusCode, message: &str) -> Response<HyperOutgoingBody> {
    let body = serde_json::json!({ "error": message }).to_string();
    let mut response = Response::new(Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn closing(mut response: Response<HyperOutgoingBody>) -> Response<HyperOutgoingBody> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

impl App {
    pub(super) fn new(router: Router<Guest>, limits: Limits) -> Self {
        let permits = Arc::new(Semaphore::new(limits.instances as usize));
        Self { router, limits, permits }
    }

    pub(super) fn serves(&self, path: &str) -> bool {
        self.router.find(path).is_some()
    }

    pub(super) async fn serve(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<HyperOutgoingBody> {
        let (mut head, body) = request.into_parts();
        let uri = head.uri.clone();
        if uri.path() == HEALTH {
            return Response::new(Full::new(Bytes::from("OK")).map_err(|never| match never {}).boxed_unsync());
        }
        let Some(found) = self.router.find(uri.path()) else {
            return answer(StatusCode::NOT_FOUND, "nothing is served at this path");
        };
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > self.limits.body_bytes as u64) {
            // Who waits for a word before sending gets the answer instead of that word.
            if !head.headers.contains_key(EXPECT) {
                let _ = tokio::time::timeout(LINGER, discard(Limited::new(body, LINGER_BYTES))).await;
            }
            let why = format!("the body is larger than {} bytes", self.limits.body_bytes);
            return closing(answer(StatusCode::PAYLOAD_TOO_LARGE, &why));
        }
        if head.headers.get(HOST).is_none_or(|host| host.to_str().is_err()) {
            return answer(StatusCode::BAD_REQUEST, "the Host header is missing or malformed");
        }
        if self.permits.available_permits() == 0 {
            return busy();
        }
        let body = match Begun::read(body, self.limits.body_deadline).await {
            Ok(body) => body,
            Err(BodyError::Late) => {
                return closing(answer(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"));
            }
            Err(BodyError::Broken) => return closing(answer(StatusCode::BAD_REQUEST, "the body ended early")),
        };
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return busy() };
        spin_headers::set(&mut head, &found, peer);
        let guest = Arc::clone(found.target);
        let id = guest.id.clone();
        match self.run(guest, Request::from_parts(head, body), permit).await {
            Ok(response) => response,
            Err(Failure::Late(why)) => {
                tracing::error!(component = %id, "{why}");
                answer(StatusCode::GATEWAY_TIMEOUT, "the component did not answer in time")
            }
            Err(Failure::Guest(why)) => {
                tracing::error!(component = %id, "{why}");
                answer(StatusCode::INTERNAL_SERVER_ERROR, "the component failed")
            }
        }
    }

    /// Runs one instance for one request. It may go on after its answer, within the deadlines.
    async fn run(
        &self,
        guest: Arc<Guest>,
        request: Request<Begun>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Response<HyperOutgoingBody>, Failure> {
        let (limit, pause) = (self.limits.body_bytes, self.limits.body_deadline);
        let request = request.map(|body| {
            let paced = Paced::new(body, pause, || wasmtime_wasi_http::Error::ConnectionReadTimeout);
            Limited::new(paced, limit)
                .map_err(move |_| wasmtime_wasi_http::Error::HttpRequestBodySize(Some(limit as u64)))
        });
        let mut store = guest.instance_state();
        let (sender, mut receiver) = oneshot::channel();
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
        let out = store.data_mut().http().new_response_outparam(sender)?;
        let instance = async move {
            let _permit = permit;
            let proxy = guest.pre.instantiate_async(&mut store).await?;
            proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
        };
        let bounded = Bounded { work: Box::pin(instance), spent: Duration::ZERO, limit: self.limits.cpu_deadline };
        let deadline = self.limits.request_deadline;
        let mut work = Detached::new(async move {
            tokio::time::timeout(deadline, bounded)
                .await
                .unwrap_or_else(|_| Err(Failure::Late(format!("it did not end within {} s", deadline.as_secs_f32()))))
        });
        let ended = tokio::select! {
            biased;
            ended = &mut work => ended,
            // Still at work; who reads the body meets what comes of it.
            answered = &mut receiver => return answered.map_err(|_| Failure::silent())?.map_err(Failure::code),
        };
        match receiver.try_recv() {
            Ok(answered) => answered.map_err(Failure::code),
            Err(_) => Err(ended.err().unwrap_or_else(Failure::silent)),
        }
    }
}

fn busy() -> Response<HyperOutgoingBody> {
    let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Reads a body without keeping it.
async fn discard(mut body: Limited<Incoming>) {
    while let Some(Ok(_)) = body.frame().await {}
}

enum Failure {
    Late(String),
    Guest(String),
}

impl Failure {
    fn silent() -> Self {
        Self::Guest("it ended without an answer".to_owned())
    }

    fn code(code: impl std::fmt::Display) -> Self {
        Self::Guest(format!("it answered with the error {code}"))
    }
}

impl From<wasmtime::Error> for Failure {
    fn from(error: wasmtime::Error) -> Self {
        Self::Guest(format!("{error:#}"))
    }
}

/// Work that goes on in a task of its own when nobody waits for it any more: it has answered, or the client went away.
struct Detached<T: Send + 'static>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T: Send + 'static> Detached<T> {
    fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(work) = &mut self.0 else { return Poll::Pending };
        let ended = ready!(work.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(ended)
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        if let Some(work) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { drop(work.await) });
        }
    }
}

/// Counts the time that an instance computes, and ends it past its limit. A guest in an endless loop gives way at every
/// epoch, so it comes by here.
struct Bounded<F> {
    work: Pin<Box<F>>,
    spent: Duration,
    limit: Duration,
}

impl<F: Future<Output = wasmtime::Result<()>>> Future for Bounded<F> {
    type Output = Result<(), Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let begun = Instant::now();
        if let Poll::Ready(ended) = self.work.as_mut().poll(cx) {
            return Poll::Ready(ended.map_err(Failure::from));
        }
        self.spent += begun.elapsed();
        if self.spent > self.limit {
            return Poll::Ready(Err(Failure::Late(format!(
                "it computed for more than {} s",
                self.limit.as_secs_f32()
            ))));
        }
        Poll::Pending
    }
}
