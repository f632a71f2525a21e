//! Which answer an error of the domain becomes.

use std::time::Duration;

use gha_slurm_core::launch_token::TokenError;
use gha_slurm_core::lifecycle::Fault;
use gha_slurm_core::ports::StoreError;
use gha_slurm_core::settings::SettingError;

use crate::answer::{Answer, Level};

const RETRY: Duration = Duration::from_secs(10);

/// If the store fails, the sender should try again; the details are for the log alone.
impl From<StoreError> for Answer {
    fn from(error: StoreError) -> Self {
        Self::try_again(RETRY.as_secs(), "the key-value store does not answer")
            .with_detail(error.to_string())
            .at(Level::Error)
    }
}

/// The operator has to correct a setting.
impl From<SettingError> for Answer {
    fn from(error: SettingError) -> Self {
        match error {
            SettingError::Store(error) => error.into(),
            other => Self::error(500, other.to_string()),
        }
    }
}

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Store(error) | Fault::Token(TokenError::Store(error)) => error.into(),
            Fault::Setting(error) => error.into(),
            Fault::Token(TokenError::Refused(detail)) => {
                Self::error(500, "the launch token cannot be signed").with_detail(detail)
            }
        }
    }
}
