//! The App as the set-up in the browser registered it, and what that set-up keeps on its way there.
//!
//! Secrets that came from outside (the link's, a session's, a `state`) are part of a key by their digest alone: who reads
//! the store's keys can use none of them, and to look one up takes the same time whatever was guessed.

use std::time::Duration;

use gha_slurm_protocol::hex::hex;
use gha_slurm_protocol::secret::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Attempts, Claim, encode, keys, read, write};
use crate::ports::{Clock, Store, StoreError};

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

    /// Its private key, a PEM.
    pub fn private_key(&self) -> Result<Option<Secret>, StoreError> {
        read(self.0, &keys::github_app_private_key())
    }

    /// The secret of its webhook.
    pub fn webhook_secret(&self) -> Result<Option<Secret>, StoreError> {
        read(self.0, &keys::github_app_webhook_secret())
    }
}

impl<'a, P: Store + Clock> Registration<'a, P> {
    /// Keeps the App unless one is kept already; whether it was this one. Of racers one writes, and whoever reads the
    /// App finds its secrets.
    pub fn keep(&self, app: &RegisteredApp, private_key: &Secret, webhook_secret: &Secret) -> Result<bool, StoreError> {
        let Claim::Won(_) = Attempts::new(self.0, keys::github_app_attempts()).claim(LEASE)? else { return Ok(false) };
        // Who claims after the lease of one that wrote comes too late.
        if self.app()?.is_some() {
            return Ok(false);
        }
        self.0.set_many(&[
            encode(&keys::github_app_private_key(), private_key)?,
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

    /// Keeps a `state` that is good until then.
    pub fn open_state(&self, state: &Secret, until: u64) -> Result<(), StoreError> {
        write(self.0, &keys::setup_state(&digest(state)), &until)
    }

    /// Whether a `state` is one of ours and still good.
    pub fn state(&self, state: &Secret) -> Result<bool, StoreError> {
        Ok(self.good_until(&keys::setup_state(&digest(state)))?.is_some())
    }

    /// Attempts to exchange the code that came with a `state`.
    pub fn exchanges(&self, state: &Secret) -> Attempts<'a, P> {
        Attempts::new(self.0, keys::setup_state_attempts(&digest(state)))
    }

    /// Ends a `state`: it is good for nothing more.
    pub fn close_state(&self, state: &Secret) -> Result<(), StoreError> {
        self.0.delete(&keys::setup_state(&digest(state)))
    }

    fn good_until(&self, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(read::<u64>(self.0, key)?.filter(|until| self.0.unix_seconds() < *until))
    }
}

fn digest(secret: &Secret) -> String {
    hex(Sha256::digest(secret.expose().as_bytes()))
}
