//! Wrong tokens: how many within a minute, over all replicas.
//!
//! A place has one counter and the minute that it counts, so the store never holds more than two keys for each of a fixed
//! number of places, whatever comes. Strangers are put into places by their address, known browsers by their own name. A
//! stranger who changes addresses has all places of strangers, which is five guesses a minute for each of 64, and none of
//! a known browser's.

use gha_slurm_core::ledger::{keys, read, write};
use gha_slurm_core::ports::{Clock, Store, StoreError};
use gha_slurm_edge::request::Request;
use sha2::{Digest, Sha256};

use super::origin::client;

/// Wrong tokens within a window; then no token is looked at.
const LIMIT: i64 = 5;
const WINDOW_SECONDS: u64 = 60;
const PLACES: u8 = 64;

pub(super) struct Attempts<'a, P> {
    store: &'a P,
    who: &'static str,
    place: u8,
}

impl<'a, P: Store + Clock> Attempts<'a, P> {
    /// Those of a browser that logged in before.
    pub(super) fn of_browser(store: &'a P, place: u8) -> Self {
        Self { store, who: "browser", place: place % PLACES }
    }

    /// Those of all who share a place with the sender of a request.
    pub(super) fn of_stranger(store: &'a P, request: &Request) -> Self {
        let digest: [u8; 32] = Sha256::digest(client(request)).into();
        let [place, ..] = digest;
        Self { store, who: "stranger", place: place % PLACES }
    }

    /// Counts an attempt; how many seconds to wait, if there were too many.
    pub(super) fn begin(&self) -> Result<Option<u64>, StoreError> {
        let now = self.store.unix_seconds();
        let window = now / WINDOW_SECONDS;
        let counted = read::<u64>(self.store, &self.window())?.unwrap_or(0);
        // Only forward: a replica whose clock is behind counts with the others.
        if window > counted {
            self.store.delete(&self.counter())?;
            write(self.store, &self.window(), &window)?;
        }
        if self.store.increment(&self.counter(), 1)? <= LIMIT {
            return Ok(None);
        }
        let ends = window.max(counted).saturating_add(1).saturating_mul(WINDOW_SECONDS);
        Ok(Some(ends.saturating_sub(now).clamp(1, WINDOW_SECONDS)))
    }

    /// Takes back the attempt that was counted: its token was right.
    pub(super) fn forgive(&self) -> Result<(), StoreError> {
        self.store.increment(&self.counter(), -1).map(drop)
    }

    fn window(&self) -> String {
        keys::login_window(self.who, self.place)
    }

    fn counter(&self) -> String {
        keys::login_wrong(self.who, self.place)
    }
}
