//! Outbound HTTP with a deadline.
//!
//! A component has no timer of its own: a deadline is made of the three time-outs of `wasi:http`, which the host keeps,
//! and a look at the clock between two reads. Their shares add up to no more than the whole.

use std::time::Instant;

use gha_slurm_core::ports::{Http, HttpMethod, HttpRequest, HttpResponse, MAX_RESPONSE_BYTES, SendError};
use spin_sdk::wit::wasi::http0_2_0::outgoing_handler;
use spin_sdk::wit::wasi::http0_2_0::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions,
    Scheme,
};

use wasi::io::streams::OutputStream;

use crate::Spin;
use crate::inbound::{Read, read_body};

impl Http for Spin {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, SendError> {
        Exchange::begin(request).end()
    }

    fn send_many(&self, requests: &[HttpRequest]) -> Vec<Result<HttpResponse, SendError>> {
        // The host works on all that was begun; the answers may be read one after the other.
        let begun: Vec<Exchange<'_>> = requests.iter().map(Exchange::begin).collect();
        begun.into_iter().map(Exchange::end).collect()
    }
}

/// A request under way.
struct Exchange<'a> {
    request: &'a HttpRequest,
    begun: Instant,
    response: Result<FutureIncomingResponse, ErrorCode>,
}

impl<'a> Exchange<'a> {
    fn begin(request: &'a HttpRequest) -> Self {
        Self { request, begun: Instant::now(), response: begin(request) }
    }

    fn end(self) -> Result<HttpResponse, SendError> {
        let Self { request, begun, response } = self;
        let response = response.and_then(|future| await_response(&future)).map_err(|code| match code {
            ErrorCode::HttpRequestDenied => SendError::NotAllowed,
            ErrorCode::ConnectionTimeout | ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => {
                SendError::Deadline(request.deadline)
            }
            ErrorCode::ConnectionRefused => SendError::Broken("the connection was refused".to_owned()),
            other => SendError::Broken(other.to_string()),
        })?;
        let headers = response
            .headers()
            .entries()
            .into_iter()
            .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
            .collect();
        let status = response.status();
        let body = response.consume().map_err(|()| SendError::Broken("an answer without a body".to_owned()))?;
        let reading_ends = request.deadline * 7 / 8;
        match read_body(&body, MAX_RESPONSE_BYTES, || begun.elapsed() < reading_ends) {
            Read::Whole(body) => Ok(HttpResponse { status, headers, body }),
            Read::TooLarge => Err(SendError::TooLarge),
            Read::Late => Err(SendError::Deadline(request.deadline)),
            Read::Broken => Err(SendError::Broken("the answer broke off or stalled".to_owned())),
        }
    }
}

fn begin(request: &HttpRequest) -> Result<FutureIncomingResponse, ErrorCode> {
    let headers = Fields::new();
    let set = |name: &str, value: &str| {
        headers
            .set(name, &[value.as_bytes().to_vec()])
            .map_err(|_| ErrorCode::InternalError(Some(format!("the header {name} cannot be sent"))))
    };
    for (name, value) in &request.headers {
        set(name, value)?;
    }
    if request.method != HttpMethod::Get {
        set("content-length", &request.body.len().to_string())?;
    }
    let outgoing = OutgoingRequest::new(headers);
    let method = match request.method {
        HttpMethod::Get => Method::Get,
        HttpMethod::Post => Method::Post,
        HttpMethod::Delete => Method::Delete,
    };
    let scheme = if request.url.scheme() == "https" { Scheme::Https } else { Scheme::Http };
    let path = match request.url.query() {
        Some(query) => format!("{}?{query}", request.url.path()),
        None => request.url.path().to_owned(),
    };
    let malformed = |()| ErrorCode::HttpRequestUriInvalid;
    outgoing.set_method(&method).map_err(malformed)?;
    outgoing.set_scheme(Some(&scheme)).map_err(malformed)?;
    outgoing.set_authority(Some(request.url.authority())).map_err(malformed)?;
    outgoing.set_path_with_query(Some(&path)).map_err(malformed)?;

    let body = outgoing.body().map_err(malformed)?;
    let response = outgoing_handler::handle(outgoing, Some(options(request)))?;
    // A failed write shows in the response as well, with a better reason.
    if write_at_once(&body, &request.body).is_ok() {
        let _ = OutgoingBody::finish(body, None);
    }
    Ok(response)
}

fn await_response(response: &FutureIncomingResponse) -> Result<IncomingResponse, ErrorCode> {
    response.subscribe().block();
    match response.get() {
        Some(Ok(result)) => result,
        _ => Err(ErrorCode::InternalError(Some("no response".to_owned()))),
    }
}

/// Shares of the deadline: 1/4 to connect, 1/2 to the first byte, 1/8 from one to the next.
fn options(request: &HttpRequest) -> RequestOptions {
    let nanos = |share: u32| u64::try_from((request.deadline * share / 8).as_nanos()).ok();
    let options = RequestOptions::new();
    let _ = options.set_connect_timeout(nanos(2));
    let _ = options.set_first_byte_timeout(nanos(4));
    let _ = options.set_between_bytes_timeout(nanos(1));
    options
}

/// Hands a short body to the host without waiting for a connection, so that the next request can begin; a long one is
/// written as fast as it is sent.
fn write_at_once(body: &OutgoingBody, bytes: &[u8]) -> Result<(), ()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let stream = body.write()?;
    let room = stream.check_write().map_err(|_| ())?;
    if usize::try_from(room).is_ok_and(|room| room >= bytes.len()) {
        return stream.write(bytes).map_err(|_| ());
    }
    write_chunks(&stream, bytes)
}

/// The most that `blocking-write-and-flush` takes at once.
const WRITE_CHUNK: usize = 4096;

pub(crate) fn write_all(body: &OutgoingBody, bytes: &[u8]) -> Result<(), ()> {
    write_chunks(&body.write()?, bytes)
}

fn write_chunks(stream: &OutputStream, bytes: &[u8]) -> Result<(), ()> {
    bytes.chunks(WRITE_CHUNK).try_for_each(|chunk| stream.blocking_write_and_flush(chunk)).map_err(|_| ())
}
