//! Tokens for slurmrestd: for the mapped user and nobody else, short-lived.
//!
//! A token of root or SlurmUser would do for every user, and for users that do not exist; that is why there is none
//! here. Tokens are kept until shortly before they expire. A failure is not kept: the next request tries again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use gha_slurm_protocol::secret::Secret;
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;
use tokio::sync::Mutex;

use crate::backend::command::{command, run as run_command};
use crate::backend::{BackendError, user};
use crate::config::{self, ConfigError};

const COMMAND_DEADLINE: Duration = Duration::from_secs(15);

/// One user's token, with its end.
type Kept = Arc<Mutex<Option<(Secret, Instant)>>>;

pub(super) struct Tokens {
    source: Source,
    lifetime: Duration,
    /// Each user's in a lock of its own, so that one who has to wait for a token keeps nobody else.
    kept: std::sync::Mutex<HashMap<String, Kept>>,
}

enum Source {
    Key(PathBuf),
    Command(Vec<String>),
}

impl Tokens {
    pub(super) fn new(settings: &config::Slurmrestd) -> Result<Self, ConfigError> {
        let source = match &settings.jwt_key_file {
            Some(path) => {
                std::fs::read(path).map_err(|error| ConfigError::Unreadable { path: path.clone(), error })?;
                Source::Key(path.clone())
            }
            None => Source::Command(settings.token_command.clone()),
        };
        Ok(Self { source, lifetime: Duration::from_secs(settings.token_seconds), kept: std::sync::Mutex::default() })
    }

    fn of(&self, user: &str) -> Kept {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.entry(user.to_owned()).or_default())
    }

    /// A token that is valid for a while yet.
    pub(super) async fn get(&self, user: &str) -> Result<Secret, BackendError> {
        let own = self.of(user);
        // Held while minting, so that a burst mints once.
        let mut kept = own.lock().await;
        if let Some((token, renew)) = &*kept
            && Instant::now() < *renew
        {
            return Ok(token.clone());
        }
        user::account(user).await?;
        let renew = Instant::now() + self.lifetime / 2;
        let token = match &self.source {
            // Read each time: a site may change it.
            Source::Key(path) => sign(&read_key(path).await?, user, self.lifetime)?,
            Source::Command(command) => run(command, user, self.lifetime).await?,
        };
        *kept = Some((token.clone(), renew));
        Ok(token)
    }

    /// Drops a token that was not accepted, unless there is a newer one already.
    pub(super) async fn forget(&self, user: &str, refused: &Secret) {
        let own = self.of(user);
        let mut kept = own.lock().await;
        if kept.as_ref().is_some_and(|(token, _)| token.expose() == refused.expose()) {
            *kept = None;
        }
    }
}

async fn read_key(path: &Path) -> Result<Vec<u8>, BackendError> {
    let unreadable = |error| BackendError::Outage(format!("no token could be signed: {}: {error}", path.display()));
    tokio::fs::read(path).await.map_err(unreadable)
}

/// A JWT of HS256 with the claims that Slurm reads: `exp`, `iat` and `sun`, the user (the JWT page of Slurm's
/// documentation). Written out, because the libraries that sign it bring RSA and elliptic curves with them, which whoever
/// audits the gateway would have to read past.
fn sign(key: &[u8], user: &str, lifetime: Duration) -> Result<Secret, BackendError> {
    let unsigned = |error: String| BackendError::Outage(format!("no token could be signed: {error}"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| unsigned(error.to_string()))?;
    let claims = json!({"iat": now.as_secs(), "exp": (now + lifetime).as_secs(), "sun": user});
    let [header, claims] =
        [json!({"alg": "HS256", "typ": "JWT"}), claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
    let mac = Hmac::<Sha256>::new_from_slice(key).map_err(|error| unsigned(error.to_string()))?;
    let mac = mac.chain_update(format!("{header}.{claims}")).finalize().into_bytes();
    Ok(Secret::new(format!("{header}.{claims}.{}", BASE64_URL_SAFE_NO_PAD.encode(mac))))
}

async fn run(words: &[String], user: &str, lifetime: Duration) -> Result<Secret, BackendError> {
    let outage = |problem: String| BackendError::Outage(format!("no token could be minted: {problem}"));
    let seconds = lifetime.as_secs().to_string();
    let mut words = words.iter().map(|word| word.replace("{user}", user).replace("{seconds}", &seconds));
    let program = words.next().unwrap_or_default();
    let output = run_command(command(&program).args(words), "", COMMAND_DEADLINE).await;
    let output = output
        .map_err(|error| outage(format!("{program}: {error}")))?
        .ok_or_else(|| outage(format!("{program} does not end")))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let token = printed.lines().find_map(|line| line.trim().strip_prefix("SLURM_JWT="));
    match token {
        Some(token) if output.status.success() && !token.is_empty() => Ok(Secret::new(token)),
        _ => {
            let words = String::from_utf8_lossy(&output.stderr);
            Err(outage(format!("{program}: {}, {}", output.status, words.trim().chars().take(200).collect::<String>())))
        }
    }
}

#[cfg(test)]
mod tests {
    use jwt_simple::prelude::{HS256Key, MACLike};
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct SlurmUserName {
        sun: String,
    }

    fn tokens(command: &[&str], seconds: u64) -> Tokens {
        Tokens::new(&config::Slurmrestd {
            token_command: command.iter().map(|word| (*word).to_owned()).collect(),
            token_seconds: seconds,
            ..config::Slurmrestd::default()
        })
        .unwrap()
    }

    #[tokio::test]
    async fn a_token_is_minted_for_the_user_kept_and_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let script = format!("echo x >> {}; echo SLURM_JWT=$0-$1-$(wc -l < {0})", count.display());
        let tokens = tokens(&["sh", "-c", &script, "{user}", "{seconds}"], 300);
        let first = tokens.get("root").await.unwrap();
        assert_eq!(first.expose(), "root-300-1");
        assert_eq!(tokens.get("root").await.unwrap().expose(), "root-300-1", "kept");
        assert_eq!(tokens.get("daemon").await.unwrap().expose(), "daemon-300-2", "another user, another token");
        tokens.forget("root", &first).await;
        assert_eq!(tokens.get("root").await.unwrap().expose(), "root-300-3");
        tokens.forget("root", &first).await;
        assert_eq!(tokens.get("root").await.unwrap().expose(), "root-300-3", "a newer token stays");
        assert!(matches!(tokens.get("nobody-of-this-name").await, Err(BackendError::NoUser(_))));
    }

    #[tokio::test]
    async fn a_failure_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let works = folder.path().join("works");
        let script = format!("test -e {} && echo SLURM_JWT=token", works.display());
        let tokens = tokens(&["sh", "-c", &script], 300);
        assert!(matches!(tokens.get("root").await, Err(BackendError::Outage(_))));
        std::fs::write(&works, "").unwrap();
        assert_eq!(tokens.get("root").await.unwrap().expose(), "token");
    }

    #[tokio::test]
    async fn a_key_file_signs_what_slurm_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, [7; 32]).unwrap();
        let tokens = Tokens::new(&config::Slurmrestd {
            jwt_key_file: Some(path),
            token_seconds: 60,
            ..config::Slurmrestd::default()
        })
        .unwrap();
        let token = tokens.get("root").await.unwrap();
        let claims = HS256Key::from_bytes(&[7; 32]).verify_token::<SlurmUserName>(token.expose(), None).unwrap();
        assert_eq!(claims.custom.sun, "root");
        assert_eq!(claims.expires_at.unwrap().as_secs() - claims.issued_at.unwrap().as_secs(), 60);
    }
}
