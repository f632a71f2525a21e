//! The JWT by which the App proves itself to GitHub.
//!
//! Source: GitHub Docs, "Generating a JSON Web Token (JWT) for a GitHub App".

use std::fmt;

use gha_slurm_protocol::secret::Secret;
use jwt_simple::prelude::{Claims, Duration, RS256KeyPair, RSAKeyPairLike};

/// `iat` lies this far in the past, against clocks that differ.
const BACKDATED_SECONDS: u64 = 60;
/// What GitHub takes, from now on.
pub(super) const LONGEST_SECONDS: i64 = 600;
/// A minute less, for a clock that is ahead of GitHub's.
const LIFETIME_SECONDS: u64 = 540;

/// The App's private key.
#[derive(Clone)]
pub struct AppKey(RS256KeyPair);

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppKey(…)")
    }
}

impl AppKey {
    /// Reads PKCS#1 (as GitHub hands it out) or PKCS#8.
    pub fn from_pem(pem: &str) -> Option<Self> {
        RS256KeyPair::from_pem(pem).ok().map(Self)
    }

    /// An App JWT for `app_id`, valid around `now`, and its end (both in seconds of Unix time); `None` when the key cannot
    /// sign.
    pub fn sign(&self, app_id: &str, now: u64) -> Option<(Secret, u64)> {
        let mut claims = Claims::create(Duration::from_secs(LIFETIME_SECONDS)).with_issuer(app_id);
        claims.issued_at = Some(Duration::from_secs(now.saturating_sub(BACKDATED_SECONDS)));
        claims.invalid_before = None;
        let end = now + LIFETIME_SECONDS;
        claims.expires_at = Some(Duration::from_secs(end));
        Some((Secret::new(self.0.sign(claims).ok()?), end))
    }
}

#[cfg(test)]
mod tests {
    use jwt_simple::prelude::*;

    use super::*;

    #[test]
    fn both_pem_forms_sign_what_the_public_key_verifies_within_githubs_time_rules() {
        let key = RS256KeyPair::generate(2048).unwrap();
        let pkcs8 = key.to_pem().unwrap();
        let now = 1_800_000_000;
        let (jwt, _) = AppKey::from_pem(&pkcs8).unwrap().sign("123456", now).unwrap();
        let options =
            VerificationOptions { artificial_time: Some(Duration::from_secs(now)), ..VerificationOptions::default() };
        let claims = key.public_key().verify_token::<NoCustomClaims>(jwt.expose(), Some(options)).unwrap();
        assert_eq!(claims.issuer.as_deref(), Some("123456"));
        assert!(claims.issued_at.unwrap().as_secs() <= now - 60);
        assert!(claims.expires_at.unwrap().as_secs() <= now + 600);
    }

    #[test]
    fn what_is_no_key_is_no_key() {
        for bad in ["", "garbage", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"] {
            assert!(AppKey::from_pem(bad).is_none(), "{bad:?}");
        }
    }
}
