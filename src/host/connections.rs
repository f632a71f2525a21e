//! The open connections, bounded in total and per address.
//!
//! A connection costs a file descriptor and some kilobytes, and a stranger can open as many as he likes. Refusing the next
//! one would let him decide who is served, so at the bound a connection that does nothing for anybody is closed instead:
//! one that waits for a request, or else one that is still sending. Only where every connection has a request in a
//! component is a new one refused. The address with the most connections gives up one first, and of these the one that has
//! waited the longest, so that a client who sends his request at once is never the one to go.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::client_address::TrustedProxies;

/// Between requests, or before the first one.
const IDLE: u8 = 0;
/// A request's body is being read.
const RECEIVING: u8 = 1;
/// A request is with a component, or its answer is on the way.
const WORKING: u8 = 2;
/// Chosen to be closed; nothing leads out of it.
const EVICTED: u8 = 3;

/// All connections of one host.
pub(super) struct Connections {
    most: usize,
    most_of_one: usize,
    proxies: Arc<TrustedProxies>,
    begun: Instant,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    slots: HashMap<u64, Arc<Slot>>,
}

struct Slot {
    /// `None` for an address that stands for many clients.
    address: Option<IpAddr>,
    stage: AtomicU8,
    /// Milliseconds since the host began: the beginning of the stage.
    since: AtomicU64,
    evicted: Notify,
}

impl Slot {
    /// Goes from one stage to another, unless it is in a third.
    fn change(&self, from: u8, to: u8) -> bool {
        self.stage.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Connections {
    /// At most `most` at once, `most_of_one` of them from one address; 0 leaves an address without a bound of its own.
    pub(super) fn new(most: usize, most_of_one: usize, proxies: Arc<TrustedProxies>) -> Arc<Self> {
        Arc::new(Self { most, most_of_one, proxies, begun: Instant::now(), open: Mutex::default() })
    }

    /// A place for a new connection; `None` when all are taken by requests at work.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Connection> {
        let address = self.one_client(peer);
        let mut open = self.open();
        if let Some(address) = address.filter(|_| self.most_of_one > 0) {
            let its = |slot: &Slot| slot.address == Some(address);
            if open.slots.values().filter(|slot| its(slot)).count() >= self.most_of_one {
                evict(&mut open, its)?;
            }
        }
        if open.slots.len() >= self.most {
            evict(&mut open, |_| true)?;
        }
        let id = open.next;
        open.next += 1;
        let since = AtomicU64::new(self.now());
        let slot = Arc::new(Slot { address, stage: AtomicU8::new(IDLE), since, evicted: Notify::new() });
        open.slots.insert(id, Arc::clone(&slot));
        Some(Connection { id, slot, connections: Arc::clone(self) })
    }

    /// The address under which a client is counted: an IPv6 host has a whole /64. `None` where many clients share it:
    /// a proxy, and this machine, from which proxies and tests come.
    fn one_client(&self, peer: IpAddr) -> Option<IpAddr> {
        let peer = peer.to_canonical();
        if peer.is_loopback() || self.proxies.contains(peer) {
            return None;
        }
        Some(match peer {
            IpAddr::V4(_) => peer,
            IpAddr::V6(peer) => IpAddr::V6(Ipv6Addr::from_bits(peer.to_bits() & !u128::from(u64::MAX))),
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Closes the connection that is missed least of those that `may` go; `None` where each is at work.
fn evict(open: &mut Open, may: impl Fn(&Slot) -> bool) -> Option<()> {
    let mut counts: HashMap<IpAddr, usize> = HashMap::new();
    for address in open.slots.values().filter_map(|slot| slot.address) {
        *counts.entry(address).or_default() += 1;
    }
    let of_its_address = |slot: &Slot| slot.address.and_then(|address| counts.get(&address).copied()).unwrap_or(1);
    let mut candidates: Vec<_> = open
        .slots
        .iter()
        .filter(|(_, slot)| may(slot))
        .map(|(id, slot)| {
            let (stage, since) = (slot.stage.load(Ordering::Acquire), slot.since.load(Ordering::Relaxed));
            (stage, usize::MAX - of_its_address(slot), since, *id)
        })
        .filter(|(stage, ..)| *stage <= RECEIVING)
        .collect();
    candidates.sort_unstable();
    // Its stage may have changed meanwhile.
    let chosen = candidates.into_iter().find_map(|(stage, _, _, id)| {
        let slot = open.slots.get(&id)?;
        slot.change(stage, EVICTED).then_some(id)
    })?;
    if let Some(slot) = open.slots.remove(&chosen) {
        slot.evicted.notify_one();
    }
    Some(())
}

/// One connection's place, free again once it is dropped.
pub(super) struct Connection {
    id: u64,
    slot: Arc<Slot>,
    connections: Arc<Connections>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.open().slots.remove(&self.id);
    }
}

impl Connection {
    /// Ends when this connection is to be closed.
    pub(super) async fn evicted(&self) {
        self.slot.evicted.notified().await;
    }

    /// A request has come; `None` when its connection is being closed.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Busy> {
        self.slot.since.store(self.connections.now(), Ordering::Relaxed);
        // The answer before may be at its very end.
        let begun = self.slot.change(IDLE, RECEIVING) || self.slot.change(WORKING, RECEIVING);
        begun.then(|| Busy(Arc::clone(self)))
    }
}

/// A request of a connection. When it is dropped the connection is idle again.
pub(super) struct Busy(Arc<Connection>);

impl Busy {
    /// The request is whole: its connection stays. `false` when it is being closed.
    pub(super) fn work(&self) -> bool {
        self.0.slot.change(RECEIVING, WORKING)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let slot = &self.0.slot;
        slot.since.store(self.0.connections.now(), Ordering::Relaxed);
        let _ = slot.change(WORKING, IDLE) || slot.change(RECEIVING, IDLE);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn connections(most: usize, most_of_one: usize, proxies: &[&str]) -> Arc<Connections> {
        let proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        Connections::new(most, most_of_one, Arc::new(TrustedProxies::new(proxies)))
    }

    fn admit(connections: &Arc<Connections>, peer: &str) -> Option<Arc<Connection>> {
        connections.admit(peer.parse().unwrap()).map(Arc::new)
    }

    fn is_evicted(connection: &Connection) -> bool {
        connection.slot.stage.load(Ordering::Relaxed) == EVICTED
    }

    #[tokio::test]
    async fn a_new_connection_takes_the_place_of_the_one_that_idles_the_longest() {
        let all = connections(3, 0, &[]);
        let kept: Vec<_> = (0..3).map(|_| admit(&all, "192.0.2.1").unwrap()).collect();
        std::thread::sleep(Duration::from_millis(5));
        // The first has just had a request.
        drop(kept[0].begin().unwrap());
        let _new = admit(&all, "192.0.2.2").unwrap();
        let evicted: Vec<_> = kept.iter().map(|one| is_evicted(one)).collect();
        assert_eq!(evicted, [false, true, false]);
        tokio::time::timeout(Duration::from_secs(1), kept[1].evicted()).await.unwrap();
        assert!(kept[1].begin().is_none(), "no request begins on it");
    }

    #[test]
    fn one_at_work_is_never_evicted_and_one_that_sends_after_those_that_idle() {
        let all = connections(2, 0, &[]);
        let (first, second) = (admit(&all, "192.0.2.1").unwrap(), admit(&all, "192.0.2.1").unwrap());
        let (sending, working) = (first.begin().unwrap(), second.begin().unwrap());
        assert!(working.work());
        let third = admit(&all, "192.0.2.2").unwrap();
        assert!(is_evicted(&first) && !sending.work());
        let busy = third.begin().unwrap();
        assert!(busy.work());
        assert!(admit(&all, "192.0.2.3").is_none(), "all are at work");
        drop((sending, first));
        assert!(admit(&all, "192.0.2.3").is_none(), "its place is long taken");
        drop(working);
        assert!(admit(&all, "192.0.2.3").is_some() && is_evicted(&second));
    }

    #[test]
    fn an_address_gives_up_its_own_connections() {
        let all = connections(8, 2, &["198.51.100.0/24"]);
        let other = admit(&all, "192.0.2.9").unwrap();
        let its: Vec<_> = (0..4).map(|_| admit(&all, "192.0.2.1").unwrap()).collect();
        assert_eq!(its.iter().filter(|one| is_evicted(one)).count(), 2);
        assert!(!is_evicted(&other));
        for of_many in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "198.51.100.7"] {
            let many: Vec<_> = (0..3).map(|_| admit(&all, of_many).unwrap()).collect();
            assert!(!many.iter().any(|one| is_evicted(one)), "{of_many}");
        }
        let one_client = |peer: &str| all.one_client(peer.parse().unwrap());
        assert_eq!(one_client("2001:db8::1"), one_client("2001:db8::2:3"));
        assert_ne!(one_client("2001:db8::1"), one_client("2001:db8:0:1::1"));
    }

    #[test]
    fn the_address_with_the_most_gives_up_first() {
        let all = connections(4, 0, &[]);
        let alone = admit(&all, "192.0.2.1").unwrap();
        std::thread::sleep(Duration::from_millis(5));
        let many: Vec<_> = (0..3).map(|_| admit(&all, "192.0.2.2").unwrap()).collect();
        let _new = admit(&all, "192.0.2.3").unwrap();
        assert!(!is_evicted(&alone));
        assert_eq!(many.iter().filter(|one| is_evicted(one)).count(), 1);
    }
}
