//! Bodies from the network, bounded in size and time.
//!
//! A request's body is read whole before anything is spent on the request: an instance never waits for a client. What it
//! takes meanwhile is a place among the connections and memory, and both have to be earned: the body must keep up a least
//! rate, and beyond its first [`FREE`] bytes it needs a share of the [budget](super::budget) of all bodies.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error;

use super::budget::{Budget, Exhausted, Share};

/// What every body may have without a share of the budget. The number of connections bounds it, and most bodies are
/// shorter, webhooks among them.
pub(super) const FREE: usize = 64 * 1024;
/// In steps of which a body takes its share and is kept.
const CHUNK: usize = 64 * 1024;

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

/// How fast a client has to send, and how much it may.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// The longest body, in bytes.
    pub(super) limit: usize,
    /// The longest pause, and what a client has on top of the time that the least rate gives it.
    pub(super) pause: Duration,
    /// Bytes per second.
    pub(super) least_rate: u32,
}

/// Why a body did not come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It came too slowly.
    Late,
    /// Its connection ended, or it is malformed.
    Broken,
    /// It is longer than the limit.
    TooLong,
    /// There is no memory for it now.
    Crowded,
}

impl From<Exhausted> for BodyError {
    fn from(Exhausted: Exhausted) -> Self {
        Self::Crowded
    }
}

/// A request's whole body, with its share of the budget.
pub(super) struct Whole {
    chunks: VecDeque<Bytes>,
    _share: Option<Share>,
}

impl Whole {
    /// Reads a body to its end.
    pub(super) async fn read<B>(mut body: B, terms: Terms, budget: &Arc<Budget>) -> Result<Self, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let begun = Instant::now();
        let mut received = Received::default();
        while !body.is_end_stream() {
            let earned = Duration::from_secs_f64(received.bytes as f64 / f64::from(terms.least_rate.max(1)));
            // Time that a body waited for memory is not its sender's.
            let due = (begun + received.waited + terms.pause + earned).min(Instant::now() + terms.pause);
            let frame = tokio::select! {
                biased;
                frame = tokio::time::timeout_at(due, body.frame()) => frame.map_err(|_| BodyError::Late)?,
                () = received.told_to_leave() => return Err(BodyError::Crowded),
            };
            let Some(frame) = frame else { break };
            let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
            if received.bytes + data.len() > terms.limit {
                return Err(BodyError::TooLong);
            }
            received.keep(data, budget).await?;
        }
        Ok(received.whole())
    }
}

/// What has come of a body so far.
#[derive(Default)]
struct Received {
    bytes: usize,
    chunks: VecDeque<Bytes>,
    // Its capacity is what small frames have in common: kept one by one they would take many times their size.
    tail: BytesMut,
    share: Option<Share>,
    shared: usize,
    waited: Duration,
}

impl Received {
    async fn keep(&mut self, data: Bytes, budget: &Arc<Budget>) -> Result<(), BodyError> {
        self.bytes += data.len();
        let wanted = self.bytes.saturating_sub(FREE);
        if wanted > self.shared {
            let more = (wanted - self.shared).next_multiple_of(CHUNK);
            let begun = Instant::now();
            self.share.get_or_insert_with(|| budget.share()).grow(more).await?;
            self.shared += more;
            self.waited += begun.elapsed();
        }
        if self.bytes == data.len() {
            // Nearly all bodies are one frame.
            self.chunks.push_back(data);
            return Ok(());
        }
        if self.tail.is_empty()
            && let Some(last) = self.chunks.pop_back_if(|last| last.len() < CHUNK / 2)
        {
            self.tail.extend_from_slice(&last);
        }
        self.tail.extend_from_slice(&data);
        if self.tail.len() >= CHUNK {
            self.chunks.push_back(std::mem::take(&mut self.tail).freeze());
        }
        Ok(())
    }

    /// Ends when this body has to give way to a shorter one.
    async fn told_to_leave(&self) {
        match &self.share {
            Some(share) => share.told_to_leave().await,
            None => std::future::pending().await,
        }
    }

    fn whole(mut self) -> Whole {
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.freeze());
        }
        if let Some(share) = &self.share {
            share.settle();
        }
        Whole { chunks: self.chunks, _share: self.share }
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(self.chunks.pop_front().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.chunks.iter().map(|chunk| chunk.len() as u64).sum())
    }
}

/// Reads a body without keeping it, so that its sender sees the answer: one that is cut off while it sends does not.
/// Bounded in bytes and time.
pub(super) async fn discard(mut body: Incoming) {
    const MOST: usize = 64 * 1024 * 1024;
    const LONGEST: Duration = Duration::from_secs(2);
    let reading = async {
        let mut bytes = 0;
        while bytes < MOST
            && let Some(Ok(frame)) = body.frame().await
        {
            bytes += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    let _ = tokio::time::timeout(LONGEST, reading).await;
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::sync::mpsc;

    use super::*;

    struct Sent(mpsc::Receiver<Bytes>);

    impl Body for Sent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.poll_recv(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
        }
    }

    const TERMS: Terms = Terms { limit: 1 << 20, pause: Duration::from_millis(200), least_rate: 100_000 };

    /// Sends parts with a pause before each; how reading them ends, and how long that takes.
    async fn read(
        parts: Vec<Bytes>,
        pause: Duration,
        budget: &Arc<Budget>,
    ) -> (Result<Vec<usize>, BodyError>, Duration) {
        let (sender, receiver) = mpsc::channel(1);
        let begun = Instant::now();
        let sending = tokio::spawn(async move {
            for part in parts {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                if sender.send(part).await.is_err() {
                    return;
                }
            }
        });
        let read = Whole::read(Sent(receiver), TERMS, budget).await;
        sending.abort();
        (read.map(|whole| whole.chunks.iter().map(Bytes::len).collect()), begun.elapsed())
    }

    fn parts(count: usize, bytes: usize) -> Vec<Bytes> {
        vec![Bytes::from(vec![b'x'; bytes]); count]
    }

    #[tokio::test]
    async fn small_parts_are_kept_together_and_one_alone_as_it_is() {
        let budget = Budget::new(1 << 20);
        let now = Duration::ZERO;
        assert_eq!(read(parts(1, 100), now, &budget).await.0, Ok(vec![100]));
        assert_eq!(read(parts(0, 0), now, &budget).await.0, Ok(vec![]));
        let chunks = read(parts(5000, 50), now, &budget).await.0.unwrap();
        assert_eq!(chunks.iter().sum::<usize>(), 250_000);
        assert!(chunks.len() <= 4, "{chunks:?}");
    }

    #[tokio::test]
    async fn a_body_has_a_length_and_a_least_rate() {
        let budget = Budget::new(1 << 22);
        let (read_long, _) = read(parts(3, 1 << 19), Duration::ZERO, &budget).await;
        assert_eq!(read_long, Err(BodyError::TooLong));
        // Never a pause of 200 ms, and too slow all the same.
        let (slow, took) = read(parts(100, 10), Duration::from_millis(50), &budget).await;
        assert_eq!(slow, Err(BodyError::Late));
        assert!((200..600).contains(&took.as_millis()), "{took:?}");
        // 20 kB each 50 ms is four times the least rate.
        assert!(read(parts(10, 20_000), Duration::from_millis(50), &budget).await.0.is_ok());
    }

    #[tokio::test]
    async fn the_budget_is_for_what_is_beyond_the_free_part() {
        let budget = Budget::new(CHUNK);
        assert!(read(parts(1, FREE), Duration::ZERO, &budget).await.0.is_ok());
        assert!(read(parts(2, FREE), Duration::ZERO, &budget).await.0.is_ok());
        let (crowded, _) = read(parts(3, FREE), Duration::ZERO, &budget).await;
        assert_eq!(crowded, Err(BodyError::Crowded));
        assert!(read(parts(2, FREE), Duration::ZERO, &budget).await.0.is_ok(), "what it had is free again");
    }
}
