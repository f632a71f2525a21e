//! The check of the admin token.

use gha_slurm_core::ports::Variables;
use gha_slurm_core::settings::{SettingError, Settings};
use thiserror::Error;

use crate::answer::Answer;
use crate::request::Request;

/// Why a request is refused.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum Refusal {
    /// There is no admin token, so all requests are refused.
    #[error("this is switched off: {0}")]
    Off(#[from] SettingError),
    /// It does not carry the admin token.
    #[error("the admin token is missing or wrong: send Authorization: Bearer ADMIN_TOKEN")]
    Unauthorized,
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::Off(_) => 403,
            Refusal::Unauthorized => 401,
        };
        let answer = Self::error(status, refusal.to_string());
        if status == 401 { answer.with_header("www-authenticate", "Bearer realm=\"gha-slurm\"") } else { answer }
    }
}

/// Checks that a request carries the admin token, in constant time.
pub fn authorize<V: Variables>(platform: &V, request: &Request) -> Result<(), Refusal> {
    let token = Settings(platform).admin_token()?;
    match request.bearer() {
        Some(given) if token.matches(given) => Ok(()),
        _ => Err(Refusal::Unauthorized),
    }
}
