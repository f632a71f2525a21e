//! Who the App is: the variables win, and what the setup in the browser kept stands in for those that are not set.

use gha_slurm_protocol::hex::hex;
use gha_slurm_protocol::secret::Secret;
use sha2::{Digest, Sha256};

use super::{GitHubSettings, SettingError, Settings};
use crate::github::app_jwt::AppKey;
use crate::ledger::Registration;
use crate::ports::{Store, Variables};
use crate::sealing::{Purpose, Seal};

const PRIVATE_KEY: &str = "github_private_key";
/// A key and the one that follows it.
const MOST_KEYS: usize = 2;

/// One of the App's private keys.
#[derive(Debug, Clone)]
pub struct AppSigner {
    /// The key.
    pub key: AppKey,
    /// A digest of the App's id and of the key, which tells whether something was signed by what is set now.
    pub digest: String,
}

impl<V: Variables + Store> Settings<'_, V> {
    /// `github_webhook_secret`
    pub fn webhook_secret(&self) -> Result<Secret, SettingError> {
        let name = "github_webhook_secret";
        match self.optional(name)? {
            Some(secret) => Ok(Secret::new(secret)),
            None => Registration::new(self.0).webhook_secret()?.ok_or(SettingError::Unconfigured { name }),
        }
    }

    /// `github_app_id` and `github_api_url`
    pub fn github(&self) -> Result<GitHubSettings, SettingError> {
        let app_id = match self.app_id_variable()? {
            Some(app_id) => app_id,
            None => match Registration::new(self.0).app()? {
                Some(app) => app.app_id.to_string(),
                None => return Err(SettingError::Unconfigured { name: "github_app_id" }),
            },
        };
        Ok(GitHubSettings { app_id, api: self.github_api()? })
    }

    /// `github_private_key`: a PEM, PKCS#1 or PKCS#8. A line break may be written as `\n`, as one-line files have it. Of
    /// two keys one after the other, the first.
    pub fn app_key(&self) -> Result<AppKey, SettingError> {
        let pems = self.private_keys()?;
        let first = pems.first().and_then(|pem| AppKey::from_pem(pem.expose()));
        first.ok_or_else(malformed_key)
    }

    /// The App's keys, the one to sign with first. There are two while one replaces the other: then the second is for the
    /// time that GitHub does not know the first yet, or does not any more.
    pub fn app_signers(&self) -> Result<Vec<AppSigner>, SettingError> {
        let app_id = self.github()?.app_id;
        let signer = |pem: &Secret| {
            let key = AppKey::from_pem(pem.expose()).ok_or_else(malformed_key)?;
            Ok(AppSigner { key, digest: digest(&app_id, pem) })
        };
        self.private_keys()?.iter().map(signer).collect()
    }

    /// The digests of [`Settings::app_signers`], which take no reading of keys.
    pub fn app_signer_digests(&self) -> Result<Vec<String>, SettingError> {
        let app_id = self.github()?.app_id;
        Ok(self.private_keys()?.iter().map(|pem| digest(&app_id, pem)).collect())
    }

    /// What seals tokens of GitHub in the store: derived from the App's private key, or from `store_key` where that key is
    /// itself in the store.
    pub fn token_seal(&self) -> Result<Seal, SettingError> {
        const PURPOSE: Purpose = Purpose::GitHubTokens;
        let roots = match (self.private_key_variable()?, self.store_key()?) {
            (Some(pems), _) => pems,
            (None, Some(store_key)) => vec![store_key],
            (None, None) => self.private_keys()?,
        };
        let mut roots = roots.iter();
        let first = Seal::new(PURPOSE, roots.next().ok_or_else(malformed_key)?);
        Ok(roots.fold(first, |seal, root| seal.or(PURPOSE, root)))
    }

    /// What seals the App's private key in the store, where there is a `store_key`.
    pub fn app_key_seal(&self) -> Result<Option<Seal>, SettingError> {
        Ok(self.store_key()?.map(|root| Seal::new(Purpose::AppKey, &root)))
    }

    fn private_keys(&self) -> Result<Vec<Secret>, SettingError> {
        if let Some(pems) = self.private_key_variable()? {
            return Ok(pems);
        }
        match Registration::new(self.0).private_key(self.app_key_seal()?.as_ref())? {
            Some(Ok(pem)) => Ok(vec![pem]),
            Some(Err(error)) => {
                let problem = format!("does not open the App's private key in the store: {error}");
                Err(SettingError::new("store_key", problem))
            }
            None => Err(SettingError::Unconfigured { name: PRIVATE_KEY }),
        }
    }

    /// The PEMs of the variable, where it is set.
    fn private_key_variable(&self) -> Result<Option<Vec<Secret>>, SettingError> {
        let Some(text) = self.optional(PRIVATE_KEY)? else { return Ok(None) };
        let text = text.replace("\\n", "\n");
        let mut starts = text.match_indices("-----BEGIN ").map(|(at, _)| at).collect::<Vec<_>>();
        if starts.is_empty() || starts.len() > MOST_KEYS {
            return Err(malformed_key());
        }
        starts.push(text.len());
        let pem = |pair: &[usize]| match pair {
            [from, to] => text.get(*from..*to).map(|pem| Secret::new(pem.trim())),
            _ => None,
        };
        Ok(Some(starts.windows(2).filter_map(pem).collect()))
    }
}

fn digest(app_id: &str, pem: &Secret) -> String {
    hex(Sha256::new_with_prefix(app_id).chain_update(b"\n").chain_update(pem.expose()).finalize())
}

fn malformed_key() -> SettingError {
    let problem = "is not an RSA private key in PEM form as downloaded from GitHub (BEGIN RSA PRIVATE KEY)";
    SettingError::new(PRIVATE_KEY, problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    #[test]
    fn the_variable_may_hold_a_key_and_the_one_that_follows_it() {
        let platform = Memory::configured();
        let pem = |name: &str| format!("-----BEGIN RSA PRIVATE KEY-----\n{name}\n-----END RSA PRIVATE KEY-----");
        let pems = |text: &str| {
            platform.set_variable("github_private_key", Some(text));
            let pems = Settings(&platform).private_key_variable().ok()??;
            Some(pems.iter().map(|pem| pem.expose().to_owned()).collect::<Vec<_>>())
        };
        let (first, second) = (pem("first"), pem("second"));
        assert_eq!(pems(&first), Some(vec![first.clone()]));
        assert_eq!(pems(&format!("{first}\n\n{second}\n")), Some(vec![first.clone(), second.clone()]));
        let one_line = format!("{first}{second}").replace('\n', "\\n");
        assert_eq!(pems(&one_line), Some(vec![first.clone(), second.clone()]));
        assert_eq!(pems(&format!("{first}{second}{first}")), None, "three are a mistake");
        assert_eq!(pems("hunter2"), None);
    }
}
