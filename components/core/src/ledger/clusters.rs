//! What is known of clusters, and of launches on their way to one.

use gha_slurm_protocol::exchange::QueueLength;
use gha_slurm_protocol::identity::{ClusterName, LaunchId};
use gha_slurm_protocol::slurm_job::SlurmJob;
use serde::{Deserialize, Serialize};

use super::facts::LaunchFacts;
use super::keys::{self, LaunchAttempts, LaunchFact};
use super::records::Values;
use super::{Attempts, Ledger, LostReason, Requested, encode, read, write};
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

/// How often it is written down that a gateway fetches.
const AGAIN_SECONDS: u64 = 20;

impl Heard {
    /// Whether it is worth writing down that a gateway was heard of now.
    pub fn is_news(&self, gateway: &str, now: u64) -> bool {
        let before = self.gateways.iter().find(|one| one.name == gateway);
        before.is_none_or(|before| before.at.saturating_add(AGAIN_SECONDS) <= now)
    }

    /// The same after a gateway was heard of; `queue` if it told of it.
    #[must_use]
    pub fn with(mut self, gateway: &str, queue: Option<QueueLength>, now: u64) -> Self {
        let before = self.gateways.iter().find(|one| one.name == gateway).and_then(|one| one.queue);
        self.gateways.retain(|one| one.name != gateway && now < one.at.saturating_add(LATELY_SECONDS));
        self.gateways.insert(0, HeardGateway { name: gateway.to_owned(), at: now, queue: queue.or(before) });
        self.gateways.truncate(MOST_GATEWAYS);
        Self { at: now, ..self }
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
        for number in 1..launch.number {
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
    /// When a gateway was last told to cancel it, in seconds of Unix time.
    pub asked: Option<u64>,
    submitted: bool,
    given_up: bool,
}

impl OnTheWay {
    /// Whether it is not to be submitted any more: it was, or it serves nobody.
    pub fn is_settled(&self) -> bool {
        self.submitted || self.given_up
    }
}

impl<P: Store + Clock> Ledger<'_, P> {
    /// How far launches are on their way to a cluster that fetches, in their order, in one step of the store.
    pub fn on_the_way(&self, launches: &[LaunchId]) -> Result<Vec<OnTheWay>, StoreError> {
        const SUBMITTED: [LaunchFact; 3] = [LaunchFact::Launched, LaunchFact::Redeemed, LaunchFact::Took];
        const GIVEN_UP: [LaunchFact; 2] = [LaunchFact::Lost, LaunchFact::Withdrawn];
        const OTHERS: [LaunchFact; 4] =
            [LaunchFact::Offered, LaunchFact::Leased, LaunchFact::Cancelled, LaunchFact::Asked];
        let all = || SUBMITTED.into_iter().chain(GIVEN_UP).chain(OTHERS);
        let mut values = Values::default();
        values.load(self.0, launches.iter().flat_map(|id| all().map(|fact| keys::launch(*id, fact))).collect())?;
        let known = |id: &LaunchId| {
            let key = |fact| keys::launch(*id, fact);
            let any = |facts: &[LaunchFact]| facts.iter().any(|fact| values.has(&key(*fact)));
            Ok(OnTheWay {
                offered: values.read(&key(LaunchFact::Offered))?,
                leased: values.read(&key(LaunchFact::Leased))?,
                cancelled: any(&[LaunchFact::Cancelled]),
                asked: values.read(&key(LaunchFact::Asked))?,
                submitted: any(&SUBMITTED),
                given_up: any(&GIVEN_UP),
            })
        };
        launches.iter().map(known).collect()
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

/// The orders of one cluster: a list whose entries are deleted as they are done. All of it is hints: what follows from an
/// order stands in the facts of its launch, and what is lost here is ordered again.
#[derive(Debug)]
pub struct Orders<'a, P> {
    store: &'a P,
    cluster: &'a ClusterName,
}

/// An order that was given, with its number; the number alone between its drawing and its writing.
pub type Numbered = (i64, Option<Order>);

/// Who draws a number writes its order at once, or died.
const DRAWING_SECONDS: u64 = 60;

/// Where the first open order is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Low {
    number: i64,
    /// When its order was found not to be written yet.
    #[serde(default)]
    unwritten_since: Option<u64>,
}

impl<'a, P: Store + Clock> Orders<'a, P> {
    /// Those of a cluster.
    pub fn of(store: &'a P, cluster: &'a ClusterName) -> Self {
        Self { store, cluster }
    }

    /// Gives an order. `facts` are written with it; they are told its number.
    pub fn give<E: From<StoreError>>(
        &self,
        order: Order,
        facts: impl FnOnce(i64) -> Result<Vec<(String, Vec<u8>)>, E>,
    ) -> Result<(), E> {
        let number = self.store.increment(&keys::cluster_orders(self.cluster), 1)?;
        let mut all = vec![encode(&keys::cluster_order(self.cluster, number), &order)?];
        all.push(encode(&keys::cluster_last(self.cluster), &number)?);
        // Before the order, for backends that set one key after the other: an order without its facts counts as done.
        all.splice(0..0, facts(number)?);
        self.store.set_many(&all)?;
        Ok(())
    }

    /// When the cluster was last heard of, and the numbers of the first and the last order that may be open; all in one step
    /// of the store, because that is all that an idle cluster costs.
    pub fn open(&self) -> Result<(Option<Heard>, std::ops::RangeInclusive<i64>), StoreError> {
        let names =
            [keys::cluster_heard(self.cluster), keys::cluster_low(self.cluster), keys::cluster_last(self.cluster)];
        let mut values = self.store.get_many(&names)?.into_iter();
        let mut next = || values.next().flatten();
        let heard = next().and_then(|value| serde_json::from_slice(&value).ok());
        let low: Low = next().and_then(|value| serde_json::from_slice(&value).ok()).unwrap_or_default();
        let last = next().and_then(|value| serde_json::from_slice(&value).ok()).unwrap_or(0);
        Ok((heard, low.number.max(1)..=last))
    }

    /// The orders of these numbers.
    pub fn read(&self, numbers: std::ops::RangeInclusive<i64>) -> Result<Vec<Numbered>, StoreError> {
        let keys: Vec<String> = numbers.clone().map(|number| keys::cluster_order(self.cluster, number)).collect();
        let values = self.store.get_many(&keys)?;
        // What cannot be read is as good as lost, and is ordered again.
        let order = |value: Option<Vec<u8>>| serde_json::from_slice(&value?).ok();
        Ok(numbers.zip(values).map(|(number, value)| (number, order(value))).collect())
    }

    /// Deletes what is done, and moves the beginning behind it. `looked` are the orders from the beginning on, `done` those of
    /// them that are.
    pub fn forget(&self, looked: &[Numbered], done: &[i64]) -> Result<(), StoreError> {
        if !done.is_empty() {
            let keys: Vec<String> = done.iter().map(|number| keys::cluster_order(self.cluster, *number)).collect();
            self.store.delete_many(&keys)?;
        }
        let is_open = |(number, order): &&Numbered| order.is_none() || !done.contains(number);
        let Some((last, _)) = looked.last() else { return Ok(()) };
        let key = keys::cluster_low(self.cluster);
        let now = self.store.unix_seconds();
        let low = match looked.iter().find(is_open) {
            None => Low { number: last + 1, unwritten_since: None },
            Some((number, Some(_))) => Low { number: *number, unwritten_since: None },
            Some((number, None)) => {
                let before = read::<Low>(self.store, &key).ok().flatten().filter(|low| low.number == *number);
                match before.and_then(|low| low.unwritten_since) {
                    Some(since) if since.saturating_add(DRAWING_SECONDS) <= now => {
                        Low { number: number + 1, unwritten_since: None }
                    }
                    Some(_) => return Ok(()),
                    None => Low { number: *number, unwritten_since: Some(now) },
                }
            }
        };
        let first = looked.first().map_or(0, |(number, _)| *number);
        if low.number > first || low.unwritten_since.is_some() {
            write(self.store, &key, &low)?;
        }
        Ok(())
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
            Orders::of(platform, cluster).give(Order::Submit(launch(job)), |_| Ok(Vec::new()));
        given.unwrap();
    }

    #[test]
    fn what_is_done_at_the_front_is_forgotten_and_an_unwritten_order_is_waited_for() {
        let (platform, alps) = (Memory::new(), "alps".parse().unwrap());
        let orders = Orders::of(&platform, &alps);
        assert!(orders.open().unwrap().1.is_empty());
        give(&platform, &alps, 1);
        platform.increment(&keys::cluster_orders(&alps), 1).unwrap();
        give(&platform, &alps, 3);
        let open = orders.open().unwrap().1;
        let looked = orders.read(open).unwrap();
        assert_eq!(looked, [(1, Some(Order::Submit(launch(1)))), (2, None), (3, Some(Order::Submit(launch(3))))]);
        orders.forget(&looked, &[1, 3]).unwrap();
        assert_eq!(orders.open().unwrap().1, 2..=3, "the second may be written yet");
        let looked = orders.read(2..=3).unwrap();
        orders.forget(&looked, &[]).unwrap();
        platform.seconds.set(platform.seconds.get() + DRAWING_SECONDS);
        orders.forget(&looked, &[]).unwrap();
        assert_eq!(orders.open().unwrap().1, 3..=3);
        orders.forget(&[(3, Some(Order::Submit(launch(3))))], &[3]).unwrap();
        assert!(orders.open().unwrap().1.is_empty());
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
    }
}
