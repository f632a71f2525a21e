//! Secrets in the store, sealed so that only the components that need them can read them.
//!
//! All components share one store, and whoever reads it, by a backup, by a stolen file or from within a component that
//! faces strangers, reads every value. So a secret is stored encrypted (XChaCha20-Poly1305), with a key that is derived
//! (HKDF-SHA256) from a variable that only the components with a use for that secret have. The name of the store's key
//! is authenticated with it: a sealed value that is moved under another name does not open.
//!
//! A sealed value is one byte of version, four bytes that name the key, a nonce of 24 bytes, which is long enough to be
//! drawn at random, and the ciphertext with its tag. No JSON begins with that version byte, so values that an earlier
//! build stored in clear are told apart.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use gha_slurm_protocol::secret::Secret;
use hkdf::Hkdf;
use sha2::Sha256;
use thiserror::Error;

use crate::ports::Random;

/// First byte of a sealed value.
const VERSION: u8 = 1;
const ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 24;
const SALT: &[u8] = b"gha-slurm seal 1";

/// What is sealed. Each purpose has keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Tokens that GitHub issued, and the App's JWT.
    GitHubTokens,
    /// The App's private key, as the setup in the browser registered it.
    AppKey,
}

impl Purpose {
    fn word(self) -> &'static [u8] {
        match self {
            Self::GitHubTokens => b"github-tokens",
            Self::AppKey => b"app-key",
        }
    }
}

/// Why a value does not open.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub enum SealError {
    /// It is stored in clear, or not by this project.
    #[error("it is not sealed")]
    Clear,
    /// Another key sealed it: the variable that the key is derived from was changed.
    #[error("it is sealed with another key")]
    OtherKey,
    /// It was changed, or moved from under another name.
    #[error("it is sealed, and damaged")]
    Damaged,
}

struct SealKey {
    id: [u8; ID_BYTES],
    cipher: XChaCha20Poly1305,
}

/// Seals with one key and opens what any of several sealed, so that the variable behind them can be changed.
pub struct Seal {
    first: SealKey,
    others: Vec<SealKey>,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(…)")
    }
}

impl Seal {
    /// Keys for a purpose, derived from what only its components hold.
    pub fn new(purpose: Purpose, root: &Secret) -> Self {
        Self { first: SealKey::derive(purpose, root), others: Vec::new() }
    }

    /// Opens also what was sealed under this one.
    pub fn or(mut self, purpose: Purpose, root: &Secret) -> Self {
        self.others.push(SealKey::derive(purpose, root));
        self
    }

    /// The value as it is stored under `name`.
    pub fn seal(&self, random: &impl Random, name: &str, clear: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        random.fill(&mut nonce);
        let payload = Payload { msg: clear, aad: name.as_bytes() };
        let sealed = self.first.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Damaged)?;
        let mut value = Vec::with_capacity(1 + ID_BYTES + NONCE_BYTES + sealed.len());
        value.push(VERSION);
        value.extend(self.first.id);
        value.extend(nonce);
        value.extend(sealed);
        Ok(value)
    }

    /// The value behind what is stored under `name`.
    pub fn open(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, SealError> {
        let sealed = value.strip_prefix(&[VERSION]).ok_or(SealError::Clear)?;
        let (id, sealed) = sealed.split_first_chunk::<ID_BYTES>().ok_or(SealError::Damaged)?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Damaged)?;
        let mut keys = std::iter::once(&self.first).chain(&self.others);
        let key = keys.find(|key| key.id == *id).ok_or(SealError::OtherKey)?;
        let payload = Payload { msg: sealed, aad: name.as_bytes() };
        key.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError::Damaged)
    }
}

/// Whether a stored value is a sealed one.
pub fn is_sealed(value: &[u8]) -> bool {
    value.first() == Some(&VERSION)
}

impl SealKey {
    fn derive(purpose: Purpose, root: &Secret) -> Self {
        let mut bytes = [0; 32 + ID_BYTES];
        derive(root, SALT, purpose.word(), &mut bytes);
        let (key, id) = bytes.split_at(32);
        let (mut of_cipher, mut name) = ([0; 32], [0; ID_BYTES]);
        of_cipher.copy_from_slice(key);
        name.copy_from_slice(id);
        Self { id: name, cipher: XChaCha20Poly1305::new(&Key::from(of_cipher)) }
    }
}

/// Fills `bytes` with what HKDF-SHA256 derives from a secret. At most 8160 bytes, which no caller comes near to.
pub(crate) fn derive(root: &Secret, salt: &[u8], purpose: &[u8], bytes: &mut [u8]) {
    let filled = Hkdf::<Sha256>::new(Some(salt), root.expose().as_bytes()).expand(purpose, bytes);
    debug_assert!(filled.is_ok(), "a key is shorter than HKDF's limit");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    const NAME: &str = "gha-slurm/1/cache/app-jwt";

    fn seal(root: &str) -> Seal {
        Seal::new(Purpose::GitHubTokens, &Secret::new(root))
    }

    #[test]
    fn a_sealed_value_opens_with_its_own_key_under_its_own_name() {
        let memory = Memory::new();
        let sealed = seal("root").seal(&memory, NAME, b"ghs_secret").unwrap();
        assert!(is_sealed(&sealed) && !sealed.windows(4).any(|part| part == b"ghs_"), "{sealed:?}");
        assert_eq!(seal("root").open(NAME, &sealed).as_deref(), Ok(&b"ghs_secret"[..]));
        assert_eq!(seal("root").open("gha-slurm/1/cache/other", &sealed), Err(SealError::Damaged), "moved");
        assert_eq!(seal("other").open(NAME, &sealed), Err(SealError::OtherKey));
        let other_purpose = Seal::new(Purpose::AppKey, &Secret::new("root"));
        assert_eq!(other_purpose.open(NAME, &sealed), Err(SealError::OtherKey));
        assert_ne!(seal("root").seal(&memory, NAME, b"ghs_secret").unwrap(), sealed, "no nonce twice");
    }

    #[test]
    fn whatever_is_changed_in_it_it_does_not_open() {
        let sealed = seal("root").seal(&Memory::new(), NAME, b"ghs_secret").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(seal("root").open(NAME, &changed).is_err(), "byte {at}");
            assert!(seal("root").open(NAME, &sealed[..at]).is_err(), "{at} bytes of it");
        }
        for clear in [&b""[..], b"\"ghs_secret\"", b"{}"] {
            assert_eq!(seal("root").open(NAME, clear), Err(SealError::Clear));
        }
    }

    #[test]
    fn the_variable_behind_it_can_be_changed() {
        let memory = Memory::new();
        let sealed = seal("old").seal(&memory, NAME, b"x").unwrap();
        let both = seal("new").or(Purpose::GitHubTokens, &Secret::new("old"));
        assert_eq!(both.open(NAME, &sealed).as_deref(), Ok(&b"x"[..]));
        let sealed = both.seal(&memory, NAME, b"x").unwrap();
        assert_eq!(seal("new").open(NAME, &sealed).as_deref(), Ok(&b"x"[..]), "what is new is sealed with the new one");
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", seal("root")), "Seal(…)");
    }
}
