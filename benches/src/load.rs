//! Connections that each send one request after the other, and what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

/// Makes the next request; `None` when there is no other one.
pub(crate) type Requests = Arc<dyn Fn() -> Option<Request<Full<Bytes>>> + Send + Sync>;

/// What was measured.
pub(crate) struct Load {
    /// How long it took.
    pub(crate) elapsed: Duration,
    /// Of each answered request, shortest first.
    pub(crate) latencies: Vec<Duration>,
    /// How many answers had which status.
    pub(crate) statuses: Vec<(u16, usize)>,
}

impl Load {
    /// Answers per second.
    pub(crate) fn per_second(&self) -> f64 {
        as_f64(self.latencies.len()) / self.elapsed.as_secs_f64()
    }

    /// The latency that `share` of all do not exceed.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let count = self.latencies.len();
        let index = (0..count).find(|index| as_f64(index + 1) >= as_f64(count) * share).unwrap_or(0);
        self.latencies.get(index).copied().unwrap_or_default()
    }
}

/// Counts here are far below what an f64 holds exactly.
pub(crate) fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// Sends requests over `connections` for `period`.
pub(crate) async fn run(base: &Url, connections: usize, period: Duration, requests: Requests) -> anyhow::Result<Load> {
    let address =
        base.socket_addrs(|| None)?.into_iter().next().ok_or_else(|| anyhow::anyhow!("no address: {base}"))?;
    let mut senders = Vec::new();
    for _ in 0..connections {
        senders.push(connect(address).await?);
    }
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for mut sender in senders {
        let requests = Arc::clone(&requests);
        tasks.spawn(async move {
            let mut answers = Vec::new();
            while begun.elapsed() < period
                && let Some(request) = requests()
            {
                let sent = Instant::now();
                let answer = exchange(&mut sender, request).await;
                let status = match answer {
                    Ok(status) => status,
                    Err(_) => {
                        sender = connect(address).await?;
                        0
                    }
                };
                answers.push((sent.elapsed(), status));
            }
            anyhow::Ok(answers)
        });
    }
    let mut latencies = Vec::new();
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    while let Some(answers) = tasks.join_next().await {
        for (latency, status) in answers?? {
            latencies.push(latency);
            *statuses.entry(status).or_default() += 1;
        }
    }
    let elapsed = begun.elapsed();
    latencies.sort_unstable();
    Ok(Load { elapsed, latencies, statuses: statuses.into_iter().collect() })
}

async fn connect(address: std::net::SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn exchange(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> anyhow::Result<u16> {
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    response.into_body().collect().await?;
    Ok(status)
}
