//! The flows of the app, each a function from a request to an answer.

#[cfg(test)]
mod model;
pub mod receive;
pub mod redeem;
#[cfg(test)]
pub(crate) mod tests;
pub mod tick;

use std::time::Duration;

use crate::answer::{Answer, Level};
use crate::ports::StoreError;

/// When the store fails, the request is worth repeating; what failed is for the log alone.
impl From<StoreError> for Answer {
    fn from(error: StoreError) -> Self {
        Self::try_again(RETRY.as_secs(), "the key-value store does not answer")
            .with_detail(error.to_string())
            .at(Level::Error)
    }
}

const RETRY: Duration = Duration::from_secs(10);
