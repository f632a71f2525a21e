//! The launch token: a JWT that carries a launch through Slurm's queue and back.
//!
//! Ed25519, so that who verifies, or reads the store, can sign nothing ([`crate::launch_keys`]). The algorithm is fixed
//! here, whatever a token's header says.

use std::collections::HashSet;

use gha_slurm_protocol::identity::{ClusterName, LaunchId, RepositoryName};
use gha_slurm_protocol::labels::LabelSet;
use gha_slurm_protocol::secret::Secret;
use jwt_simple::prelude::{
    Claims, Duration, EdDSAKeyPairLike, EdDSAPublicKeyLike, NoCustomClaims, Token, VerificationOptions,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::identity::{InstallationId, RepositoryId};
use crate::launch_keys::{is_alive, signing_key, verifying_key};
use crate::ports::{Clock, Random, Store, StoreError};

/// How long a launch token is valid: GitHub fails a job that was queued for 24 h.
pub const LIFETIME_SECONDS: u64 = 24 * 60 * 60;

/// The longest token that is looked at. Ours are below 2 kB.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// By how much two replicas' clocks may differ.
pub(crate) const CLOCK_TOLERANCE_SECONDS: u64 = 120;
const ISSUER: &str = "gha-slurm";

/// What a launch token says about the request, for people who look into one. Nothing is decided by it: a launch's
/// repository, installation and labels are those of its facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The repository's id.
    pub repository_id: RepositoryId,
    /// The repository's name when the job was queued.
    pub repository: RepositoryName,
    /// The App's installation as the webhook named it, if it did.
    pub installation: Option<InstallationId>,
    /// The labels that the runner registers with.
    pub labels: LabelSet,
    /// The workflow run's attempt.
    pub run_attempt: u64,
    /// The profile that took the job.
    pub profile: String,
}

/// Why a token is not honoured.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum TokenError {
    /// Forged, expired, for another audience, or no launch token at all. The reason is for the log: who sent it learns
    /// nothing from it.
    #[error("not a valid launch token: {0}")]
    Refused(String),
    /// The key could not be read or kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far a token's time of issue lies in the past, as GitHub has it of an App's JWT.
const BACKDATED_SECONDS: u64 = 5 * 60;

/// Issues and verifies the launch tokens of one audience, which is the URL where they are redeemed.
pub struct LaunchTokens<'a, P> {
    platform: &'a P,
    audience: String,
}

impl<'a, P: Store + Clock> LaunchTokens<'a, P> {
    /// Tokens for `audience`, with the keys in `platform`'s store.
    pub fn new(platform: &'a P, audience: impl Into<String>) -> Self {
        Self { platform, audience: audience.into() }
    }

    /// Signs a token for `id` that is valid for [`LIFETIME_SECONDS`] from now, with the key of a cluster, which is derived from
    /// the secret that the app shares with its gateways.
    pub fn issue(
        &self,
        (cluster, secret): (&ClusterName, &Secret),
        id: LaunchId,
        launch: Launch,
    ) -> Result<Secret, TokenError>
    where
        P: Random,
    {
        let mut claims = Claims::with_custom_claims(launch, Duration::from_secs(LIFETIME_SECONDS))
            .with_issuer(ISSUER)
            .with_audience(&self.audience)
            .with_jwt_id(id);
        let now = Duration::from_secs(self.platform.unix_seconds());
        // The Slurm job may start at once, and meet a replica whose clock is behind this one's.
        let begin = now.saturating_sub(Duration::from_secs(BACKDATED_SECONDS));
        claims.issued_at = Some(begin);
        claims.invalid_before = Some(begin);
        claims.expires_at = Some(now + Duration::from_secs(LIFETIME_SECONDS));
        let token = signing_key(self.platform, cluster, secret)?.sign(claims).map_err(refused)?;
        Ok(Secret::new(token))
    }

    /// Refuses a token whose key was revoked since it was verified; its signature is not verified again.
    pub fn check_key(&self, token: &str) -> Result<(), TokenError> {
        let metadata = Token::decode_metadata(token).map_err(refused)?;
        let kid = metadata.key_id().ok_or_else(|| refused("no kid"))?;
        if is_alive(self.platform, kid)? { Ok(()) } else { Err(refused("unknown kid")) }
    }

    /// The launch that `token` stands for, if one of our keys signed it for this audience and it is valid now. What it says
    /// of the launch besides is not read: whoever has a key could say anything.
    pub fn verify(&self, token: &str) -> Result<LaunchId, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(refused("too long"));
        }
        let metadata = Token::decode_metadata(token).map_err(refused)?;
        let kid = metadata.key_id().ok_or_else(|| refused("no kid"))?;
        let key = verifying_key(self.platform, kid)?.ok_or_else(|| refused("unknown kid"))?;
        let options = VerificationOptions {
            allowed_issuers: Some(HashSet::from([ISSUER.to_owned()])),
            allowed_audiences: Some(HashSet::from([self.audience.clone()])),
            artificial_time: Some(Duration::from_secs(self.platform.unix_seconds())),
            time_tolerance: Some(Duration::from_secs(CLOCK_TOLERANCE_SECONDS)),
            ..VerificationOptions::default()
        };
        let claims = key.verify_token::<NoCustomClaims>(token, Some(options)).map_err(refused)?;
        if claims.expires_at.is_none() {
            return Err(refused("no exp"));
        }
        claims.jwt_id.as_deref().and_then(|id| id.parse().ok()).ok_or_else(|| refused("no launch in jti"))
    }
}

fn refused(reason: impl ToString) -> TokenError {
    TokenError::Refused(reason.to_string())
}

#[cfg(test)]
mod tests {
    use jwt_simple::prelude::{Ed25519KeyPair, HS256Key, JWTClaims, MACLike};

    use super::*;
    use crate::cluster::Definitions;
    use crate::launch_keys::revoke_all;
    use crate::ledger::keys;
    use crate::testing::Memory;

    const AUDIENCE: &str = "https://app.example/gha/runner";

    fn root() -> Secret {
        Secret::new("the-secret-that-gateway-and-app-share")
    }

    fn id() -> LaunchId {
        "42-1".parse().unwrap()
    }

    fn launch() -> Launch {
        Launch {
            repository_id: RepositoryId(7),
            repository: RepositoryName::try_from("octo/repo".to_owned()).unwrap(),
            installation: Some(InstallationId(9_007_199_254_740_993)),
            labels: ["self-hosted", "slurm"].iter().collect(),
            run_attempt: 1,
            profile: "default".to_owned(),
        }
    }

    fn assert_refused(result: Result<LaunchId, TokenError>, what: &str) {
        assert!(matches!(result, Err(TokenError::Refused(_))), "{what}: {result:?}");
    }

    #[test]
    fn what_was_issued_comes_back_until_it_expires() {
        let platform = Memory::new();
        let tokens = LaunchTokens::new(&platform, AUDIENCE);
        let token = tokens.issue((&ClusterName::default(), &root()), id(), launch()).unwrap();
        let start = platform.seconds.get();
        for later in [0, LIFETIME_SECONDS] {
            platform.seconds.set(start + later);
            assert_eq!(tokens.verify(token.expose()), Ok(id()), "{later} s later");
        }
        platform.seconds.set(start + LIFETIME_SECONDS + CLOCK_TOLERANCE_SECONDS + 1);
        assert_refused(tokens.verify(token.expose()), "expired");
        platform.seconds.set(start - BACKDATED_SECONDS);
        assert_eq!(tokens.verify(token.expose()), Ok(id()), "by a clock that is behind");
        platform.seconds.set(start - BACKDATED_SECONDS - CLOCK_TOLERANCE_SECONDS - 1);
        assert_refused(tokens.verify(token.expose()), "not yet valid");
    }

    #[test]
    fn another_audience_key_or_algorithm_is_refused() {
        let platform = Memory::new();
        let tokens = LaunchTokens::new(&platform, AUDIENCE);
        let token = tokens.issue((&ClusterName::default(), &root()), id(), launch()).unwrap();
        assert_refused(LaunchTokens::new(&platform, "https://other.example").verify(token.expose()), "audience");
        assert_refused(LaunchTokens::new(&Memory::new(), AUDIENCE).verify(token.expose()), "foreign key");

        let (signed, signature) = token.expose().rsplit_once('.').unwrap();
        let (_, claims) = signed.split_once('.').unwrap();
        // {"alg":"none","typ":"JWT"}
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
        for forged in [
            format!("{none}.{claims}."),
            format!("{none}.{claims}.{signature}"),
            format!("{signed}."),
            format!("{signed}.{}", signature.to_lowercase()),
            format!("{}.x", token.expose()),
            String::new(),
            "..".to_owned(),
            "garbage".to_owned(),
            "a".repeat(1 << 20),
        ] {
            assert_refused(tokens.verify(&forged), forged.get(..40).unwrap_or(&forged));
        }
    }

    #[test]
    fn the_keys_of_two_replicas_that_raced_both_stay_valid() {
        let platform = Memory::new();
        let tokens = LaunchTokens::new(&platform, AUDIENCE);
        let first = tokens.issue((&ClusterName::default(), &root()), id(), launch()).unwrap();
        // The other replica had also seen that there was no current key.
        platform.delete(&keys::signing_key_current(&ClusterName::default())).unwrap();
        let second = tokens.issue((&ClusterName::default(), &root()), id(), launch()).unwrap();
        for token in [first, second] {
            assert_eq!(tokens.verify(token.expose()), Ok(id()));
        }
    }

    #[test]
    fn revoking_refuses_what_is_out_and_the_next_token_is_good() {
        let platform = Memory::new();
        let tokens = LaunchTokens::new(&platform, AUDIENCE);
        let out = tokens.issue((&ClusterName::default(), &root()), id(), launch()).unwrap();
        revoke_all(&platform, &Definitions::parse("", 1).unwrap()).unwrap();
        assert_refused(tokens.verify(out.expose()), "revoked");
        let next = tokens.issue((&ClusterName::default(), &root()), id(), launch()).unwrap();
        assert!(tokens.verify(next.expose()).is_ok());
        assert_refused(tokens.verify(out.expose()), "no key comes back");
    }

    #[test]
    fn a_reader_of_the_store_can_sign_nothing() {
        let platform = Memory::new();
        let tokens = LaunchTokens::new(&platform, AUDIENCE);
        let token = tokens.issue((&ClusterName::default(), &root()), id(), launch()).unwrap();
        let kid = Token::decode_metadata(token.expose()).unwrap().key_id().unwrap().to_owned();
        // All that the store holds, as the key of the algorithm that needs no private half.
        for (key, value) in platform.values() {
            let numbers: Vec<u8> = serde_json::from_slice(&value).unwrap_or_default();
            for secret in [value, numbers].into_iter().filter(|secret| secret.len() >= 32) {
                let forged =
                    HS256Key::from_bytes(&secret).with_key_id(&kid).authenticate(claims_of(&platform)).unwrap();
                assert_refused(tokens.verify(&forged), &key);
            }
        }
        // The right algorithm with a key of the forger's own.
        let own = Ed25519KeyPair::generate().with_key_id(&kid).sign(claims_of(&platform)).unwrap();
        assert_refused(tokens.verify(&own), "another key pair");
    }

    fn claims_of(platform: &Memory) -> JWTClaims<Launch> {
        let mut claims = Claims::with_custom_claims(launch(), Duration::from_secs(60))
            .with_issuer(ISSUER)
            .with_audience(AUDIENCE)
            .with_jwt_id(id());
        let now = Duration::from_secs(platform.unix_seconds());
        (claims.issued_at, claims.invalid_before) = (Some(now), Some(now));
        claims.expires_at = Some(now + Duration::from_secs(60));
        claims
    }
}
