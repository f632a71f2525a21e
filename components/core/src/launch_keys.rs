//! The keys of launch tokens: a pair a day, of which the store holds the public half alone.
//!
//! The private half is derived from a random salt and the secret that the app shares with the gateways of the cluster: where
//! they are called, webhook and tick have it; where they fetch, it comes with each of their requests and is kept nowhere. So
//! whoever reads the store can sign nothing, and neither can the runner, which verifies, nor a gateway, which lacks the salt.
//! A secret that was changed makes another pair at the next launch; what the old one signed stays valid.
//!
//! A key is named by its day and by a number that a counter hands out, so replicas that make the day's key at once make
//! two, and both hold. It signs on its day, and its tokens live for a day: after that it is dead, by its name alone, and
//! the tick deletes it. To revoke every token that is out there, all keys that live are deleted ([`revoke_all`]); the
//! numbers go on, so that none ever comes back.

use ed25519_compact::{KeyPair, Seed};
use gha_slurm_protocol::identity::ClusterName;
use gha_slurm_protocol::secret::Secret;
use jwt_simple::prelude::{Ed25519KeyPair, Ed25519PublicKey};
use serde::{Deserialize, Serialize};

use crate::cluster::Definitions;
use crate::launch_token::{CLOCK_TOLERANCE_SECONDS, LIFETIME_SECONDS};
use crate::ledger::{encode, keys, read, write};
use crate::ports::{Clock, Random, Store, StoreError};
use crate::sealing::derive;

const DAY_SECONDS: u64 = 24 * 60 * 60;
/// Where to begin deleting when nothing was ever deleted.
const FIRST_LOOK_DAYS: u64 = 90;
/// No day has more keys than this, whatever a broken counter says; a key a second would be a seventh of it.
const MOST_A_DAY: i64 = 600_000;

/// Names a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyName {
    day: u64,
    number: i64,
}

impl KeyName {
    /// Reads a `kid`. It comes from outside: one spelling, of our form.
    fn parse(kid: &str) -> Option<Self> {
        let (day, number) = kid.split_once('-')?;
        let name = Self { day: day.parse().ok()?, number: number.parse().ok()? };
        (name.to_string() == kid && name.number > 0).then_some(name)
    }

    /// Whether a token that it signed can be valid at this time.
    fn lives(self, now: u64) -> bool {
        let began = self.day.saturating_mul(DAY_SECONDS);
        let last = began.saturating_add(DAY_SECONDS + LIFETIME_SECONDS + 2 * CLOCK_TOLERANCE_SECONDS);
        began <= now.saturating_add(CLOCK_TOLERANCE_SECONDS) && now < last
    }
}

impl std::fmt::Display for KeyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.day, self.number)
    }
}

/// The key that signs now, as far as it is no secret.
#[derive(Serialize, Deserialize)]
struct Current {
    name: KeyName,
    salt: [u8; 32],
    public: [u8; 32],
}

/// The key pair that signs for a cluster now: today's, made if there is none yet that `root` can use.
pub(crate) fn signing_key<P: Store + Clock + Random>(
    platform: &P,
    cluster: &ClusterName,
    root: &Secret,
) -> Result<Ed25519KeyPair, StoreError> {
    let now = platform.unix_seconds();
    let today = now / DAY_SECONDS;
    // A value of an earlier build is none of ours.
    let current = platform.get(&keys::signing_key_current(cluster))?;
    if let Some(current) = current.and_then(|bytes| serde_json::from_slice::<Current>(&bytes).ok())
        && current.name.day >= today
        && current.name.lives(now)
        && let Some(pair) = pair(root, &current)
    {
        return Ok(pair);
    }
    let name = KeyName { day: today, number: platform.increment(&keys::signing_key_count(today), 1)? };
    let mut salt = [0; 32];
    platform.fill(&mut salt);
    let made = KeyPair::from_seed(seed(root, name, &salt));
    let current = Current { name, salt, public: *made.pk };
    // The key before its name: whoever reads the name finds the key.
    platform.set_many(&[
        encode(&keys::signing_key(name.day, name.number), &current.public)?,
        encode(&keys::signing_key_current(cluster), &current)?,
    ])?;
    pair(root, &current).ok_or_else(|| StoreError("a key pair that was made is none".to_owned()))
}

fn seed(root: &Secret, name: KeyName, salt: &[u8; 32]) -> Seed {
    let mut seed = [0; 32];
    derive(root, salt, format!("launch token {name}").as_bytes(), &mut seed);
    Seed::new(seed)
}

/// The pair behind a public half, unless another root made that.
fn pair(root: &Secret, current: &Current) -> Option<Ed25519KeyPair> {
    let seed = seed(root, current.name, &current.salt);
    let bytes: Vec<u8> = seed.iter().chain(&current.public).copied().collect();
    Some(Ed25519KeyPair::from_bytes(&bytes).ok()?.with_key_id(&current.name.to_string()))
}

/// The public half of a key that lives.
pub(crate) fn verifying_key<P: Store + Clock>(platform: &P, kid: &str) -> Result<Option<Ed25519PublicKey>, StoreError> {
    let Some(name) = KeyName::parse(kid).filter(|name| name.lives(platform.unix_seconds())) else { return Ok(None) };
    let public: Option<[u8; 32]> = read(platform, &keys::signing_key(name.day, name.number))?;
    Ok(public.and_then(|public| Ed25519PublicKey::from_bytes(&public).ok()))
}

/// Whether a key lives and was not revoked.
pub(crate) fn is_alive<P: Store + Clock>(platform: &P, kid: &str) -> Result<bool, StoreError> {
    let Some(name) = KeyName::parse(kid).filter(|name| name.lives(platform.unix_seconds())) else { return Ok(false) };
    Ok(platform.get(&keys::signing_key(name.day, name.number))?.is_some())
}

/// Deletes the keys of which no token can live any more.
pub fn forget_dead<P: Store + Clock>(store: &P) -> Result<(), StoreError> {
    let now = store.unix_seconds();
    let today = now / DAY_SECONDS;
    let done: Option<u64> = read(store, &keys::signing_keys_cleaned())?;
    let first = done.map_or(today.saturating_sub(FIRST_LOOK_DAYS), |done| done.saturating_add(1));
    let dead = |day: &u64| *day < today && !KeyName { day: *day, number: 1 }.lives(now);
    let Some(last) = (first..today).take_while(dead).last() else { return Ok(()) };
    for day in first..=last {
        let mut all = keys_of(store, day)?;
        if !all.is_empty() {
            all.push(keys::signing_key_count(day));
            store.delete_many(&all)?;
        }
    }
    write(store, &keys::signing_keys_cleaned(), &last)
}

/// Deletes every key that lives, so that no launch token that was issued so far is honoured any more. The next launch
/// makes another key.
pub fn revoke_all<P: Store + Clock>(store: &P, clusters: &Definitions) -> Result<(), StoreError> {
    // The names before the keys: nobody signs with a key that is gone.
    let names: Vec<_> = clusters.iter().map(|cluster| keys::signing_key_current(&cluster.name)).collect();
    store.delete_many(&names)?;
    let today = store.unix_seconds() / DAY_SECONDS;
    for day in today.saturating_sub(2)..=today.saturating_add(1) {
        let all = keys_of(store, day)?;
        if !all.is_empty() {
            store.delete_many(&all)?;
        }
    }
    Ok(())
}

/// The keys that a day ever had.
fn keys_of(store: &impl Store, day: u64) -> Result<Vec<String>, StoreError> {
    let count = keys::signing_key_count(day);
    if store.get(&count)?.is_none() {
        return Ok(Vec::new());
    }
    let made = store.increment(&count, 0)?.min(MOST_A_DAY);
    Ok((1..=made).map(|number| keys::signing_key(day, number)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    fn root() -> Secret {
        Secret::new("the-secret-that-gateway-and-app-share")
    }

    fn sign(platform: &Memory) -> Result<Ed25519KeyPair, StoreError> {
        signing_key(platform, &ClusterName::default(), &root())
    }

    fn name_of(pair: &Ed25519KeyPair) -> String {
        use jwt_simple::prelude::EdDSAKeyPairLike;
        pair.key_id().clone().unwrap()
    }

    fn at_noon(platform: &Memory, days: u64) {
        let today = 1_800_000_000 / DAY_SECONDS;
        platform.seconds.set((today + days) * DAY_SECONDS + DAY_SECONDS / 2);
    }

    #[test]
    fn a_key_signs_for_a_day_and_dies_with_its_last_token() {
        let platform = Memory::new();
        at_noon(&platform, 0);
        let first = name_of(&sign(&platform).unwrap());
        assert_eq!(name_of(&sign(&platform).unwrap()), first, "one a day");
        at_noon(&platform, 1);
        assert_ne!(name_of(&sign(&platform).unwrap()), first);
        assert!(verifying_key(&platform, &first).unwrap().is_some(), "its tokens are not a day old");
        forget_dead(&platform).unwrap();
        assert!(verifying_key(&platform, &first).unwrap().is_some(), "nor is it deleted before");
        at_noon(&platform, 2);
        assert!(verifying_key(&platform, &first).unwrap().is_none(), "dead by its name alone");
        forget_dead(&platform).unwrap();
        let left: Vec<String> = platform.keys().into_iter().filter(|key| key.contains("/key/")).collect();
        assert!(!left.iter().any(|key| key.contains(&first.replace('-', "/"))), "{left:?}");
    }

    #[test]
    fn the_store_of_a_year_holds_the_keys_of_three_days() {
        let platform = Memory::new();
        for day in 0..365 {
            at_noon(&platform, day);
            sign(&platform).unwrap();
            forget_dead(&platform).unwrap();
        }
        assert!(platform.keys().len() <= 2 + 2 * 3, "{:?}", platform.keys());
    }

    #[test]
    fn another_gateway_secret_makes_another_key_and_what_the_old_one_signed_stays() {
        let platform = Memory::new();
        let old = name_of(&sign(&platform).unwrap());
        let new = name_of(&signing_key(&platform, &ClusterName::default(), &Secret::new("another-secret")).unwrap());
        assert_ne!(old, new);
        for kid in [old, new] {
            assert!(verifying_key(&platform, &kid).unwrap().is_some(), "{kid}");
        }
    }

    #[test]
    fn replicas_whose_clocks_differ_by_less_than_the_tolerance_use_each_others_key_at_midnight() {
        let platform = Memory::new();
        let midnight = (1_800_000_000 / DAY_SECONDS + 1) * DAY_SECONDS;
        platform.seconds.set(midnight + 1);
        let ahead = name_of(&sign(&platform).unwrap());
        platform.seconds.set(midnight - CLOCK_TOLERANCE_SECONDS + 1);
        assert_eq!(name_of(&sign(&platform).unwrap()), ahead, "of a replica that is behind");
        assert!(verifying_key(&platform, &ahead).unwrap().is_some());
    }

    #[test]
    fn what_an_earlier_build_left_is_no_key() {
        let platform = Memory::new();
        platform.set(&keys::signing_key_current(&ClusterName::default()), b"0123456789abcdef").unwrap();
        assert!(sign(&platform).is_ok());
    }

    #[test]
    fn a_kid_of_another_form_never_reaches_the_store() {
        let platform = Memory::new();
        let today = platform.unix_seconds() / DAY_SECONDS;
        for kid in [
            "../../secret".to_owned(),
            "current".to_owned(),
            String::new(),
            "ABCDEF0123456789".to_owned(),
            format!("{today}-0"),
            format!("{today}--1"),
            format!("{today}-+1"),
            format!("{today}-01"),
            format!("0{today}-1"),
            format!("{}-1", today - 3),
            format!("{}-1", today + 2),
            format!("{}-1", u64::MAX),
        ] {
            assert!(verifying_key(&platform, &kid).unwrap().is_none(), "{kid:?}");
        }
        assert_eq!(platform.operations.get(), 0);
    }
}
