//! Deliveries of webhooks, as GitHub keeps them.

use serde_json::Value;

/// One delivery of a webhook.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its id.
    pub id: u64,
    /// `X-GitHub-Delivery`; the same for a redelivery.
    pub guid: String,
    /// `X-GitHub-Event`.
    pub event: String,
    /// The `action`.
    pub action: String,
    /// The id of the job that it is about; `None` if it is about none.
    pub job: Option<u64>,
    /// The app's status; 0 when there was no answer.
    pub status: u16,
    /// The app's answer.
    pub answer: Value,
    /// Whether it repeats an earlier one.
    pub redelivery: bool,
    /// The repository that it is about.
    pub repository_id: u64,
    /// The installation that it was sent for.
    pub installation_id: u64,
    pub(crate) body: String,
    pub(crate) delivered_at: u64,
}

impl Delivery {
    /// Whether GitHub counts it as delivered.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }
}
