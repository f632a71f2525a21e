//! The App as the setup in the browser registered it, and what that setup keeps on its way there.
//!
//! Secrets that came from outside (the link's, a session's, a `state`) are part of a key by their digest alone: who reads
//! the store's keys can use none of them, and to look one up takes the same time whatever was guessed.
//!
//! The App's private key is sealed where the application has a key for that ([`crate::sealing`]).

use std::time::Duration;

use gha_slurm_protocol::hex::hex;
use gha_slurm_protocol::secret::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Attempts, Claim, encode, encode_sealed, keys, read, write, write_sealed};
use crate::ports::{Clock, Random, Store, StoreError};
use crate::sealing::{Seal, SealError, is_sealed};

/// A component has 30 s for a request: an attempt that is older died.
const LEASE: Duration = Duration::from_secs(60);

/// The App at GitHub, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredApp {
    /// Its id.
    pub app_id: u64,
    /// Its name in URLs.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// Its page at GitHub.
    pub html_url: String,
    /// When it was registered, in seconds of Unix time.
    pub at: u64,
}

/// How a secret is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Not at all.
    Nothing,
    /// For every reader of the store.
    Clear,
    /// For who has the variable that opens it.
    Sealed,
}

/// What is known of the App and of the way to it.
#[derive(Debug)]
pub struct Registration<'a, P>(&'a P);

impl<'a, P: Store> Registration<'a, P> {
    pub fn new(store: &'a P) -> Self {
        Self(store)
    }

    /// The App, once it is registered.
    pub fn app(&self) -> Result<Option<RegisteredApp>, StoreError> {
        read(self.0, &keys::github_app())
    }

    /// Its private key, a PEM, or why it does not open. One that was stored in clear, before there was a seal, is read as
    /// well.
    pub fn private_key(&self, seal: Option<&Seal>) -> Result<Option<Result<Secret, SealError>>, StoreError> {
        let key = keys::github_app_private_key();
        let Some(stored) = self.0.get(&key)? else { return Ok(None) };
        let clear = match (is_sealed(&stored), seal) {
            (false, _) => Ok(stored),
            (true, Some(seal)) => seal.open(&key, &stored),
            (true, None) => Err(SealError::OtherKey),
        };
        let parse = |clear: Vec<u8>| {
            serde_json::from_slice(&clear).map_err(|error| StoreError(format!("{key} is unreadable: {error}")))
        };
        Ok(Some(match clear {
            Ok(clear) => Ok(parse(clear)?),
            Err(error) => Err(error),
        }))
    }

    /// How the private key is stored.
    pub fn private_key_stored(&self) -> Result<Stored, StoreError> {
        Ok(match self.0.get(&keys::github_app_private_key())? {
            None => Stored::Nothing,
            Some(value) if is_sealed(&value) => Stored::Sealed,
            Some(_) => Stored::Clear,
        })
    }

    /// Seals a private key that was stored in clear. Of racers each writes the same key.
    pub fn seal_private_key(&self, seal: &Seal) -> Result<(), StoreError>
    where
        P: Random,
    {
        if self.private_key_stored()? != Stored::Clear {
            return Ok(());
        }
        let key = keys::github_app_private_key();
        match read::<Secret>(self.0, &key)? {
            Some(clear) => write_sealed(self.0, seal, &key, &clear),
            None => Ok(()),
        }
    }

    /// The secret of its webhook.
    pub fn webhook_secret(&self) -> Result<Option<Secret>, StoreError> {
        read(self.0, &keys::github_app_webhook_secret())
    }
}

impl<'a, P: Store + Clock> Registration<'a, P> {
    /// Keeps the App unless one is kept already; whether it was this one. Of racers one writes, and whoever reads the
    /// App finds its secrets. Without a seal the private key is stored in clear.
    pub fn keep(
        &self,
        app: &RegisteredApp,
        private_key: &Secret,
        webhook_secret: &Secret,
        seal: Option<&Seal>,
    ) -> Result<bool, StoreError>
    where
        P: Random,
    {
        let Claim::Won(_) = Attempts::new(self.0, keys::github_app_attempts()).claim(LEASE)? else { return Ok(false) };
        // Who claims after the lease of one that wrote comes too late.
        if self.app()?.is_some() {
            return Ok(false);
        }
        let key = keys::github_app_private_key();
        self.0.set_many(&[
            match seal {
                Some(seal) => encode_sealed(self.0, seal, &key, private_key)?,
                None => encode(&key, private_key)?,
            },
            encode(&keys::github_app_webhook_secret(), webhook_secret)?,
            encode(&keys::github_app(), app)?,
        ])?;
        Ok(true)
    }

    /// When the link of this secret was first opened, which is now if it never was; in seconds of Unix time.
    pub fn link_opened(&self, secret: &Secret) -> Result<u64, StoreError> {
        let key = keys::setup_link_opened(&digest(secret));
        if let Some(opened) = read(self.0, &key)? {
            return Ok(opened);
        }
        let now = self.0.unix_seconds();
        write(self.0, &key, &now)?;
        Ok(now)
    }

    /// Whether the link was used.
    pub fn link_used(&self, secret: &Secret) -> Result<bool, StoreError> {
        Ok(read::<u64>(self.0, &keys::setup_link_used(&digest(secret)))?.is_some())
    }

    /// Uses the link up; whether it was the caller who did.
    pub fn use_link(&self, secret: &Secret) -> Result<bool, StoreError> {
        let digest = digest(secret);
        let first = self.0.increment(&keys::setup_link_use(&digest), 1)? == 1;
        if first {
            write(self.0, &keys::setup_link_used(&digest), &self.0.unix_seconds())?;
        }
        Ok(first)
    }

    /// Keeps a session that is good until then, in seconds of Unix time.
    pub fn open_session(&self, session: &Secret, until: u64) -> Result<(), StoreError> {
        write(self.0, &keys::setup_session(&digest(session)), &until)
    }

    /// Until when a session is good, if it is now.
    pub fn session(&self, session: &Secret) -> Result<Option<u64>, StoreError> {
        self.good_until(&keys::setup_session(&digest(session)))
    }

    /// Keeps a `state` that is good until then, in the browser that has the session and in no other.
    pub fn open_state(&self, state: &Secret, session: &Secret, until: u64) -> Result<(), StoreError> {
        write(self.0, &keys::setup_state(&digest_of_both(state, session)), &until)
    }

    /// Whether a `state` is one of ours, of this session, and still good.
    pub fn state(&self, state: &Secret, session: &Secret) -> Result<bool, StoreError> {
        Ok(self.good_until(&keys::setup_state(&digest_of_both(state, session)))?.is_some())
    }

    /// Attempts to exchange the code that came with a `state`.
    pub fn exchanges(&self, state: &Secret, session: &Secret) -> Attempts<'a, P> {
        Attempts::new(self.0, keys::setup_state_attempts(&digest_of_both(state, session)))
    }

    /// Ends a `state`: it is good for nothing more.
    pub fn close_state(&self, state: &Secret, session: &Secret) -> Result<(), StoreError> {
        self.0.delete(&keys::setup_state(&digest_of_both(state, session)))
    }

    fn good_until(&self, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(read::<u64>(self.0, key)?.filter(|until| self.0.unix_seconds() < *until))
    }
}

fn digest(secret: &Secret) -> String {
    hex(Sha256::digest(secret.expose().as_bytes()))
}

fn digest_of_both(state: &Secret, session: &Secret) -> String {
    digest(&Secret::new(format!("{} {}", digest(state), digest(session))))
}
