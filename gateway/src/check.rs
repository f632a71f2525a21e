//! Whether a configuration would work, asked without submitting or keeping anything.

use std::path::Path;

use nix::unistd::{AccessFlags, access};

use crate::backend::{self, BackendError};
use crate::config::{Config, ConfigError};
use crate::http::serving::acceptor;

/// What was looked at, and how it is or what is wrong with it.
#[derive(Debug)]
pub struct Finding {
    /// A Slurm user, or a key of the configuration.
    pub subject: String,
    /// A line for people.
    pub verdict: Result<String, String>,
}

/// Reads certificate and keys, looks at the state folder, and asks Slurm something harmless as each mapped user.
pub async fn check(config: &Config) -> Result<Vec<Finding>, ConfigError> {
    let backend = backend::open(config)?;
    config.tls.as_ref().map(acceptor).transpose()?;
    let folder = &config.state_directory;
    let subject = format!("stateDirectory {}", folder.display());
    let mut findings = vec![Finding { subject, verdict: state_directory(folder) }];
    for user in config.mapping.users() {
        let answer = match backend.home(user).await {
            Ok(_) => backend.probe(user).await,
            Err(error) => Err(error),
        };
        let verdict = answer.map(|line| format!("ok, {line}")).map_err(|error: BackendError| error.to_string());
        findings.push(Finding { subject: user.to_owned(), verdict });
    }
    Ok(findings)
}

fn state_directory(folder: &Path) -> Result<String, String> {
    if !folder.exists() {
        return Ok("made at the first start".to_owned());
    }
    match access(folder, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => Ok("ok".to_owned()),
        Err(error) => Err(format!("the gateway's user cannot write there: {error}")),
    }
}
