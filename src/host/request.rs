//! What becomes of one request: refused here, or given to a fresh instance.
//!
//! Nothing is spent on a request before it is whole: first its head is looked at, then its body is read, and only then it
//! takes one of its component's instances. The instance runs in the connection's own task until it has answered, which
//! spares a hand-over between threads; what it does after that, or after its client went away, continues in a task of its
//! own.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use wasmtime::PoolConcurrencyLimitError;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::body::{self, BodyError, Terms, Whole};
use super::budget::Budget;
use super::client_address::TrustedProxies;
use super::connections::Busy;
use super::limits::Limits;
use super::manifest::Requests;
use super::permits::Permits;
use super::routing::Router;
use super::sandbox::Guest;
use super::spin_headers;

const HEALTH: &str = "/.well-known/spin/health";

/// A component with what it takes to reach it.
pub(super) struct Target {
    pub(super) guest: Arc<Guest>,
    pub(super) permits: Permits,
    pub(super) requests: Requests,
}

/// An application that takes requests.
pub(super) struct App {
    router: Router<Arc<Target>>,
    limits: Limits,
    budget: Arc<Budget>,
    proxies: Arc<TrustedProxies>,
}

type Answer = Response<HyperOutgoingBody>;

fn answer(status: StatusCode, message: &str) -> Answer {
    let body = serde_json::json!({ "error": message }).to_string();
    let mut response = Response::new(Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn closing(mut response: Answer) -> Answer {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn busy(message: &str) -> Answer {
    let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Answers without looking at the body.
async fn refuse(head: &Parts, body: Incoming, response: Answer) -> Answer {
    if body.is_end_stream() {
        return response;
    }
    // Who waits for a word before sending gets the answer instead of that word.
    if !head.headers.contains_key(EXPECT) {
        body::discard(body).await;
    }
    closing(response)
}

impl App {
    pub(super) fn new(router: Router<Arc<Target>>, limits: Limits, proxies: Arc<TrustedProxies>) -> Self {
        // The longest body has to fit.
        let budget = Budget::new(limits.bodies_bytes.max(limits.body_bytes));
        Self { router, limits, budget, proxies }
    }

    pub(super) fn serves(&self, path: &str) -> bool {
        self.router.find(path).is_some()
    }

    /// Answers a request; its connection is busy until the answer is sent.
    pub(super) async fn serve(&self, request: Request<Incoming>, peer: SocketAddr, busy: Busy) -> Response<Sent> {
        let response = self.answer(request, peer, &busy).await;
        response.map(|body| Sent { body, _busy: busy })
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr, connection: &Busy) -> Answer {
        let (mut head, mut body) = request.into_parts();
        if head.uri.path() == HEALTH {
            return Response::new(Full::new(Bytes::from("OK")).map_err(|never| match never {}).boxed_unsync());
        }
        if head_bytes(&head) > self.limits.header_bytes {
            let why = format!("the headers are larger than {} bytes", self.limits.header_bytes);
            return refuse(&head, body, answer(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, &why)).await;
        }
        if !has_one_host(&head) {
            let why = "there must be one Host header, and it must be well formed";
            return refuse(&head, body, closing(answer(StatusCode::BAD_REQUEST, why))).await;
        }
        let uri = head.uri.clone();
        let Some(found) = self.router.find(uri.path()) else {
            return refuse(&head, body, answer(StatusCode::NOT_FOUND, "nothing is served at this path")).await;
        };
        let target = Arc::clone(found.target);
        let required = target.requests.required_headers.iter();
        let missing: Vec<_> = required.filter(|name| !head.headers.contains_key(*name)).map(String::as_str).collect();
        // Without a body there is nothing to spare: what is missing may not be what is wrong.
        if !missing.is_empty() && !body.is_end_stream() {
            let why = format!("Required headers missing: {}", missing.join(", "));
            return refuse(&head, body, answer(StatusCode::BAD_REQUEST, &why)).await;
        }
        let limit = target.requests.max_body_bytes.unwrap_or(usize::MAX).min(self.limits.body_bytes);
        let too_long = || answer(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body is larger than {limit} bytes"));
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > limit as u64) {
            return refuse(&head, body, too_long()).await;
        }
        let terms = Terms { limit, pause: self.limits.body_deadline, least_rate: self.limits.body_rate };
        let whole = match Whole::read(&mut body, terms, &self.budget).await {
            Ok(whole) => whole,
            Err(BodyError::Late) => {
                return closing(answer(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"));
            }
            Err(BodyError::Broken) => return closing(answer(StatusCode::BAD_REQUEST, "the body ended early")),
            Err(BodyError::TooLong) => return refuse(&head, body, too_long()).await,
            Err(BodyError::Crowded) => return closing(busy("too many long bodies at once")),
        };
        if !connection.work() {
            return closing(busy("too many connections"));
        }
        let Some(permit) = target.permits.take() else { return busy("too many requests at once") };
        let client = self.proxies.client(peer, &mut head.headers);
        spin_headers::set(&mut head, &found, client);
        let id = &target.guest.id;
        match self.run(Arc::clone(&target.guest), Request::from_parts(head, whole), permit).await {
            Ok(response) => response,
            Err(Failure::Late(why)) => {
                tracing::error!(component = %id, "{why}");
                answer(StatusCode::GATEWAY_TIMEOUT, "the component did not answer in time")
            }
            Err(Failure::Full) => busy("too many requests at once"),
            Err(Failure::Guest(why)) => {
                tracing::error!(component = %id, "{why}");
                answer(StatusCode::INTERNAL_SERVER_ERROR, "the component failed")
            }
        }
    }

    /// Runs one instance for one request. It may continue after its answer, within the deadlines.
    async fn run(
        &self,
        guest: Arc<Guest>,
        request: Request<Whole>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Answer, Failure> {
        let mut store = guest.instance_state();
        let (sender, mut receiver) = oneshot::channel();
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
        let out = store.data_mut().http().new_response_outparam(sender)?;
        let instance = async move {
            // Given back after the store is gone, and with it the instance's place in the pool: locals are dropped in
            // the reverse order, and what the block has captured after them.
            let _permit = permit;
            let mut store = store;
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

/// The length of a request's line and headers, as they would be sent without needless blanks.
fn head_bytes(head: &Parts) -> usize {
    let uri = head.uri.path_and_query().map_or(1, |path| path.as_str().len());
    let line = head.method.as_str().len() + uri + " HTTP/1.1\r\n ".len();
    let headers = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    line + headers.sum::<usize>() + "\r\n".len()
}

/// Whether it is clear which host was asked. What stands in front of this host may read the first of two, or the last.
fn has_one_host(head: &Parts) -> bool {
    let mut hosts = head.headers.get_all(HOST).iter();
    matches!((hosts.next(), hosts.next()), (Some(host), None) if host.to_str().is_ok())
}

/// The body of an answer, with its connection's busy time.
pub(super) struct Sent {
    body: HyperOutgoingBody,
    _busy: Busy,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = <HyperOutgoingBody as Body>::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

enum Failure {
    /// The guest took too long.
    Late(String),
    /// There is no place for an instance.
    Full,
    /// The guest failed.
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
        if error.is::<PoolConcurrencyLimitError>() { Self::Full } else { Self::Guest(format!("{error:#}")) }
    }
}

/// Work that continues in a task of its own when nobody waits for it any more: it has answered, or the client went away.
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
