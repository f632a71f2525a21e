//! Deliveries of webhooks, as GitHub keeps them, for three days.
//!
//! Source: GitHub Docs, "REST API endpoints for GitHub App webhooks" and "Handling failed webhook deliveries".

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fault::DeliveryFault;

/// Seconds that a delivery is listed and can be repeated.
const KEPT: u64 = 3 * 24 * 3600;

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
    pub(crate) shown: Shown,
}

/// How the API shows a delivery, where that is not how it was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    /// Listed, but refused with this status.
    pub(crate) refused: Option<u16>,
    /// The App that it is said to be of.
    pub(crate) app: Option<u64>,
    /// Fields of the entry that have other values.
    pub(crate) fields: Map<String, Value>,
}

impl Delivery {
    /// Whether GitHub counts it as delivered.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }

    fn is_kept(&self, now: u64) -> bool {
        now < self.delivered_at + KEPT
    }

    /// Gives the payload a field that makes it so many bytes long.
    fn pad(&mut self, bytes: usize) {
        const FIELD: &str = "padding";
        let mut payload: Map<String, Value> = serde_json::from_str(&self.body).unwrap();
        payload.insert(FIELD.to_owned(), "".into());
        let missing = bytes.saturating_sub(Value::from(payload.clone()).to_string().len());
        payload.insert(FIELD.to_owned(), "x".repeat(missing).into());
        self.body = Value::from(payload).to_string();
    }
}

/// All deliveries by their ids. What is older than three days is not shown.
#[derive(Default)]
pub(crate) struct Deliveries(BTreeMap<u64, Delivery>);

impl Deliveries {
    pub(crate) fn add(&mut self, delivery: Delivery) {
        self.0.insert(delivery.id, delivery);
    }

    /// Those that are still kept, the highest id first, from below `before`.
    pub(crate) fn kept(&self, before: Option<u64>, now: u64) -> impl Iterator<Item = &Delivery> {
        let older = self.0.range(..before.unwrap_or(u64::MAX)).rev().map(|(_, delivery)| delivery);
        older.filter(move |delivery| delivery.is_kept(now))
    }

    pub(crate) fn find(&self, id: u64, now: u64) -> Option<&Delivery> {
        self.0.get(&id).filter(|delivery| delivery.is_kept(now))
    }

    /// All of them, the lowest id first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Delivery> {
        self.0.values()
    }

    /// Makes all of them older by so many seconds.
    pub(crate) fn age(&mut self, seconds: u64) {
        self.0.values_mut().for_each(|delivery| delivery.delivered_at = delivery.delivered_at.saturating_sub(seconds));
    }

    /// Spoils one, for good; `None` when there is none of that id.
    pub(crate) fn spoil(&mut self, id: u64, fault: DeliveryFault) -> Option<()> {
        let delivery = self.0.get_mut(&id)?;
        match fault {
            DeliveryFault::Refused(status) => delivery.shown.refused = Some(status),
            DeliveryFault::OfApp(app) => delivery.shown.app = Some(app),
            DeliveryFault::Entry(fields) => delivery.shown.fields.extend(fields),
            DeliveryFault::Payload(payload) => delivery.body = payload.to_string(),
            DeliveryFault::PaddedTo(bytes) => delivery.pad(bytes),
        }
        Some(())
    }
}
