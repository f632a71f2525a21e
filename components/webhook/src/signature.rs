//! GitHub's webhook signature: `X-Hub-Signature-256`, an HMAC-SHA256 over the body as it came.
//!
//! Over the raw bytes, before anything is parsed: a signature over re-serialised JSON would refuse bodies that GitHub
//! signed and accept bodies that it did not. The old `sha1=` header value is never accepted.
//! Source: GitHub Docs, "Validating webhook deliveries".

use gha_slurm_protocol::secret::Secret;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use thiserror::Error;

/// Why a delivery is not GitHub's.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub enum SignatureError {
    /// Not `sha256=` and 64 hexadecimal digits.
    #[error("X-Hub-Signature-256 is not of the form sha256=<64 hex digits>")]
    Malformed,
    /// Well formed, but made with another secret or for another body.
    #[error("X-Hub-Signature-256 does not match the body: check that the webhook secret is the App's")]
    Mismatch,
}

/// Checks the value of `X-Hub-Signature-256` against the raw body, in constant time.
pub fn verify(secret: &Secret, body: &[u8], header: &str) -> Result<(), SignatureError> {
    let digest = header.strip_prefix("sha256=").and_then(decode_digest).ok_or(SignatureError::Malformed)?;
    if matches(secret, body, &digest) { Ok(()) } else { Err(SignatureError::Mismatch) }
}

/// Whether `digest` is the HMAC-SHA256 of `body` under `secret`, compared in constant time.
fn matches(secret: &Secret, body: &[u8], digest: &[u8]) -> bool {
    // HMAC takes keys of any length, so the error cannot happen; if it did, nothing would match.
    Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .is_ok_and(|mac| mac.chain_update(body).verify_slice(digest).is_ok())
}

fn decode_digest(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GitHub's published test vector.
    const VECTOR: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn secret() -> Secret {
        Secret::new("It's a Secret to Everybody")
    }

    #[test]
    fn githubs_published_vector_is_accepted() {
        assert_eq!(verify(&secret(), b"Hello, World!", VECTOR), Ok(()));
        let upper = format!("sha256={}", VECTOR.trim_start_matches("sha256=").to_uppercase());
        assert_eq!(verify(&secret(), b"Hello, World!", &upper), Ok(()));
    }

    #[test]
    fn another_body_secret_or_digest_is_refused() {
        let mismatch = Err(SignatureError::Mismatch);
        assert_eq!(verify(&secret(), b"Hello, World?", VECTOR), mismatch);
        assert_eq!(verify(&Secret::new("other"), b"Hello, World!", VECTOR), mismatch);
        assert_eq!(verify(&secret(), b"Hello, World!", &VECTOR.replace("757107", "757108")), mismatch);
    }

    #[test]
    fn anything_but_sha256_and_64_hex_digits_is_malformed() {
        let digest = VECTOR.trim_start_matches("sha256=");
        for bad in [
            String::new(),
            digest.to_owned(),
            format!("sha1={digest}"),
            format!("SHA256={digest}"),
            format!("{VECTOR}0"),
            VECTOR.trim_end_matches('7').to_owned(),
            format!("sha256={}", "g".repeat(64)),
            format!("sha256={}", "+1".repeat(32)),
            format!("sha256={}", "ä".repeat(32)),
        ] {
            assert_eq!(verify(&secret(), b"Hello, World!", &bad), Err(SignatureError::Malformed), "{bad:?}");
        }
    }
}
