//! A request into a component, and its answer out.

use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::request::Request;
use spin_sdk::http::{IncomingRequest, ResponseOutparam};
use spin_sdk::wit::wasi::http0_2_0::types::{Fields, IncomingBody, Method, OutgoingBody, OutgoingResponse};
use wasi::io::streams::StreamError;

use crate::Spin;
use crate::outbound::write_all;

/// Reads the request, lets `flow` answer it, logs one JSON line about that on stdout, and sends the answer.
///
/// A body of more than `body_limit` bytes gets 413 without being kept.
pub fn serve(
    event: &str,
    body_limit: usize,
    request: IncomingRequest,
    out: ResponseOutparam,
    flow: impl FnOnce(&Spin, &Request) -> Answer,
) {
    let answer = match read(&request, body_limit) {
        Ok(request) => flow(&Spin::default(), &request),
        Err(ReadError::TooLarge) => Answer::error(413, format!("the body is larger than {body_limit} bytes")),
        Err(ReadError::Broken) => Answer::error(400, "the body ended early"),
    };
    println!("{}", answer.log_line(event));
    send(&answer, out);
}

enum ReadError {
    TooLarge,
    Broken,
}

fn read(incoming: &IncomingRequest, body_limit: usize) -> Result<Request, ReadError> {
    let headers = incoming.headers().entries();
    let target = incoming.path_with_query().unwrap_or_default();
    let mut request = Request { method: method_of(incoming), target, headers, body: Vec::new() };
    // Only POST is ever served with a body; what comes with another method is not worth reading.
    if request.method != "POST" {
        return Ok(request);
    }
    let announced = request.header("content-length").and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| usize::try_from(length).is_ok_and(|length| length > body_limit)) {
        return Err(ReadError::TooLarge);
    }
    let body = incoming.consume().map_err(|()| ReadError::Broken)?;
    request.body = match read_body(&body, body_limit, || true) {
        Read::Whole(bytes) => bytes,
        Read::TooLarge => return Err(ReadError::TooLarge),
        Read::Broken | Read::Late => return Err(ReadError::Broken),
    };
    Ok(request)
}

fn method_of(request: &IncomingRequest) -> String {
    let known = match request.method() {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(other) => return other,
    };
    known.to_owned()
}

/// What came of reading a body.
pub(crate) enum Read {
    Whole(Vec<u8>),
    TooLarge,
    Broken,
    Late,
}

const CHUNK: u64 = 64 * 1024;

/// Reads a body to its end, at most `limit` bytes, while `go_on` holds.
pub(crate) fn read_body(body: &IncomingBody, limit: usize, go_on: impl Fn() -> bool) -> Read {
    let Ok(stream) = body.stream() else { return Read::Broken };
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(CHUNK) {
            Ok(chunk) if bytes.len() + chunk.len() > limit => return Read::TooLarge,
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(StreamError::Closed) => return Read::Whole(bytes),
            Err(StreamError::LastOperationFailed(_)) => return Read::Broken,
        }
        if !go_on() {
            return Read::Late;
        }
    }
}

fn send(answer: &Answer, out: ResponseOutparam) {
    let (kind, body) = answer.content();
    let headers = Fields::new();
    let set = |name: &str, value: &[u8]| {
        // Names and values are ours; one that is refused is not worth losing the answer for.
        let _ = headers.set(name, &[value.to_vec()]);
    };
    set("content-type", kind.as_bytes());
    set("content-length", body.len().to_string().as_bytes());
    for (name, value) in &answer.headers {
        // Several of one name, such as cookies, all go out.
        let _ = headers.append(name, value.as_bytes());
    }
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(answer.status);
    let outgoing = response.body();
    out.set(response);
    if let Ok(outgoing) = outgoing
        && write_all(&outgoing, &body).is_ok()
    {
        let _ = OutgoingBody::finish(outgoing, None);
    }
}
