//! Bodies from the network, bounded in size and time.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error;

/// What is read of a body before an instance is spent on it.
const FIRST_PART: usize = 64 * 1024;

/// A body that ends with an error when its sender pauses for too long.
pub(super) struct Paced<B> {
    body: B,
    pause: Duration,
    // Set once there is something to wait for: most bodies come whole.
    wait: Option<Pin<Box<Sleep>>>,
    late: fn() -> Error,
}

impl<B> Paced<B> {
    /// `late` is the error after `pause` without a frame.
    pub(super) fn new(body: B, pause: Duration, late: fn() -> Error) -> Self {
        Self { body, pause, wait: None, late }
    }
}

impl<B: Body<Data = Bytes, Error = Error> + Unpin> Body for Paced<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.wait = None;
            return Poll::Ready(frame);
        }
        let pause = self.pause;
        let wait = self.wait.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + pause)));
        ready!(wait.as_mut().poll(cx));
        Poll::Ready(Some(Err((self.late)())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Why a body did not come.
pub(super) enum BodyError {
    Late,
    Broken,
}

/// A request's body of which the first part is here: whole, for nearly all requests.
pub(super) struct Begun {
    first: Bytes,
    rest: Option<Incoming>,
}

impl Begun {
    /// Reads the first part within `deadline`. A client that takes its time does so before it costs an instance.
    pub(super) async fn read(mut body: Incoming, deadline: Duration) -> Result<Self, BodyError> {
        let reading = async {
            let mut first = Bytes::new();
            let mut more = BytesMut::new();
            while first.len() + more.len() < FIRST_PART {
                let Some(frame) = body.frame().await else {
                    return Ok(Self { first: joined(first, more), rest: None });
                };
                let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
                if first.is_empty() {
                    first = data;
                } else {
                    more.extend_from_slice(&data);
                }
            }
            Ok(Self { first: joined(first, more), rest: Some(body) })
        };
        tokio::time::timeout(deadline, reading).await.map_err(|_| BodyError::Late)?
    }
}

fn joined(first: Bytes, more: BytesMut) -> Bytes {
    if more.is_empty() {
        return first;
    }
    let mut whole = BytesMut::with_capacity(first.len() + more.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&more);
    whole.freeze()
}

impl Body for Begun {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.first)))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Error::from))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }
}
