//! A connection whose other side has to take what it is sent.
//!
//! A client that asks and does not read would otherwise keep its connection, and an instance as long as that may run. So
//! the time that writing waits is counted, and what is written earns some of it back; past the patience the connection
//! ends. What fits into the kernel's buffer, nearly every answer, never waits.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Counts how long writing waits.
pub(super) struct PacedWrites<S> {
    stream: S,
    patience: Duration,
    /// Bytes per second that earn back the time.
    least_rate: u32,
    waited: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<S> PacedWrites<S> {
    pub(super) fn new(stream: S, patience: Duration, least_rate: u32) -> Self {
        Self { stream, patience, least_rate: least_rate.max(1), waited: Duration::ZERO, waiting: None }
    }

    fn pace(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            if let Some((since, _)) = self.waiting.take() {
                self.waited += since.elapsed();
            }
            if let Ok(bytes) = written {
                let earned = Duration::from_secs_f64(bytes as f64 / f64::from(self.least_rate));
                self.waited = self.waited.saturating_sub(earned);
            }
            return Poll::Ready(written);
        }
        let left = self.patience.saturating_sub(self.waited);
        let begin = || (Instant::now(), Box::pin(tokio::time::sleep(left)));
        let (_, timer) = self.waiting.get_or_insert_with(begin);
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take its answer")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PacedWrites<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PacedWrites<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.pace(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.pace(cx, written)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn who_takes_nothing_or_too_little_is_cut_off() {
        for taken in [0, 1] {
            let (ours, mut theirs) = tokio::io::duplex(64);
            let reading = tokio::spawn(async move {
                let mut buffer = [0];
                loop {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    if taken > 0 && theirs.read(&mut buffer).await.unwrap() == 0 {
                        return;
                    }
                }
            });
            let begun = Instant::now();
            let error = PacedWrites::new(ours, PATIENCE, 1000).write_all(&[0; 10_000]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(begun.elapsed() >= PATIENCE && begun.elapsed() < 10 * PATIENCE, "{:?}", begun.elapsed());
            reading.abort();
        }
    }

    #[tokio::test]
    async fn who_keeps_up_the_rate_has_all_the_time_he_needs() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let reading = tokio::spawn(async move {
            let mut buffer = [0; 50];
            while theirs.read(&mut buffer).await.unwrap() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        PacedWrites::new(ours, PATIENCE, 1000).write_all(&[0; 1500]).await.unwrap();
        reading.await.unwrap();
    }
}
