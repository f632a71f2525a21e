//! What is known of clusters, and of launches on their way to one.

use gha_slurm_protocol::exchange::QueueLength;
use gha_slurm_protocol::identity::{ClusterName, LaunchId};
use gha_slurm_protocol::slurm_job::SlurmJob;
use serde::{Deserialize, Serialize};

use super::facts::LaunchFacts;
use super::keys::{self, LaunchAttempts, LaunchFact, OrderList};
use super::records::Values;
use super::{Attempts, Course, Ledger, Lost, LostReason, Requested, encode, read, write};
use crate::launch_token::CLOCK_TOLERANCE_SECONDS;
use crate::ports::{Clock, Store, StoreError};
use crate::text::Text;

/// When a cluster was last heard of. It is a hint, written now and then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// When, in seconds of Unix time.
    pub at: u64,
    /// Its gateways that fetched lately, the last one first.
    #[serde(default)]
    pub gateways: Vec<HeardGateway>,
}

/// When a gateway that fetches was last heard of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardGateway {
    /// Its own name.
    pub name: String,
    /// When, in seconds of Unix time.
    pub at: u64,
    /// How long its queue was when it last told.
    #[serde(default)]
    pub queue: Option<QueueLength>,
}

/// A gateway that was not heard of for so long has no queue that counts.
const LATELY_SECONDS: u64 = 5 * 60;
/// More gateways of one cluster are not kept.
const MOST_GATEWAYS: usize = 8;
/// How often it is written down that a gateway asks.
const HEARD_SECONDS: u64 = 20;
/// One that asks is heard of so often, whichever replica's clock wrote that down.
const ASKS_SECONDS: u64 = 60 + CLOCK_TOLERANCE_SECONDS;

impl Heard {
    /// The same after a gateway was heard of; `queue` if it told of it.
    #[must_use]
    pub fn with(mut self, gateway: &str, queue: Option<QueueLength>, now: u64) -> Self {
        let before = self.gateways.iter().find(|one| one.name == gateway).and_then(|one| one.queue);
        self.gateways.retain(|one| one.name != gateway && now < one.at.saturating_add(LATELY_SECONDS));
        self.gateways.insert(0, HeardGateway { name: gateway.to_owned(), at: now, queue: queue.or(before) });
        self.gateways.truncate(MOST_GATEWAYS);
        Self { at: now, ..self }
    }

    /// Whether it is to be written down that a gateway asks now, and what it tells of its queue.
    pub fn is_news(&self, gateway: &str, queue: Option<QueueLength>, now: u64) -> bool {
        match self.gateways.iter().find(|one| one.name == gateway) {
            Some(known) => now >= known.at.saturating_add(HEARD_SECONDS) || queue.is_some_and(|_| queue != known.queue),
            None => self.gateways.len() < MOST_GATEWAYS || now >= self.at.saturating_add(HEARD_SECONDS),
        }
    }

    /// Whether one of its gateways asks, as far as is known.
    pub fn asks(&self, gateway: &str, now: u64) -> bool {
        self.gateways.iter().any(|one| one.name == gateway && now < one.at.saturating_add(ASKS_SECONDS))
    }

    /// How long the queues of its gateways are together, if any of them tells.
    pub fn queue(&self) -> Option<QueueLength> {
        self.gateways.iter().filter_map(|one| one.queue).reduce(|all, one| QueueLength {
            pending: all.pending.saturating_add(one.pending),
            running: all.running.saturating_add(one.running),
        })
    }
}

/// The launch waits for a gateway that fetches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// Its number among the orders of its cluster.
    pub order: i64,
    /// The attempt to submit it that this is.
    pub attempt: u64,
    /// Since when, in seconds of Unix time.
    pub at: u64,
}

/// A gateway may submit the launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leased {
    /// Which gateway, by its own name.
    pub gateway: String,
    /// The number of the lease, from 1.
    pub number: u64,
    /// When it began, in seconds of Unix time.
    pub at: u64,
}

/// What Slurm said of a launch's Slurm job last. It is shown, and only an end that it tells decides anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its state in Slurm's word.
    pub state: Text,
    /// Slurm's reason for that.
    #[serde(default)]
    pub reason: Text,
    /// When Slurm expects to start it, in seconds of Unix time: an estimate.
    #[serde(default)]
    pub starts_at: Option<u64>,
    /// Its place among those that wait for its partition, from 1.
    #[serde(default)]
    pub position: Option<u32>,
    /// When this was told, in seconds of Unix time.
    pub at: u64,
}

impl Told {
    /// What a gateway said now.
    pub fn now(slurm_job: &SlurmJob, clock: &impl Clock) -> Self {
        let at = clock.unix_seconds();
        Self {
            state: Text::of(&slurm_job.state),
            reason: slurm_job.reason.as_deref().map(Text::of).unwrap_or_default(),
            starts_at: slurm_job.starts_in.map(|seconds| at.saturating_add(seconds)),
            position: slurm_job.position,
            at,
        }
    }
}

impl<P: Store + Clock> Ledger<'_, P> {
    /// The cluster of a launch; `None` where its job needed none by name.
    ///
    /// It is written down before the launch is handed to anybody. Before that it is the first of its job's, or for each
    /// launch that was moved the next one.
    pub fn cluster_of(&self, launch: LaunchId, requested: &Requested) -> Result<Option<ClusterName>, StoreError> {
        match requested.clusters.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(only.clone())),
            several => match self.launch(launch).cluster()? {
                Some(written) => Ok(Some(written)),
                None => {
                    let moved = self.moves(launch)?;
                    Ok(several.iter().cycle().nth(moved).cloned())
                }
            },
        }
    }

    /// How many launches before this one were moved.
    pub fn moves(&self, launch: LaunchId) -> Result<usize, StoreError> {
        let mut moved = 0;
        // A number may be anybody's word, and no launch has a higher one.
        for number in Course::numbers().take_while(|number| *number < launch.number) {
            let lost = self.launch(LaunchId { number, ..launch }).lost()?;
            moved += usize::from(lost.is_some_and(|lost| lost.reason == LostReason::Moved));
        }
        Ok(moved)
    }

    /// When a cluster was last heard of.
    pub fn heard(&self, cluster: &ClusterName) -> Result<Option<Heard>, StoreError> {
        read(self.0, &keys::cluster_heard(cluster))
    }

    /// When clusters were last heard of, in their order. What cannot be read counts as never.
    pub fn heard_of(&self, clusters: &[ClusterName]) -> Result<Vec<Option<Heard>>, StoreError> {
        let keys: Vec<String> = clusters.iter().map(keys::cluster_heard).collect();
        let values = self.0.get_many(&keys)?;
        Ok(values.into_iter().map(|value| serde_json::from_slice(&value?).ok()).collect())
    }

    /// The clusters that may have orders. What cannot be read counts as none.
    pub fn clusters_with_orders(&self) -> Result<Vec<ClusterName>, StoreError> {
        let names = self.0.get(&keys::clusters())?;
        Ok(names.and_then(|names| serde_json::from_slice(&names).ok()).unwrap_or_default())
    }

    /// Records which clusters may have orders.
    pub fn record_clusters_with_orders(&self, clusters: &[ClusterName]) -> Result<(), StoreError> {
        write(self.0, &keys::clusters(), &clusters)
    }

    /// Records that a cluster was heard of.
    pub fn record_heard(&self, cluster: &ClusterName, heard: &Heard) -> Result<(), StoreError> {
        write(self.0, &keys::cluster_heard(cluster), heard)
    }
}

impl<'a, P: Store + Clock> LaunchFacts<'a, P> {
    /// The cluster that it is for, where its job may go to several and that was written down.
    pub fn cluster(&self) -> Result<Option<ClusterName>, StoreError> {
        self.read(LaunchFact::Cluster)
    }

    /// Records the cluster that it is for.
    pub fn record_cluster(&self, cluster: &ClusterName) -> Result<(), StoreError> {
        write(self.store, &self.of(LaunchFact::Cluster), cluster)
    }

    /// Whether it waits for a gateway that fetches.
    pub fn offered(&self) -> Result<Option<Offered>, StoreError> {
        self.read(LaunchFact::Offered)
    }

    /// Forgets that it was offered: it is to be offered again when it is due.
    pub fn forget_offered(&self) -> Result<(), StoreError> {
        self.store.delete(&self.of(LaunchFact::Offered))
    }

    /// Forgets that it was cancelled: another gateway has its Slurm job.
    pub fn forget_cancelled(&self) -> Result<(), StoreError> {
        self.store.delete(&self.of(LaunchFact::Cancelled))
    }

    /// The last order to cancel it.
    pub fn cancelling(&self) -> Result<Option<i64>, StoreError> {
        self.read(LaunchFact::Cancelling)
    }

    /// Leases: attempts of gateways that fetch.
    pub fn leases(&self) -> Attempts<'a, P> {
        Attempts::new(self.store, keys::launch_attempts(self.launch, LaunchAttempts::Lease))
    }

    /// The last lease.
    pub fn leased(&self) -> Result<Option<Leased>, StoreError> {
        self.read(LaunchFact::Leased)
    }

    /// Records who has the lease.
    pub fn record_leased(&self, leased: &Leased) -> Result<(), StoreError> {
        write(self.store, &self.of(LaunchFact::Leased), leased)
    }

    /// What Slurm said last.
    pub fn told(&self) -> Result<Option<Told>, StoreError> {
        self.read(LaunchFact::Slurm)
    }

    /// Keeps what Slurm says.
    pub fn record_told(&self, told: &Told) -> Result<(), StoreError> {
        write(self.store, &self.of(LaunchFact::Slurm), told)
    }
}

/// The facts of a launch that decide whether it is still to be handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnTheWay {
    /// It waits to be fetched.
    pub offered: Option<Offered>,
    /// The last lease.
    pub leased: Option<Leased>,
    /// Its Slurm job was cancelled.
    pub cancelled: bool,
    /// Its Slurm job is over.
    pub ended: bool,
    /// Its runner registered, or is about to.
    pub registered: bool,
    /// When a gateway was last told to cancel it, in seconds of Unix time.
    pub asked: Option<u64>,
    /// When it was lost or withdrawn, in seconds of Unix time.
    pub given_up: Option<u64>,
    submitted: bool,
}

impl OnTheWay {
    /// Whether it is not to be submitted any more: it was, or it serves nobody.
    pub fn is_settled(&self) -> bool {
        self.submitted || self.given_up.is_some()
    }
}

impl<P: Store + Clock> Ledger<'_, P> {
    /// How far launches are on their way to a cluster that fetches, in their order, in one step of the store. One whose facts
    /// cannot be read is an error of its own.
    pub fn on_the_way(&self, launches: &[LaunchId]) -> Result<Vec<Result<OnTheWay, StoreError>>, StoreError> {
        const REGISTERED: [LaunchFact; 3] = [LaunchFact::Commit, LaunchFact::Redeemed, LaunchFact::Took];
        const OTHERS: [LaunchFact; 8] = [
            LaunchFact::Launched,
            LaunchFact::Lost,
            LaunchFact::Withdrawn,
            LaunchFact::Offered,
            LaunchFact::Leased,
            LaunchFact::Cancelled,
            LaunchFact::Ended,
            LaunchFact::Asked,
        ];
        let all = || REGISTERED.into_iter().chain(OTHERS);
        let mut values = Values::default();
        values.load(self.0, launches.iter().flat_map(|id| all().map(|fact| keys::launch(*id, fact))).collect())?;
        let known = |id: &LaunchId| {
            let key = |fact| keys::launch(*id, fact);
            let any = |facts: &[LaunchFact]| facts.iter().any(|fact| values.has(&key(*fact)));
            let lost: Option<Lost> = values.read(&key(LaunchFact::Lost))?;
            Ok(OnTheWay {
                offered: values.read(&key(LaunchFact::Offered))?,
                leased: values.read(&key(LaunchFact::Leased))?,
                cancelled: any(&[LaunchFact::Cancelled]),
                ended: any(&[LaunchFact::Ended]),
                asked: values.read(&key(LaunchFact::Asked))?,
                given_up: lost.map(|lost| lost.at).or(values.read(&key(LaunchFact::Withdrawn))?),
                registered: any(&REGISTERED),
                submitted: any(&REGISTERED) || any(&[LaunchFact::Launched]),
            })
        };
        Ok(launches.iter().map(known).collect())
    }
}

/// What a gateway that fetches is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Submit the launch.
    Submit(LaunchId),
    /// Cancel it, for good.
    Cancel(LaunchId),
}

impl Order {
    /// The launch.
    pub fn launch(self) -> LaunchId {
        match self {
            Self::Submit(launch) | Self::Cancel(launch) => launch,
        }
    }
}

/// Orders of one cluster: a list whose entries are deleted as they are done. All of it is hints: what follows from an order
/// stands in the facts of its launch, and what is lost here is ordered again.
///
/// What is to be cancelled has a list of its own, because what is to be submitted waits for room. (Earlier releases put both
/// into one: an order says itself what it is.)
#[derive(Debug)]
pub struct Orders<'a, P> {
    store: &'a P,
    cluster: &'a ClusterName,
    list: OrderList,
}

/// An order that was given, with its number; the number alone between its drawing and its writing.
pub type Numbered = (i64, Option<Order>);

/// Who draws a number writes its order at once, or died.
const DRAWING_SECONDS: u64 = 60 + CLOCK_TOLERANCE_SECONDS;
/// How often the last number is written again for those who draw at the same time.
const MOST_TRIES: usize = 16;

/// So many orders are kept in mind that stay open while those behind them come and go.
const MOST_BEHIND: usize = 256;

/// Which orders may be open: those `behind`, and all from `number` on. A hint, and a good one whoever writes it last: what
/// is done stays done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Low {
    number: i64,
    #[serde(default)]
    behind: Vec<Behind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Behind {
    number: i64,
    /// When it was found not to be written yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unwritten_since: Option<u64>,
}

/// The orders of a cluster that may be open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    low: Low,
    last: i64,
}

impl Open {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.low.behind.is_empty() && self.last < self.low.number
    }

    /// Their numbers, which ascend.
    pub fn numbers(&self) -> impl Iterator<Item = i64> {
        self.low.behind.iter().map(|behind| behind.number).chain(self.low.number..=self.last)
    }

    /// How many those are.
    pub fn count(&self) -> usize {
        let from = self.last.saturating_add(1).saturating_sub(self.low.number).max(0);
        self.low.behind.len().saturating_add(usize::try_from(from).unwrap_or(usize::MAX))
    }

    fn read(low: Option<Vec<u8>>, last: Option<Vec<u8>>) -> Self {
        let low: Low = low.and_then(|value| serde_json::from_slice(&value).ok()).unwrap_or_default();
        let last = last.and_then(|value| serde_json::from_slice(&value).ok()).unwrap_or(0);
        Self { low: Low { number: low.number.max(1), ..low }, last }
    }

    fn contains(&self, number: i64) -> bool {
        (self.low.number..=self.last).contains(&number) || self.low.behind.iter().any(|behind| behind.number == number)
    }
}

/// What is known of a cluster that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// When it was last heard of.
    pub heard: Heard,
    /// Which orders to submit may be open.
    pub submits: Open,
    /// Which orders to cancel may be open.
    pub cancels: Open,
}

impl Asking {
    /// Reads it in one step of the store, because that is all that an idle cluster costs.
    pub fn of(store: &impl Store, cluster: &ClusterName) -> Result<Self, StoreError> {
        let names = [
            keys::cluster_heard(cluster),
            keys::cluster_low(cluster, OrderList::Submits),
            keys::cluster_last(cluster, OrderList::Submits),
            keys::cluster_low(cluster, OrderList::Cancels),
            keys::cluster_last(cluster, OrderList::Cancels),
        ];
        let mut values = store.get_many(&names)?.into_iter();
        let mut next = || values.next().flatten();
        let heard = next().and_then(|value| serde_json::from_slice(&value).ok()).unwrap_or_default();
        Ok(Self { heard, submits: Open::read(next(), next()), cancels: Open::read(next(), next()) })
    }
}

impl<'a, P: Store + Clock> Orders<'a, P> {
    /// What a cluster is to submit.
    pub fn submits(store: &'a P, cluster: &'a ClusterName) -> Self {
        Self { store, cluster, list: OrderList::Submits }
    }

    /// What a cluster is to cancel.
    pub fn cancels(store: &'a P, cluster: &'a ClusterName) -> Self {
        Self { store, cluster, list: OrderList::Cancels }
    }

    /// All lists of a cluster.
    pub fn all(store: &'a P, cluster: &'a ClusterName) -> [Self; 2] {
        [Self::submits(store, cluster), Self::cancels(store, cluster)]
    }

    /// Whether its orders wait for room at a gateway.
    pub fn wait_for_room(&self) -> bool {
        self.list == OrderList::Submits
    }

    /// Gives an order. `facts` are written with it; they are told its number.
    pub fn give<E: From<StoreError>>(
        &self,
        order: Order,
        facts: impl FnOnce(i64) -> Result<Vec<(String, Vec<u8>)>, E>,
    ) -> Result<(), E> {
        let number = self.store.increment(&keys::cluster_orders(self.cluster, self.list), 1)?;
        let mut all = vec![encode(&keys::cluster_order(self.cluster, self.list, number), &order)?];
        all.push(encode(&keys::cluster_last(self.cluster, self.list), &number)?);
        // Before the order, for backends that set one key after the other: an order without its facts counts as done.
        all.splice(0..0, facts(number)?);
        self.store.set_many(&all)?;
        self.keep_last(number)?;
        Ok(())
    }

    /// Of two that give orders at once, the one with the lower number may write it last, and the other's would be behind the
    /// end. Whoever wrote the last number looks whether a higher one was drawn before.
    fn keep_last(&self, mut written: i64) -> Result<(), StoreError> {
        for _ in 0..MOST_TRIES {
            let drawn = self.store.increment(&keys::cluster_orders(self.cluster, self.list), 0)?;
            if drawn <= written {
                break;
            }
            write(self.store, &keys::cluster_last(self.cluster, self.list), &drawn)?;
            written = drawn;
        }
        Ok(())
    }

    /// Whether an order stands where gateways see it.
    pub fn stands(&self, number: i64) -> Result<bool, StoreError> {
        let open = self.open()?;
        Ok(open.contains(number) && self.store.get(&keys::cluster_order(self.cluster, self.list, number))?.is_some())
    }

    /// Which orders may be open.
    pub fn open(&self) -> Result<Open, StoreError> {
        let names = [keys::cluster_low(self.cluster, self.list), keys::cluster_last(self.cluster, self.list)];
        let mut values = self.store.get_many(&names)?.into_iter();
        Ok(Open::read(values.next().flatten(), values.next().flatten()))
    }

    /// The orders of these numbers.
    pub fn read(&self, numbers: &[i64]) -> Result<Vec<Numbered>, StoreError> {
        let keys: Vec<String> =
            numbers.iter().map(|number| keys::cluster_order(self.cluster, self.list, *number)).collect();
        let values = self.store.get_many(&keys)?;
        // What cannot be read is as good as lost, and is ordered again.
        let order = |value: Option<Vec<u8>>| serde_json::from_slice(&value?).ok();
        Ok(numbers.iter().copied().zip(values).map(|(number, value)| (number, order(value))).collect())
    }

    /// Deletes what is done, and forgets where it was. `looked` are the orders that were read of those that may be open, from
    /// the first on, `done` the numbers of those of them that are; both ascend.
    pub fn forget(&self, open: &Open, looked: &[Numbered], done: &[i64]) -> Result<(), StoreError> {
        if !done.is_empty() {
            let keys: Vec<String> =
                done.iter().map(|number| keys::cluster_order(self.cluster, self.list, *number)).collect();
            self.store.delete_many(&keys)?;
        }
        let Some((last, _)) = looked.last() else { return Ok(()) };
        let is_done = |number: i64| done.binary_search(&number).is_ok();
        let mut low = Low { number: open.low.number.max(last + 1), behind: Vec::new() };
        low.behind.extend(looked.iter().filter(|(number, _)| !is_done(*number)).filter_map(|(number, order)| {
            let unwritten_since = match order {
                Some(_) => None,
                None => Some(self.unwritten_since(open, *number)?),
            };
            Some(Behind { number: *number, unwritten_since })
        }));
        // Those that were not read.
        low.behind.extend(open.low.behind.iter().filter(|behind| behind.number > *last));
        if let Some(behind) = low.behind.get(MOST_BEHIND).copied() {
            low.number = behind.number;
            low.behind.truncate(MOST_BEHIND);
        }
        if low == open.low {
            return Ok(());
        }
        let key = keys::cluster_low(self.cluster, self.list);
        // Another gateway has seen more of them in the meantime.
        if let Some(before) = read::<Low>(self.store, &key).ok().flatten().filter(|before| before.number > low.number) {
            let behind = before.behind.iter().filter(|behind| !is_done(behind.number)).copied().collect();
            low = Low { behind, ..before };
        }
        write(self.store, &key, &low)
    }

    /// Since when an order is not written; `None` if it is so long that it never will be.
    fn unwritten_since(&self, open: &Open, number: i64) -> Option<u64> {
        let now = self.store.unix_seconds();
        let before = open.low.behind.iter().find(|behind| behind.number == number);
        let since = before.and_then(|behind| behind.unwritten_since).unwrap_or(now);
        (now < since.saturating_add(DRAWING_SECONDS)).then_some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    fn launch(job: u64) -> LaunchId {
        format!("{job}-1").parse().unwrap()
    }

    fn give(platform: &Memory, cluster: &ClusterName, job: u64) {
        let given: Result<(), StoreError> =
            Orders::submits(platform, cluster).give(Order::Submit(launch(job)), |_| Ok(Vec::new()));
        given.unwrap();
    }

    /// The numbers of what may be open, after `done` of it was forgotten.
    fn forget(platform: &Memory, cluster: &ClusterName, done: &[i64]) -> Vec<i64> {
        let orders = Orders::submits(platform, cluster);
        let open = orders.open().unwrap();
        let looked = orders.read(&open.numbers().collect::<Vec<_>>()).unwrap();
        orders.forget(&open, &looked, done).unwrap();
        orders.open().unwrap().numbers().collect()
    }

    #[test]
    fn what_is_done_is_forgotten_and_an_unwritten_order_is_waited_for() {
        let (platform, alps) = (Memory::new(), "alps".parse().unwrap());
        assert!(Orders::submits(&platform, &alps).open().unwrap().is_empty());
        give(&platform, &alps, 1);
        platform.increment(&keys::cluster_orders(&alps, OrderList::Submits), 1).unwrap();
        give(&platform, &alps, 3);
        let looked = Orders::submits(&platform, &alps).read(&[1, 2, 3]).unwrap();
        assert_eq!(looked, [(1, Some(Order::Submit(launch(1)))), (2, None), (3, Some(Order::Submit(launch(3))))]);
        assert_eq!(forget(&platform, &alps, &[1, 3]), [2], "it may be written yet");
        platform.seconds.set(platform.seconds.get() + DRAWING_SECONDS);
        assert!(forget(&platform, &alps, &[]).is_empty());
        assert!(Orders::submits(&platform, &alps).open().unwrap().is_empty());
    }

    #[test]
    fn an_order_that_stays_open_hides_none_of_those_that_come_and_go_behind_it() {
        let (platform, alps) = (Memory::new(), "alps".parse().unwrap());
        give(&platform, &alps, 1);
        for job in 2..5000 {
            give(&platform, &alps, job);
            let last = i64::try_from(job).unwrap();
            assert_eq!(forget(&platform, &alps, &[]), [1, last]);
            assert_eq!(forget(&platform, &alps, &[last]), [1]);
        }
        assert!(forget(&platform, &alps, &[1]).is_empty());
    }

    #[test]
    fn of_two_orders_at_once_none_is_behind_the_end() {
        let (platform, alps) = (Memory::new(), "alps".parse().unwrap());
        let orders = Orders::submits(&platform, &alps);
        let given: Result<(), StoreError> = orders.give(Order::Submit(launch(1)), |number| {
            assert_eq!(number, 1);
            give(&platform, &alps, 2);
            Ok(Vec::new())
        });
        given.unwrap();
        assert_eq!(orders.open().unwrap().numbers().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn what_one_gateway_saw_done_another_one_does_not_look_for_again() {
        let (platform, alps) = (Memory::new(), "alps".parse().unwrap());
        let orders = Orders::submits(&platform, &alps);
        (1..=9).for_each(|job| give(&platform, &alps, job));
        let open = orders.open().unwrap();
        let looked = orders.read(&[1, 2, 3]).unwrap();
        assert_eq!(forget(&platform, &alps, &[1, 2, 4, 5, 6, 7, 8, 9]), [3]);
        orders.forget(&open, &looked, &[1, 2]).unwrap();
        assert_eq!(orders.open().unwrap().numbers().collect::<Vec<_>>(), [3]);
        let looked = orders.read(&[1, 2, 3]).unwrap();
        orders.forget(&open, &looked, &[3]).unwrap();
        assert!(orders.open().unwrap().is_empty());
    }

    #[test]
    fn thousands_of_open_orders_are_all_seen_in_their_turn() {
        let (platform, alps) = (Memory::new(), "alps".parse().unwrap());
        (1..=2000).for_each(|job| give(&platform, &alps, job));
        let all: Vec<i64> = (1..=2000).collect();
        assert_eq!(forget(&platform, &alps, &[]), all);
        let odd: Vec<i64> = (1..=999).step_by(2).collect();
        let left: Vec<i64> = all.iter().copied().filter(|number| odd.binary_search(number).is_err()).collect();
        let seen = forget(&platform, &alps, &odd);
        assert!(left.iter().all(|number| seen.contains(number)));
        forget(&platform, &alps, &left);
        platform.seconds.set(platform.seconds.get() + DRAWING_SECONDS);
        (0..8).for_each(|_| drop(forget(&platform, &alps, &[])));
        platform.seconds.set(platform.seconds.get() + DRAWING_SECONDS);
        assert!(forget(&platform, &alps, &[]).is_empty());
    }

    #[test]
    fn each_gateway_of_a_cluster_is_heard_of() {
        let mut heard = Heard::default();
        let mut written = 0;
        for now in 1000..1100 {
            // The other one always asks first.
            for gateway in ["login1", "login2"] {
                if heard.is_news(gateway, None, now) {
                    heard = heard.with(gateway, None, now);
                    written += 1;
                }
            }
        }
        assert!(heard.asks("login1", 1100) && heard.asks("login2", 1100) && !heard.asks("login3", 1100));
        assert_eq!(written, 2 * 5);
        let queue = Some(QueueLength { pending: 1, running: 0 });
        assert!(heard.is_news("login1", queue, 1100), "what it tells is kept at once");
        heard = heard.with("login1", queue, 1100);
        assert!(!heard.is_news("login1", queue, 1101));
    }

    #[test]
    fn a_launch_that_was_moved_leads_to_the_next_cluster() {
        let platform = Memory::new();
        let ledger = Ledger(&platform);
        let mut requested = crate::testing::requested();
        let of = |number, requested: &Requested| {
            let launch = LaunchId { job: launch(1).job, number };
            ledger.cluster_of(launch, requested).unwrap().map(String::from)
        };
        assert_eq!(of(1, &requested), None);
        requested.clusters = ["alps", "eiger"].map(|name| name.parse().unwrap()).to_vec();
        assert_eq!(of(1, &requested).as_deref(), Some("alps"));
        ledger.launch(launch(1)).record_lost(LostReason::Moved).unwrap();
        assert_eq!(of(2, &requested).as_deref(), Some("eiger"));
        ledger.launch("1-2".parse().unwrap()).record_lost(LostReason::Idle).unwrap();
        assert_eq!(of(3, &requested).as_deref(), Some("eiger"), "only a move leads on");
        ledger.launch("1-3".parse().unwrap()).record_cluster(&"alps".parse().unwrap()).unwrap();
        assert_eq!(of(3, &requested).as_deref(), Some("alps"), "what is written down holds");
        let reads = platform.reads.get();
        assert!(of(u32::MAX, &requested).is_some());
        assert!(platform.reads.get() - reads < 20, "for a number that no launch has as well");
    }
}
