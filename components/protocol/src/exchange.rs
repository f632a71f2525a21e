//! What a gateway that fetches and the app tell each other, in one exchange: `POST /clusters/{cluster}/exchange`.
//!
//! The gateway asks, because nothing may reach it from outside. It says how many launches it has room for and what became
//! of those that it has; the app answers with launches, each under a lease, and with those to cancel. Times are told as
//! durations, so that neither side depends on the other's clock. What is said twice changes nothing, and what was lost is
//! said again.

use serde::{Deserialize, Serialize};

use crate::identity::LaunchId;
use crate::messages::StartRunner;
use crate::slurm_job::SlurmJob;

/// The most launches that one exchange hands out.
pub const MOST_LAUNCHES: usize = 64;
/// The most reports that one exchange takes.
pub const MOST_REPORTS: usize = 256;

/// What a gateway says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Exchange {
    /// Its name among the gateways of its cluster, for people: up to 64 letters, digits and `-_.`.
    pub gateway: String,
    /// How many launches it takes now.
    pub room: u32,
    /// What became of launches, in the order in which it happened.
    pub reports: Vec<Report>,
    /// How long the queue of the cluster is; absent where the gateway does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueLength>,
}

/// How many Slurm jobs of gha-slurm the cluster has, of this gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct QueueLength {
    /// Those that wait.
    pub pending: u32,
    /// Those that run.
    pub running: u32,
}

/// What became of a launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which.
    pub launch: LaunchId,
    /// What.
    #[serde(flatten)]
    pub news: News,
}

/// A piece of news about a launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "snake_case")]
pub enum News {
    /// Slurm has it.
    Submitted {
        /// The Slurm job's ID.
        job_id: String,
    },
    /// The gateway or Slurm refuses it as things stand.
    Refused {
        /// In whose words ever.
        message: String,
    },
    /// It could not be submitted now, and surely was not; it may be offered again.
    Unavailable {
        /// Why.
        message: String,
    },
    /// What Slurm says of its Slurm job, told when that changes and at its end.
    State(SlurmJob),
    /// It was cancelled, as the app asked: it has no Slurm job, or one that Slurm was told to end.
    Cancelled,
}

/// What the app answers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Orders {
    /// Launches to submit.
    pub launches: Vec<Leased>,
    /// Launches to cancel, for good: also those that the gateway does not know.
    pub cancel: Vec<LaunchId>,
    /// Reports that are of no use: of launches that are not this cluster's, or not known (any more). They need no repetition.
    pub unknown: Vec<LaunchId>,
    /// Launches of which not all reports could be written down, or not in time: they are to be repeated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_taken: Vec<LaunchId>,
    /// The app's `public_url`, below which launch tokens are exchanged; absent in an older app's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
}

/// A launch, the gateway's until its lease ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Leased {
    /// What to submit.
    pub start: StartRunner,
    /// How long the lease lasts from now, in seconds. What is not submitted by then must not be submitted any more: the
    /// app offers it again.
    pub lease_seconds: u64,
    /// Whether it was leased before: another gateway may have submitted it, so Slurm is asked first.
    #[serde(default)]
    pub again: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_read_as_they_are_documented() {
        let said = json!({
            "gateway": "login1", "room": 8, "queue": {"pending": 3, "running": 1},
            "reports": [
                {"launch": "1-1", "news": "submitted", "job_id": "17"},
                {"launch": "1-2", "news": "refused", "message": "no"},
                {"launch": "2-1", "news": "unavailable", "message": "slurmctld is away"},
                {"launch": "3-1", "news": "state", "job_id": "18", "state": "PENDING", "reason": "Priority",
                 "starts_in": 840, "position": 4},
                {"launch": "4-1", "news": "cancelled"},
            ],
        });
        let exchange: Exchange = serde_json::from_value(said.clone()).unwrap();
        assert_eq!(json!(exchange), said);
        assert_eq!(serde_json::from_value::<Exchange>(json!({})).unwrap(), Exchange::default());
        let orders: Orders = serde_json::from_value(json!({"cancel": ["1-1"], "later": true})).unwrap();
        assert_eq!((orders.launches.len(), orders.cancel.len(), orders.not_taken.len()), (0, 1, 0));
        assert_eq!(orders.public_url, None);
        let orders: Orders = serde_json::from_value(json!({"not_taken": ["1-1"]})).unwrap();
        assert_eq!(json!(orders), json!({"launches": [], "cancel": [], "unknown": [], "not_taken": ["1-1"]}));
        let orders = Orders { public_url: Some("https://app.example/".to_owned()), ..Orders::default() };
        assert_eq!(json!(orders)["public_url"], "https://app.example/");
    }
}
