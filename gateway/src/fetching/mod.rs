//! Launches that are fetched from the app, by a gateway that nothing reaches from outside.
//!
//! The gateway asks every second or so, in one exchange that carries both ways (`gha_slurm_protocol::exchange`): it says
//! how many launches it takes and what became of those that it has; the app answers with launches, each under a lease, and
//! with those to cancel. Everything else goes on beside the exchanges: launches are submitted ([`lease`]) by the same
//! [`Service`] and under the same rules as those that are sent, and Slurm is asked what became of them ([`watch`]).
//!
//! What is to be told stands in the launch index until the app has it, so a crash or an app that is away loses nothing.
//! What must never happen: a submission outside its lease, which may be another gateway's by then; a launch reported as
//! not submitted that Slurm has; the secret sent to anybody but `app.url`.

mod answer;
mod batch;
mod cancel;
mod client;
pub(crate) mod connector;
mod lease;
mod metrics;
mod pace;
mod watch;

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gha_slurm_protocol::exchange::{Exchange, MOST_LAUNCHES};
use gha_slurm_protocol::identity::LaunchId;
use thiserror::Error;
use tokio::sync::{Semaphore, watch as flag};
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

use self::answer::{Answer, Order};
use self::batch::{Batch, fitting};
pub(crate) use self::client::{Client, ExchangeError};
use self::lease::Lease;
pub(crate) use self::metrics::Metrics;
use self::metrics::Now;
use self::pace::Pace;
use crate::config::{ConfigError, Fetching};
use crate::launch::Launch;
use crate::service::Service;

/// So many launches are submitted at the same time. slurmrestd's own share stays the smaller one.
const MOST_SUBMISSIONS: usize = 16;
/// So many cancels are carried out at the same time.
const MOST_CANCELS: usize = 8;

/// So long the end of the gateway waits for an exchange.
const LAST_EXCHANGE: Duration = Duration::from_secs(5);

/// How long things take. The defaults are the program's; tests have shorter ones.
#[derive(Debug, Clone)]
pub struct Timing {
    /// From one exchange to the next, in place of `app.pollSeconds`.
    pub poll: Option<Duration>,
    /// After the first exchange that failed; doubled with each one.
    pub retry: Duration,
    /// The most of that.
    pub longest_retry: Duration,
    /// From one look at the living Slurm jobs to the next.
    pub watch: Duration,
    /// After the first attempt that left open whether something was done; doubled with each one.
    pub attempt_again: Duration,
    /// The most of that.
    pub longest_attempt_again: Duration,
    /// How often the app is told how long the queue is.
    pub queue: Duration,
    /// What the end of the gateway waits for: for what is being submitted.
    pub ending: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            poll: None,
            retry: Duration::from_secs(2),
            longest_retry: Duration::from_secs(60),
            watch: Duration::from_secs(20),
            attempt_again: Duration::from_secs(2),
            longest_attempt_again: Duration::from_secs(10),
            queue: Duration::from_secs(30),
            ending: Duration::from_secs(20),
        }
    }
}

/// What the tasks of a fetching gateway share.
struct Shared {
    service: Arc<Service>,
    timing: Timing,
    cluster: String,
    places: Semaphore,
    cancels: Semaphore,
    /// Launches that are being submitted, or looked for.
    in_hand: Hands,
    /// Those that are being cancelled.
    cancelling: Hands,
    closing: flag::Sender<bool>,
}

impl Shared {
    /// Waits until the gateway ends.
    async fn closed(&self, closing: &mut flag::Receiver<bool>) {
        // An error means that nobody can tell any more, which is the end as well.
        let _ = closing.wait_for(|closed| *closed).await;
    }
}

/// Launches that somebody works on, each of them one only.
#[derive(Clone, Default)]
struct Hands(Arc<Mutex<HashSet<LaunchId>>>);

impl Hands {
    fn lock(&self) -> MutexGuard<'_, HashSet<LaunchId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if somebody works on it already.
    fn take(&self, launch: LaunchId) -> Option<Held> {
        self.lock().insert(launch).then(|| Held { hands: self.clone(), launch })
    }
}

/// A launch that is worked on, until this is dropped.
struct Held {
    hands: Hands,
    launch: LaunchId,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.hands.lock().remove(&self.launch);
    }
}

/// Why an exchange came to nothing.
#[derive(Debug, Error)]
enum Trouble {
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error("the launch index failed: {0}")]
    Index(#[from] rusqlite::Error),
}

impl Trouble {
    fn name(&self) -> &'static str {
        match self {
            Self::Exchange(error) => error.name(),
            Self::Index(_) => "index",
        }
    }
}

/// A gateway that fetches.
pub struct Fetcher {
    shared: Arc<Shared>,
    client: Client,
    /// As it was at the start. What a reload changes is asked of the service.
    fetching: Fetching,
    gateway: String,
    pace: Pace,
    batch: Batch,
    queue_told: Option<Instant>,
    /// What the log was told last, while it lasts.
    trouble: Option<&'static str>,
    /// The public URL that the app told last.
    public_url: Option<Url>,
    tasks: JoinSet<()>,
}

impl Fetcher {
    /// By a service's configuration; `None` when that fetches nothing. Nothing is sent yet.
    pub fn new(service: &Arc<Service>, timing: Timing) -> Result<Option<Self>, ConfigError> {
        let Some(fetching) = service.config().fetching.clone() else { return Ok(None) };
        let client = Client::new(&fetching)?;
        let pace = Pace::new(&timing);
        let shared = Shared {
            service: Arc::clone(service),
            timing,
            cluster: fetching.cluster.to_string(),
            places: Semaphore::new(MOST_SUBMISSIONS),
            cancels: Semaphore::new(MOST_CANCELS),
            in_hand: Hands::default(),
            cancelling: Hands::default(),
            closing: flag::channel(false).0,
        };
        Ok(Some(Self {
            shared: Arc::new(shared),
            client,
            fetching,
            gateway: own_name(),
            pace,
            batch: Batch::default(),
            queue_told: None,
            trouble: None,
            public_url: None,
            tasks: JoinSet::new(),
        }))
    }

    /// Where from and as what it fetches, for people.
    pub fn describe(&self) -> String {
        format!("fetching launches from {} as cluster {}", self.fetching.url, self.fetching.cluster)
    }

    /// Fetches until `stop`; then what is being submitted comes to its end, and the app is told of it once.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tracing::info!("{}", self.describe());
        let watching = tokio::spawn(watch::watch(Arc::clone(&self.shared)));
        let mut stop = pin!(stop);
        loop {
            let begun = Instant::now();
            let exchanged = {
                let mut exchange = pin!(self.exchange(true));
                tokio::select! {
                    exchanged = &mut exchange => exchanged,
                    () = &mut stop => {
                        // It may hand out launches, which then are given back at once.
                        let _ = tokio::time::timeout(LAST_EXCHANGE, exchange).await;
                        break;
                    }
                }
            };
            let next = begun + self.after(&exchanged);
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = &mut stop => break,
            }
        }
        self.end().await;
        watching.abort();
    }

    async fn end(mut self) {
        self.shared.closing.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.shared.timing.ending, all).await.is_err() {
            tracing::warn!("what is being submitted is left to the next start");
        }
        let last = tokio::time::timeout(LAST_EXCHANGE, self.exchange(false)).await;
        if !matches!(last, Ok(Ok(()))) {
            tracing::warn!("the last reports are left to the next start");
        }
    }

    /// As configured now.
    fn fetching_now(&self) -> Fetching {
        self.shared.service.config().fetching.clone().unwrap_or_else(|| self.fetching.clone())
    }

    /// One exchange, from what there is to say to the tasks that carry out what the app answers.
    async fn exchange(&mut self, takes: bool) -> Result<(), Trouble> {
        while self.tasks.try_join_next().is_some() {}
        let (shared, fetching) = (Arc::clone(&self.shared), self.fetching_now());
        let index = shared.service.index();
        let outstanding = fitting(index.outstanding(self.batch.most()).await?);
        let living = index.count_living().await?;
        let leased = shared.in_hand.lock().len();
        let queue_due = self.queue_told.is_none_or(|told| told.elapsed() >= shared.timing.queue);
        let queue = if queue_due { Some(index.queue_length().await?) } else { None };
        let room = if takes { room(fetching.at_most, living, leased) } else { 0 };
        let reports = outstanding.iter().map(|one| one.report.clone()).collect();
        let said = Exchange { gateway: self.gateway.clone(), room, reports, queue };
        let asked = Instant::now();
        let answered = self.client.exchange(&said, &fetching.secret).await;
        let result = answered.as_ref().map_or_else(ExchangeError::name, |_| "ok");
        let waiting = leased.saturating_sub(MOST_SUBMISSIONS - shared.places.available_permits());
        shared.service.exchanges.count(result, Now { leased, waiting, living, reports: outstanding.len() });
        let answer = match answered {
            Ok(answer) => answer,
            Err(error) => {
                if let Some(dropped) = self.batch.failed(&error, outstanding) {
                    tracing::error!(launch = %dropped.report.launch, "a report is dropped: the app does not take it");
                    index.delivered(vec![dropped]).await?;
                }
                return Err(error.into());
            }
        };
        self.compare(answer.public_url.as_ref());
        self.batch.taken();
        let (again, taken): (Vec<_>, Vec<_>) =
            outstanding.into_iter().partition(|one| answer.not_taken.contains(&one.report.launch));
        index.put_off(again).await?;
        index.delivered(taken).await?;
        if queue_due {
            self.queue_told = Some(asked);
        }
        let room = usize::try_from(room).unwrap_or_default();
        self.carry_out(answer, room, asked).await?;
        Ok(())
    }

    /// Tells the log once if launch tokens are exchanged elsewhere than `app.url` allows.
    fn compare(&mut self, public_url: Option<&Url>) {
        if self.public_url.as_ref() == public_url {
            return;
        }
        self.public_url = public_url.cloned();
        let config = self.shared.service.config();
        if let Some(problem) = config.app.as_ref().zip(public_url).and_then(|(urls, url)| urls.differ_from(url)) {
            tracing::warn!("{problem}");
        }
    }

    async fn carry_out(&mut self, answer: Answer, room: usize, asked: Instant) -> rusqlite::Result<()> {
        for id in answer.cancel {
            let Some(held) = self.shared.cancelling.take(id) else { continue };
            let shared = Arc::clone(&self.shared);
            self.tasks.spawn(async move {
                shared.cancel(id).await;
                drop(held);
            });
        }
        for order in answer.launches.into_iter().take(room) {
            let (Order::Launch(id, _) | Order::NotUnderstood(id, _)) = order;
            // Before it is written down, so that the watch lets it be.
            let Some(held) = self.shared.in_hand.take(id) else { continue };
            let launch = match order {
                Order::NotUnderstood(_, why) => Err(why),
                Order::Launch(_, leased) => Launch::try_from(leased.start)
                    .map(|launch| Lease::new(id, launch, (asked, leased.lease_seconds), leased.again))
                    .map_err(|rejected| rejected.to_string()),
            };
            let lease = match launch {
                Ok(lease) => lease,
                Err(why) => {
                    self.shared.refuse(id, &why).await;
                    continue;
                }
            };
            self.shared.service.index().fetched(&id.to_string()).await?;
            let shared = Arc::clone(&self.shared);
            self.tasks.spawn(async move {
                shared.carry_out(lease).await;
                drop(held);
            });
        }
        Ok(())
    }

    /// What the log hears of an exchange, and how long after its beginning the next one begins.
    fn after(&mut self, exchanged: &Result<(), Trouble>) -> Duration {
        match exchanged {
            Ok(()) => {
                if self.trouble.take().is_some() {
                    tracing::info!("exchanges with the app work again");
                }
                let poll = self.fetching_now().poll;
                self.pace.good(self.shared.timing.poll.unwrap_or(poll))
            }
            Err(trouble) => {
                if self.trouble.replace(trouble.name()) != Some(trouble.name()) {
                    match trouble {
                        Trouble::Exchange(error) if !error.needs_somebody() => {
                            tracing::warn!(%error, "no exchange with the app");
                        }
                        error => tracing::error!(%error, "no exchange with the app"),
                    }
                }
                let asked = match trouble {
                    Trouble::Exchange(error) => error.wait(),
                    Trouble::Index(_) => None,
                };
                self.pace.failed(asked)
            }
        }
    }
}

/// How many launches are taken now: no more than are submitted soon, and than may live.
fn room(at_most: Option<u32>, living: u32, leased: usize) -> u32 {
    let soon = u32::try_from(MOST_LAUNCHES.saturating_sub(leased)).unwrap_or(0);
    at_most.map_or(soon, |at_most| soon.min(at_most.saturating_sub(living)))
}

/// The machine's name, for people.
pub(crate) fn own_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || "-_.".contains(*letter);
    name.to_string_lossy().chars().filter(plain).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_is_submitted_soon_and_may_live() {
        assert_eq!((room(None, 5000, 0), room(None, 0, 60), room(None, 0, 99)), (64, 4, 0));
        assert_eq!((room(Some(200), 0, 0), room(Some(200), 190, 3), room(Some(200), 250, 0)), (64, 10, 0));
    }
}
