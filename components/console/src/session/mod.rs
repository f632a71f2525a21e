//! Who is logged in at the console: the holder of the admin token, by a signed cookie.
//!
//! A session is kept by the browser alone, so that a crowd costs the store nothing. Its signing key is made of a random
//! one in the store and of the admin token: who sees a cookie cannot guess at the token with it, and another admin token
//! ends every session. Logging out is remembered in one of 256 places, the session's own by its random name, which ends
//! whatever began before in that place; so a cookie that was copied dies as well, and the store grows by no more than
//! that. Once in 256 times this logs somebody else out: he logs in again.

mod cookies;
mod origin;

pub(crate) use self::origin::{behind_tls, same_origin};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use gha_slurm_core::audit::{Door, Record, record};
use gha_slurm_core::ledger::{keys, read, write};
use gha_slurm_core::ports::{Audit, Clock, Random, Store, StoreError};
use gha_slurm_edge::client::Client;
use gha_slurm_edge::guesses::{Checked, Giver, Guesses};
use gha_slurm_edge::request::Request;
use gha_slurm_protocol::hex::hex;
use gha_slurm_protocol::secret::Secret;

use self::cookies::Jar;

/// How long a session lasts: a working day.
pub(crate) const LIFETIME_SECONDS: u64 = 12 * 60 * 60;
/// How long a browser is known that once logged in.
const KNOWN_SECONDS: u64 = 365 * 24 * 60 * 60;
/// By how much two replicas' clocks may differ.
const CLOCK_TOLERANCE_MILLIS: u64 = 120_000;
const KEY_BYTES: usize = 32;

/// Somebody who is logged in.
#[derive(Debug)]
pub(crate) struct Session {
    place: u8,
}

/// What came of an attempt to log in.
#[derive(Debug)]
pub(crate) enum LogIn {
    /// The token is right: the values of `Set-Cookie`.
    Welcome(Vec<String>),
    /// It is wrong.
    Wrong,
    /// Too many wrong ones: the token was not looked at.
    Limited {
        /// When to come back.
        seconds: u64,
    },
}

/// Sessions of the holders of one admin token.
#[derive(Debug)]
pub(crate) struct Sessions<'a, P> {
    platform: &'a P,
    token: Secret,
    jar: Jar,
}

impl<'a, P: Store + Clock + Random + Audit> Sessions<'a, P> {
    /// Sessions for that token. Behind TLS the browser sends the cookies over TLS alone.
    pub(crate) fn new(platform: &'a P, token: Secret, tls: bool) -> Self {
        Self { platform, token, jar: Jar { tls } }
    }

    /// The session of a request, if it has one that holds.
    pub(crate) fn of(&self, request: &Request) -> Result<Option<Session>, StoreError> {
        for value in self.jar.session(request) {
            if let Some((begun, place)) = self.verify("session", value, LIFETIME_SECONDS)? {
                let ended: Option<u64> = read(self.platform, &keys::session_ended(place))?;
                if ended.is_none_or(|ended| ended < begun) {
                    return Ok(Some(Session { place }));
                }
            }
        }
        Ok(None)
    }

    /// Begins a session, if `given` is the admin token.
    ///
    /// A browser that logged in before is counted apart from all strangers, so that no stranger can keep it out.
    pub(crate) fn log_in(&self, request: &Request, client: Client, given: &str) -> Result<LogIn, StoreError> {
        let known = match self.jar.known(request) {
            Some(value) => self.verify("browser", value, KNOWN_SECONDS)?.map(|(_, place)| place),
            None => None,
        };
        let guesses = Guesses::of(self.platform, client, Door::Login);
        match guesses.check(Giver::Person, known, &[&self.token], given)? {
            Checked::Limited { seconds } => return Ok(LogIn::Limited { seconds }),
            Checked::Wrong => return Ok(LogIn::Wrong),
            Checked::Right => record(self.platform, &Record::LogIn { client: &client.to_string() }),
        }
        let session = self.sign("session")?;
        let browser = self.sign("browser")?;
        Ok(LogIn::Welcome(vec![
            self.jar.set_session(&session, LIFETIME_SECONDS),
            self.jar.set_known(&browser, KNOWN_SECONDS),
        ]))
    }

    /// Ends a session; the values of `Set-Cookie`.
    pub(crate) fn log_out(&self, session: &Session, client: Client) -> Result<Vec<String>, StoreError> {
        write(self.platform, &keys::session_ended(session.place), &self.millis())?;
        record(self.platform, &Record::LogOut { client: &client.to_string() });
        Ok(vec![self.jar.set_session("", 0)])
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.platform.now().as_millis()).unwrap_or(u64::MAX)
    }

    /// `{begun}.{name}.{signature}`, with a random name.
    fn sign(&self, purpose: &str) -> Result<String, StoreError> {
        let mut name = [0; 16];
        self.platform.fill(&mut name);
        let text = format!("{}.{:032x}", self.millis(), u128::from_be_bytes(name));
        let key = match self.key()? {
            Some(key) => key,
            None => self.new_key()?,
        };
        let signature = self.signature(&key, purpose, &text);
        Ok(format!("{text}.{signature}"))
    }

    /// When it begun, in milliseconds of Unix time, and its place, if it is ours and not too old.
    fn verify(&self, purpose: &str, value: &str, lifetime: u64) -> Result<Option<(u64, u8)>, StoreError> {
        let Some((text, signature)) = value.rsplit_once('.') else { return Ok(None) };
        let Some((begun, place)) = parse(text) else { return Ok(None) };
        let now = self.millis();
        let ends = begun.saturating_add(lifetime.saturating_mul(1000));
        if now >= ends || begun > now.saturating_add(CLOCK_TOLERANCE_MILLIS) {
            return Ok(None);
        }
        let Some(key) = self.key()? else { return Ok(None) };
        let ours = Secret::new(self.signature(&key, purpose, text)).matches(signature);
        Ok(ours.then_some((begun, place)))
    }

    fn signature(&self, key: &[u8], purpose: &str, text: &str) -> String {
        let derived = mac(key, &["console", self.token.expose()]);
        hex(mac(&derived, &[purpose, text]))
    }

    fn key(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.platform.get(&keys::session_key())?.filter(|key| key.len() == KEY_BYTES))
    }

    /// When two replicas make the first one at once, the last stays, and whoever logged in by the other logs in again.
    fn new_key(&self) -> Result<Vec<u8>, StoreError> {
        let mut key = vec![0; KEY_BYTES];
        self.platform.fill(&mut key);
        self.platform.set(&keys::session_key(), &key)?;
        Ok(key)
    }
}

/// When it begun, and its place: the first byte of its name. One spelling each.
fn parse(text: &str) -> Option<(u64, u8)> {
    let (begun, name) = text.split_once('.')?;
    let begun: u64 = begun.parse().ok()?;
    let number = u128::from_str_radix(name, 16).ok()?;
    let [place, ..] = number.to_be_bytes();
    (format!("{begun}.{number:032x}") == text).then_some((begun, place))
}

/// The MAC of texts, so that no two lists of texts have the same.
fn mac(key: &[u8], texts: &[&str]) -> Vec<u8> {
    // HMAC takes keys of any length, so the error cannot happen; if it did, an empty one would be compared with a MAC of
    // the same kind, by whoever has the same key.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    for text in texts {
        mac.update(&(text.len() as u64).to_be_bytes());
        mac.update(text.as_bytes());
    }
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests;
