//! A string that must not be seen: its `Debug` shows only that it is there, and it has no `Display`.

use std::fmt;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// A secret value. Read it with [`Secret::expose`] at the one place that sends or checks it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value that is not to be printed.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Secret {
    /// Whether `given` is this secret, compared in constant time: by MACs, so that not even the length shows.
    pub fn matches(&self, given: &str) -> bool {
        let mac = |text: &str| Hmac::<Sha256>::new_from_slice(b"compare").map(|mac| mac.chain_update(text.as_bytes()));
        match (mac(&self.0), mac(given)) {
            (Ok(own), Ok(given)) => given.verify_slice(&own.finalize().into_bytes()).is_ok(),
            _ => false,
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_matches_itself_alone() {
        assert!(Secret::new("hunter2").matches("hunter2"));
        for other in ["", "hunter", "hunter22", "Hunter2"] {
            assert!(!Secret::new("hunter2").matches(other), "{other:?}");
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_value() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }
}
